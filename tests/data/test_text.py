"""Texts by name, windows of tokens, and files of samples."""

import json
import os

import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.pipeline import batches
from aigc_jax.data.text import WindowSource, example_texts, open_texts, text_data, text_modality
from aigc_jax.data.tokenizer import PAD, bytes_tokenizer, make_tokenizer
from aigc_jax.types import UsageError

MODALITY = text_modality(bytes_tokenizer())
MODALITY_AB = make_tokenizer("chars", ["ab\n"])
TOKENS = np.stack([np.pad(bytes_tokenizer().encode(text), (0, 3), constant_values=PAD) for text in ("héy", "line")])


@pytest.mark.parametrize("num", [9, 12, 13, 14])
def test_held_out_windows_make_each_token_a_target_once(num):
    windows = WindowSource(np.arange(num), 4, stride=4)
    targets = windows.take(np.arange(len(windows)))["tokens"][:, 1:]
    assert targets[targets != PAD].tolist() == list(range(1, num))


def test_training_windows_begin_at_every_place():
    windows = WindowSource(np.arange(9, dtype=np.uint16), 4)
    assert [windows[i]["tokens"][0] for i in range(len(windows))] == [0, 1, 2, 3, 4]
    assert PAD not in windows.take(np.arange(len(windows)))["tokens"]
    assert windows[0]["tokens"].dtype == np.int32


def test_text_data_puts_boundaries_between_documents():
    tokenizer = make_tokenizer("chars", ["ab", "ba"])
    data = text_data(open_texts("python-docs")._replace(train=["ab", "ba"], held_out=["a"]), tokenizer, 3)
    assert data.train.stream.tolist() == [2, 0, 1, 2, 1, 0, 2]
    assert data.held_out.stream.tolist() == [2, 0, 2]


def test_batches_of_text_are_a_function_of_seed_and_step():
    data = text_data(open_texts("python-docs"), bytes_tokenizer(), 16)
    first = batches(data.train, batch_size=4, seed=0, modality=MODALITY, num_threads=0)
    resumed = batches(data.train, batch_size=4, seed=0, modality=MODALITY, start_step=2, num_threads=0)
    steps = [next(first)["example"] for _ in range(4)]
    np.testing.assert_array_equal(steps[2], next(resumed)["example"])
    assert steps[0].shape == (4, 17)


def test_open_texts_of_files(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"line {i}\n" for i in range(100)))
    rows = [{"text": f"row {i}"} for i in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text, documents = (open_texts(f"text:{tmp_path / name}") for name in ("a.txt", "a.jsonl"))
    assert "".join([*text.train, *text.held_out]) == (tmp_path / "a.txt").read_text()
    assert text.held_out[0].startswith("line 9")
    assert 0.05 < len(text.held_out[0]) / len(text.train[0]) < 0.15
    assert (len(documents.train), documents.held_out) == (18, ["row 5", "row 15"])


def test_open_texts_counts_bytes_that_are_no_utf8(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one \xff two \xfe\n" * 30)
    texts = open_texts(f"text:{tmp_path / 'a.txt'}")
    assert texts.remarks == ["60 sequences of bytes are no UTF-8, and became U+FFFD"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "holds no text"),
        ("a.txt", b"\x7fELF\0\0\0", "not a text file"),
        ("a.jsonl", b'{"text": 3}', "line 1 has no entry text"),
        ("a.jsonl", b'{"text": "x"}\n\nnonsense', "line 3: "),
        ("a.jsonl", b"[1]", "line 1 has no entry text"),
    ],
)
def test_open_texts_refuses_other_files_in_one_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        open_texts(f"text:{tmp_path / name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["shakespeare", "text:", "text:no-such-file", "folder:x"])
def test_open_texts_refuses_unknown_names(name):
    with pytest.raises(UsageError):
        open_texts(name)


def test_text_that_is_shorter_than_a_window_is_refused():
    with pytest.raises(UsageError, match="set a smaller --length"):
        text_data(open_texts("python-docs")._replace(train=["ab"], held_out=["a"]), bytes_tokenizer(), 64)


def test_samples_are_written_as_text_json_and_arrays(tmp_path):
    ids, names = np.array([0, 0]), ["h"]
    for suffix in (".txt", ".jsonl", ".npz"):
        MODALITY.writers[suffix](tmp_path / f"a{suffix}", iter([TOKENS[:1], TOKENS[1:]]), ids, num=2, names=names)
    assert (tmp_path / "a.txt").read_text() == "--- 0\nhéy\n--- 1\nline\n"
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert rows == [{"id": 0, "condition": "h", "text": "héy"}, {"id": 1, "condition": "h", "text": "line"}]
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["tokens"], TOKENS)


@pytest.mark.parametrize("tokens", [np.zeros((2, 3)), np.zeros(3, int), np.full((2, 3), 257), np.full((2, 3), -2)])
def test_modality_refuses_what_are_no_tokens(tokens):
    with pytest.raises(UsageError, match="expected tokens"):
        MODALITY.load(tokens)


def test_prompts_are_padded_to_few_shapes():
    assert MODALITY.prompts is not None
    assert MODALITY.prompts(["", "ab"]).tolist() == [[256, *[PAD] * 7], [256, 97, 98, *[PAD] * 5]]
    assert MODALITY.prompts(["a" * 8]).shape == (1, 16)


@pytest.mark.skipif(
    not os.path.isdir("../shared/tfds/tiny_shakespeare"), reason="tiny_shakespeare is not prepared here"
)
def test_tiny_shakespeare_has_the_split_of_nanogpt():
    texts = open_texts("tfds:tiny_shakespeare", "../shared/tfds")
    assert [len(texts.train[0]), len(texts.held_out[0])] == [1_003_854, 111_540]
    assert len(make_tokenizer("chars", texts.train).vocabulary) == 65 + 1


def test_beginnings_are_texts_from_their_start_to_their_end():
    tokenizer = make_tokenizer("chars", ["ab", "ba"])
    texts = open_texts("python-docs")._replace(train=["ab", "ba"], held_out=["abba", "b", "", "aabab"])
    source = text_data(texts, tokenizer, 3).held_out
    assert source.beginnings(4, 9).tolist() == [[2, 0, 1, 1], [2, 1, PAD, PAD], [2, 0, 0, 1]]
    assert source.beginnings(4, 1).tolist() == [[2, 0, 1, 1]]
    # Of one document, each from a line break on: as long as the samples, none within another.
    tokenizer = make_tokenizer("chars", ["ab\n"])
    source = text_data(texts._replace(train=["ab\nab"], held_out=["ab\nabab\nab"]), tokenizer, 3).held_out
    assert [[tokenizer.vocabulary[token] for token in row] for row in source.beginnings(4, 9)] == [
        [b"\n", b"a", b"b", b"a"]
    ]


def test_python_docs_hold_out_text_that_training_does_not_hold():
    texts = open_texts("python-docs")
    train, held_out = texts.train[0], texts.held_out[0]
    windows = [held_out[at : at + 100] for at in range(0, len(held_out) - 100, 100)]
    assert sum(window in train for window in windows) < 0.02 * len(windows)
    assert 0.03 < len(held_out) / len(train) < 0.3


def test_rows_of_text_may_hold_other_line_breaks(tmp_path):
    rows = [json.dumps({"text": f"a\u2028b{i}"}, ensure_ascii=False) for i in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert open_texts(f"text:{tmp_path / 'a.jsonl'}").held_out == ["a\u2028b5", "a\u2028b15"]


def test_text_of_a_few_documents_is_cut_near_its_last_tenth(tmp_path):
    (tmp_path / "a.txt").write_text("Title\n" + "x" * 1000)
    texts = open_texts(f"text:{tmp_path / 'a.txt'}")
    assert (len(texts.train[0]), len(texts.held_out[0])) == (906, 100)
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": f"row {i} " * 9}) for i in range(3)))
    texts = open_texts(f"text:{tmp_path / 'a.jsonl'}")
    assert "\nrow 1" in texts.train[0]


def test_halves_of_surrogate_pairs_become_replacement_characters(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b"}\n' * 20)
    tokenizer = bytes_tokenizer()
    stream = text_data(open_texts(f"text:{tmp_path / 'a.jsonl'}"), tokenizer, 3).held_out.stream
    assert tokenizer.decode(stream[1:6]) == "a\ufffdb"


def test_example_texts_of_whole_texts_are_as_samples_are():
    rows = np.array([[256, 1, 2, 256, PAD], [256, 3, 256, PAD, PAD], [256, 1, 2, 1, 4], [7, 7, 1, 7, PAD]], np.int32)
    source = ArraySource(rows, None, name="tokens")
    expected = rows.copy()
    expected[[0, 1], [3, 2]] = PAD
    np.testing.assert_array_equal(example_texts(source, 5, 7, MODALITY), expected)
    np.testing.assert_array_equal(example_texts(source, 3, 2, MODALITY), expected[:2, :3])
