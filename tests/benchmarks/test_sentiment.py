"""Benchmark of sentiment: its intervals on known arrays, and the command from end to end with tiny networks."""

import json

import numpy as np
import pytest

from aigc_jax.data.sentiment import FILE
from benchmarks import results, sentiment

pytestmark = pytest.mark.standard_promotion

NET = "--net.width 8 --net.depth 1 --net.head-width 4"


def test_document_interval_has_the_width_of_independent_documents(rng):
    # 400 documents of 5 equal texts each: as 400 texts, and not as 2,000.
    values = np.repeat(rng.uniform(size=400) < 0.5, 5).astype(np.float64)
    low, high = sentiment.document_interval(values, np.repeat(np.arange(400), 5))
    width = 2 * 1.96 * values.std() / np.sqrt(400)
    # The ends of a bootstrap of 1,000 resamples have a standard error of about 7 % of half the width.
    assert high - low == pytest.approx(width, rel=4 * 0.05)
    assert low < values.mean() < high


def rows(num):
    words = ("good", "bad")
    labels = ("positive", "negative")
    return [
        {"text": f"The film {i} is {words[i % 2]}.", "label": labels[i % 2], "domain": ("films", "amazon")[i // 2 % 2],
         "rating": 2.0, "document": f"d{i}"}
        for i in range(num)
    ]  # fmt: skip


@pytest.mark.slow
def test_command_trains_and_prints_paired_differences(tmp_path, capsys, monkeypatch):
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text("\n".join(map(json.dumps, rows(120))))
    text = "--data sentiment --length 32 --steps 2 --batch-size 8"
    monkeypatch.setattr(sentiment, "LANGUAGE", f"gpt_docs {text} {NET} --sample-every 0")
    monkeypatch.setattr(sentiment, "FEW", {"fine-tuned": f"gpt_sentiment {text} {NET} --initial {{language}}"})
    monkeypatch.setattr(sentiment, "ALL", {})
    words = ["sentiment", "--data-dir", str(tmp_path), "--num-labels", "30", "--seeds", "0"]
    assert results.main([*words, "--out", str(tmp_path / "runs")]) == 0
    table = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    found = {line[0].removeprefix("| "): line[1:] for line in table}
    assert {"fine-tuned", "tf-idf", "fine-tuned - tf-idf"} <= set(found)
    # One word decides, which 96 texts teach a linear model.
    assert found["tf-idf, all labels"][0].startswith("100.0 (100.0 to 100.0)")
