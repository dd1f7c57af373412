"""Tokenizers: round trips of any text, the numbers of BPE compared with its package, broken definitions."""

import json

import numpy as np
import pytest

from aigc_jax.data.tokenizer import PAD, bytes_tokenizer, make_tokenizer, read_tokenizer, words_tokenizer
from aigc_jax.types import UsageError

TEXT = "The naïve café — 東京 🎵\n\ttabs, and ends  \r\n"
DOCUMENTS = [TEXT, "another one", "a" * 40 + " " + "the the the" * 5]


def tokenizers():
    pytest.importorskip("tokenizers")
    return [make_tokenizer(name, DOCUMENTS) for name in ("bytes", "chars", "bpe:270")]


def test_tokenizers_give_back_any_text_of_their_characters():
    for tokenizer in tokenizers():
        for text in DOCUMENTS:
            tokens = tokenizer.encode(text)
            assert tokens.dtype == np.int32
            assert tokenizer.decode(tokens) == text, tokenizer.name
            assert tokenizer.num_bytes()[tokens].sum() == len(text.encode()), tokenizer.name
            assert tokenizer.decode(np.append(tokens, [PAD, PAD])) == text
            assert tokenizer.boundary not in tokens


def test_read_tokenizer_makes_the_same_one():
    for tokenizer in tokenizers():
        again = read_tokenizer(tokenizer.definition)
        np.testing.assert_array_equal(again.encode(TEXT), tokenizer.encode(TEXT))
        assert (again.name, list(again.vocabulary), again.start) == (
            tokenizer.name,
            list(tokenizer.vocabulary),
            tokenizer.start,
        )
        assert again.definition == tokenizer.definition


def test_bytes_tokenizer_takes_any_unicode():
    rng = np.random.default_rng(0)
    points = [p for p in rng.integers(0, 0x110000, 2000) if not 0xD800 <= p < 0xE000]
    text = "".join(map(chr, points))
    assert bytes_tokenizer().decode(bytes_tokenizer().encode(text)) == text


def test_bpe_has_the_ids_and_the_size_of_the_package():
    package = pytest.importorskip("tokenizers")
    tokenizer = make_tokenizer("bpe:270", DOCUMENTS)
    assert tokenizer.name == f"bpe:{len(tokenizer.vocabulary)}"
    assert len(tokenizer.vocabulary) <= 270
    theirs = package.Tokenizer.from_str(json.loads(tokenizer.definition)["bpe"])
    assert tokenizer.encode("the café").tolist() == theirs.encode("the café").ids
    assert len(tokenizer.encode("the the the")) < len("the the the")
    assert make_tokenizer("bpe:270", DOCUMENTS).definition == tokenizer.definition  # the same at every training


def test_single_document_starts_at_a_line_and_others_at_a_boundary():
    single, several = make_tokenizer("chars", ["ab\ncd"]), make_tokenizer("chars", ["ab", "cd"])
    assert single.start == single.encode("\n")[0]
    assert read_tokenizer(single.definition).start == single.start
    assert several.start == several.boundary


def test_unknown_character_is_named():
    with pytest.raises(UsageError, match=r"'ñ' \(U\+00F1\), number 3 of the text, is none of the 2"):
        make_tokenizer("chars", ["ab"]).encode("abña")


@pytest.mark.parametrize("name", ["words", "bpe", "bpe:x", "bpe:10", "bpe:999999999", ""])
def test_make_tokenizer_refuses_unknown_names(name):
    with pytest.raises(UsageError, match="expected a tokenizer bytes, chars or bpe:N"):
        make_tokenizer(name, DOCUMENTS)


def test_make_tokenizer_refuses_an_empty_text():
    with pytest.raises(UsageError, match="an empty one"):
        make_tokenizer("chars", [""])


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "null",
        "[]",
        "[" * 200,
        '{"kind": "words"}',
        '{"kind": []}',
        '{"kind": "chars"}',
        '{"kind": "chars", "chars": ""}',
        '{"kind": "chars", "chars": "ba"}',
        '{"kind": "chars", "chars": 7}',
        '{"kind": "bytes", "start": 257}',
        '{"kind": "bytes", "start": true}',
        '{"kind": "bpe", "bpe": "{}"}',
        '{"kind": "bpe", "bpe": 3}',
    ],
)
def test_read_tokenizer_refuses_what_is_none_in_one_line(definition):
    pytest.importorskip("tokenizers")
    with pytest.raises(UsageError, match="tokenizer is broken"):
        read_tokenizer(definition)


def test_bpe_of_a_file_has_its_pairs_alone():
    """A normaliser or a cut of a stranger's file would change texts in silence."""
    pytest.importorskip("tokenizers")
    tokenizer = make_tokenizer("bpe:300", ["THE CAT saw THE DOG " * 9])
    content = json.loads(tokenizer.definition)
    inner = json.loads(content["bpe"])
    inner["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    inner["normalizer"] = {"type": "Lowercase"}
    changed = read_tokenizer(json.dumps({**content, "bpe": json.dumps(inner)}))
    assert changed.decode(changed.encode("THE CAT THE DOG")) == "THE CAT THE DOG"
    del inner["model"]["vocab"]["A"]
    with pytest.raises(UsageError, match="broken"):
        read_tokenizer(json.dumps({**content, "bpe": json.dumps(inner)}))


def test_words_tokenizer_takes_the_longest_word_and_is_read_back():
    words = [" Park", " Parker", "Änne", " plays"]
    tokenizer = read_tokenizer(words_tokenizer([word.encode() for word in words]).definition)
    assert tokenizer.encode("Änne Parker Park plays").tolist() == [2, 1, 0, 3]
    assert tokenizer.decode(np.array([2, 1, 3, tokenizer.boundary, PAD])) == "Änne Parker plays"
    assert tokenizer.encode("").tolist() == []
    with pytest.raises(UsageError, match=r"at character 12, ' sings' begins with none of the 4 words"):
        tokenizer.encode("Änne Parker sings")


@pytest.mark.parametrize("words", [[], ["a", "a"], ["a", ""], [1], None])
def test_words_tokenizer_of_a_broken_file_is_refused(words):
    with pytest.raises(UsageError, match="the tokenizer is broken"):
        read_tokenizer(json.dumps({"kind": "words", "words": words}))
