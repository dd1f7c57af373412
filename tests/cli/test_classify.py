"""The command ``aigc-jax classify`` on dated reviews: shares, alerts, a certificate, and mistakes in one line."""

import csv
import json

import numpy as np
import pytest

from aigc_jax import cli
from aigc_jax.evaluation.classification import Share, shares, write_plot, write_table
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.train.worlds import write_reviews
from aigc_jax.types import UsageError

ROWS = [{"text": "x", "domain": "ab"[i % 2], "date": f"2025-0{1 + i // 20}-11"} for i in range(40)]


def test_shares_count_accepted_texts_of_each_group_and_period():
    is_class, is_accepted = np.arange(40) % 2 == 0, np.arange(40) % 4 != 0
    found = shares(ROWS, is_class, is_accepted, by="domain", over="date")
    assert [(row.group, row.period) for row in found] == [(a, m) for a in "ab" for m in ("2025-01", "2025-02")]
    assert [(row.num, row.num_accepted, row.share) for row in found] == [(10, 5, 1.0)] * 2 + [(10, 10, 0.0)] * 2
    assert (found[0].low, found[0].high) == clopper_pearson(5, 5)
    assert found[0].is_alert(0.4)
    assert not found[0].is_alert(0.6)  # five of five: from 0.48 on
    whole = shares(ROWS, is_class, is_accepted, by=None, over=None)
    assert [row[:5] for row in whole] == [("", "", 40, 30, 1 / 3)]
    nothing = shares(ROWS, is_class, np.zeros(40, bool), by=None, over=None)[0]
    assert np.isnan(nothing.share)
    assert not nothing.is_alert(0.0)


@pytest.mark.parametrize(("entry", "advice"), [("mood", "has no entry mood"), ("domain", "as YYYY-MM-DD")])
def test_shares_over_no_dates_name_the_text(entry, advice):
    with pytest.raises(UsageError, match=f"text 1.*{advice}|{advice}"):
        shares(ROWS, np.ones(40, bool), np.ones(40, bool), by=None, over=entry)


def test_shares_are_written_as_a_table_and_a_plot(tmp_path):
    found = [Share("a", "2025-01", 9, 8, 0.75, 0.6, 0.9), Share("b", "2025-01", 9, 0, float("nan"), 0.0, 1.0)]
    write_table(tmp_path / "shares.csv", found, 0.5)
    write_plot(tmp_path / "shares.png", found, title="share", alert=0.5)
    rows = list(csv.DictReader((tmp_path / "shares.csv").read_text().splitlines()))
    assert rows[0] == {"group": "a", "period": "2025-01", "num": "9", "num_accepted": "8", "share": "0.7500",
                       "low": "0.6000", "high": "0.9000", "alert": "1"}  # fmt: skip
    assert (rows[1]["share"], rows[1]["alert"]) == ("nan", "0")
    assert (tmp_path / "shares.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_write_reviews_has_the_planted_change(tmp_path):
    write_reviews(tmp_path / "a.jsonl", num_per_month=200)
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(rows) == 2400
    for domain, is_late, share in (("bank", False, 0.5), ("bank", True, 0.8), ("film", True, 0.5)):
        chosen = [r for r in rows if r["domain"] == domain and (r["date"] >= "2025-09-01") == is_late]
        found = np.mean([r["label"] == "negative" for r in chosen])
        assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / len(chosen))
    assert all(word in r["text"] for r in rows[:40] for word in ("The ", " is "))


@pytest.mark.slow
@pytest.mark.standard_promotion
def test_classify_prints_and_writes_what_it_found(trained_runs, tmp_path, capsys):
    write_reviews(tmp_path / "a.jsonl", num_per_month=10)
    words = ["classify", str(trained_runs("text_classifier")), "--text", str(tmp_path / "a.jsonl"), "--by", "domain",
             "--over", "date", "--out", str(tmp_path / "out")]  # fmt: skip
    assert cli.main([*words, "--alpha", "0.01", "--alert", "0.5"]) == 0
    output = capsys.readouterr().out
    assert "accuracy on the 120 labelled texts" in output
    # Two steps teach nothing: no threshold can be certified, and nothing counts.
    assert "No threshold could be certified" in output
    table = csv.DictReader((tmp_path / "out" / "shares.csv").read_text().splitlines())
    assert {row["num_accepted"] for row in table} == {"0"}
    found = [cli.main([*words, "--alert", "0", "--period", "year", "--of", name]) for name in ("negative", "positive")]
    assert 1 in found  # of two classes one is predicted at least
    assert "alert: bank 2025: " in capsys.readouterr().out
    (tmp_path / "b.jsonl").write_text('{"text": "The app is good.", "label": "mixed"}')
    mistakes = {
        "is none of negative, positive": ["--text", str(tmp_path / "b.jsonl")],
        "expected a class for --of": ["--of", "mixed"],
        "expected --alert as a share": ["--alert", "60"],
        "cannot read": ["--text", str(tmp_path / "no.jsonl")],
    }
    for reason, more in mistakes.items():
        assert cli.main([*words, *more]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert reason in error
    (tmp_path / "b.jsonl").write_text('{"text": "The app is good."}')
    assert cli.main([*words[:2], "--text", str(tmp_path / "b.jsonl"), "--alpha", "0.1"]) == 2
    assert "has none" in capsys.readouterr().err
