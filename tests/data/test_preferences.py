"""Pairs of answers from files: which tokens are targets, what is held out, and what is refused."""

import json

import numpy as np
import pytest

from aigc_jax.data.preferences import pair_modality, preference_data
from aigc_jax.data.tokenizer import PAD, make_tokenizer
from aigc_jax.types import UsageError

TOKENIZER = make_tokenizer("chars", ["abc", "cba"])  # a, b, c and the boundary 3
ROW = {"prompt": "ab", "chosen": "c", "rejected": "ba"}


def written(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return f"text:{path}"


def test_targets_of_a_pair_are_its_answers_with_their_ends(tmp_path):
    data = preference_data(written(tmp_path / "a.jsonl", [ROW] * 20), TOKENIZER, 5)
    pair = data.train[0]["tokens"]
    assert pair[0].tolist() == [[3, 0, 1, 2, PAD], [PAD, PAD, 2, 3, PAD]]
    assert pair[1].tolist() == [[3, 0, 1, 1, 0], [PAD, PAD, 1, 0, 3]]
    assert (len(data.train), len(data.held_out)) == (18, 2)
    assert data.held_out[0]["tokens"].tolist() == [3, 0, 1, 2, 3, PAD]
    assert data.train.stream[:5].tolist() == [3, 0, 1, 2, 3]
    batch = pair_modality(TOKENIZER).load(data.train.take(np.arange(3))["tokens"])
    assert (batch.shape, batch.dtype) == ((3, 2, 2, 5), np.int32)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, {"prompt": "a", "chosen": "b"}], "line 2 has no texts prompt, chosen, rejected"),
        ([ROW, "{"], "name a .jsonl file"),
        ([ROW, ROW | {"chosen": "abcabc"}], "line 2 has a prompt and an answer of more than 5 tokens"),
        ([ROW, ROW | {"chosen": "x"}], "none of the 3"),
        ([ROW], "has 1 pairs"),
    ],
)
def test_file_without_pairs_is_one_line(rows, message, tmp_path):
    with pytest.raises(UsageError, match=message) as caught:
        preference_data(written(tmp_path / "a.jsonl", rows), TOKENIZER, 5)
    assert "\n" not in str(caught.value)


def test_pairs_are_of_a_jsonl_file():
    with pytest.raises(UsageError, match=r"text:FILE\.jsonl"):
        preference_data("python-docs", TOKENIZER, 5)
