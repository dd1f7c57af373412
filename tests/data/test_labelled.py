"""Labelled texts: examples of whole documents, splits by document, and files that are none."""

import json

import numpy as np
import pytest

from aigc_jax import cli
from aigc_jax.data.arrays import random_subset, take
from aigc_jax.data.labelled import labelled_data, open_labelled_texts
from aigc_jax.data.pipeline import batches
from aigc_jax.data.text import text_modality, token_stream
from aigc_jax.data.tokenizer import PAD, bytes_tokenizer, make_tokenizer
from aigc_jax.types import UsageError


def write(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return f"text:{path}"


ROWS = [{"text": f"text {i}", "label": "no" if i % 2 else "yes"} for i in range(20)]


def test_labelled_texts_are_whole_documents_between_boundaries(tmp_path):
    texts = open_labelled_texts(write(tmp_path / "a.jsonl", [{"text": "ab", "label": 3}, *ROWS[:9]][:1] + [
        {"text": "abcd", "label": 7}] * 4))  # fmt: skip
    assert texts.class_names == ["3", "7"]
    tokenizer = make_tokenizer("chars", ["abcd", "b"])
    data = labelled_data(texts, tokenizer, 4)
    assert data.train[0]["tokens"].tolist() == [4, 0, 1, 4, PAD]
    # The last boundary may be missing.
    assert data.train[1]["tokens"].tolist() == [4, 0, 1, 2, 3]
    assert data.train[1]["label"] == 1
    assert list(data.remarks) == []
    assert data.class_names == ["3", "7"]
    assert labelled_data(texts, tokenizer, 3).remarks == ["4 of 5 texts are cut to 3 tokens"]


def test_labelled_texts_split_by_document(tmp_path):
    rows = [{**row, "document": f"d{i // 2}"} for i, row in enumerate(ROWS)]
    texts = open_labelled_texts(write(tmp_path / "a.jsonl", rows))
    assert texts.held_out.texts == ["text 4", "text 5", "text 14", "text 15"]
    assert len(texts.train.texts) == 16
    single = open_labelled_texts(write(tmp_path / "b.jsonl", ROWS))
    assert single.held_out.texts == ["text 2", "text 7", "text 12", "text 17"]
    assert single.held_out.labels.tolist() == [1, 0, 1, 0]


def test_labelled_texts_begin_with_their_prompts(tmp_path):
    texts = open_labelled_texts(write(tmp_path / "a.jsonl", [{**row, "prompt": "Say: "} for row in ROWS]))
    assert texts.train.texts[0] == "Say: text 0"


def test_batches_of_labelled_text_are_a_function_of_seed_and_step(tmp_path):
    data = labelled_data(open_labelled_texts(write(tmp_path / "a.jsonl", ROWS)), bytes_tokenizer(), 12)
    modality = text_modality(bytes_tokenizer())
    first = batches(data.train, batch_size=4, seed=0, modality=modality, num_threads=0)
    resumed = batches(data.train, batch_size=4, seed=0, modality=modality, start_step=2, num_threads=0)
    steps = [next(first) for _ in range(3)]
    for name, values in next(resumed).items():
        np.testing.assert_array_equal(steps[2][name], values)
    assert steps[0]["example"].shape == (4, 13)
    texts = modality.texts(steps[0]["example"])
    assert [int(text.split()[1]) % 2 == 0 for text in texts] == [bool(label) for label in steps[0]["condition"]]


def test_random_subset_is_drawn_by_the_seed_alone(tmp_path):
    rows = [{"text": f"{i}", "label": i % 2} for i in range(500)]
    data = labelled_data(open_labelled_texts(write(tmp_path / "a.jsonl", rows)), bytes_tokenizer(), 4)
    chosen = [take(random_subset(data, 100, seed).train, np.arange(100)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(chosen[0]["tokens"], chosen[1]["tokens"])
    assert (chosen[0]["tokens"] != chosen[2]["tokens"]).any()
    assert len(np.unique(chosen[0]["tokens"], axis=0)) == 100
    # Labels stay with their texts, and are drawn as they occur.
    np.testing.assert_array_equal(chosen[0]["label"], [int(t) % 2 for t in data_texts(chosen[0])])
    assert chosen[0]["label"].mean() == pytest.approx(0.5, abs=4 * 0.05)
    with pytest.raises(UsageError, match="400 training examples, got --num-labels 401: ask for fewer"):
        random_subset(data, 401, 0)


def test_token_stream_of_labelled_texts_has_no_padding(tmp_path):
    rows = [{"text": "ab" if i % 2 else "a", "label": i % 2} for i in range(5)]
    data = labelled_data(open_labelled_texts(write(tmp_path / "a.jsonl", rows)), make_tokenizer("chars", ["ab"]), 6)
    a, ab = [2, 0, 2], [2, 0, 1, 2]
    assert token_stream(data.train).tolist() == [*a, *ab, *ab, *a]


def data_texts(batch):
    return text_modality(bytes_tokenizer()).texts(batch["tokens"])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["not json", *ROWS], "line 1: "),
        ([*ROWS, "[1]"], "line 21: it has no entry text"),
        ([*ROWS, {"label": "yes"}], "line 21: it has no entry text"),
        ([*ROWS, {"text": "x"}], "line 21 has no label"),
        ([*ROWS, {"text": "x", "label": 1}], "some labels are words and some integers"),
        ([{**row, "label": True} for row in ROWS], "a label is a bool"),
        ([{**row, "label": 0.5} for row in ROWS], "a label is a float"),
        ([{**row, "label": "yes"} for row in ROWS], "all labels are 'yes', two classes are needed"),
        (ROWS[:2], "of its 2 lines none can be held out"),
        ([], "it is empty"),
        (["\0\1\2"], "not a text file"),
    ],
)
def test_labelled_text_of_a_broken_file_is_one_line(rows, reason, tmp_path, capsys):
    name = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(UsageError) as error:
        open_labelled_texts(name)
    assert reason in str(error.value)
    assert cli.main(["train", "text_classifier", "--data", name, "--workdir", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_labelled_text_counts_bytes_that_are_no_utf8(tmp_path):
    (tmp_path / "a.jsonl").write_bytes("\n".join(map(json.dumps, ROWS)).encode().replace(b"text 3", b"text \xff\xfe"))
    texts = open_labelled_texts(f"text:{tmp_path / 'a.jsonl'}")
    assert list(texts.remarks) == ["2 sequences of bytes are no UTF-8, and became U+FFFD"]


@pytest.mark.parametrize("name", ["digits", "text:", "python-docs", "text:no/such.jsonl"])
def test_open_labelled_texts_refuses_other_names(name):
    with pytest.raises(UsageError, match=r"labelled text must be|cannot read"):
        open_labelled_texts(name)


def test_sentiment_that_is_not_prepared_names_the_command(tmp_path):
    with pytest.raises(UsageError, match=r"type aigc-jax data prepare sentiment --data-dir"):
        open_labelled_texts("sentiment", str(tmp_path))
