"""``aigc-jax sample --rule``: samples whose attributes obey, by a world or by a classifier."""

import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax import cli
from aigc_jax.data.images import IMAGE
from aigc_jax.rules.formula import formula, is_true
from aigc_jax.worlds.catalog import open_world

pytestmark = pytest.mark.standard_promotion


def sample(run, *words):
    return cli.main(["sample", str(run), *map(str, words)])


def test_samples_of_a_world_obey_the_rule_and_are_the_first_that_do(trained_runs, tmp_path, capsys):
    run, readings = trained_runs("sums"), open_world("world:sums").readings
    text = "top_left != 3 or sum(bottom) > 2 or true"
    assert sample(run, "--num", 3, "--rule", text, "--budget", 300, "--out", tmp_path / "a.npz") in (0, 1, 2)
    # A model that has learned nothing draws no digits: what is malformed obeys not even a tautology of the digits.
    output = capsys.readouterr()
    assert "candidates obey the rule" in output.out + output.err
    assert sample(run, "--num", 70, "--rule", "true", "--out", tmp_path / "b.npz") == 0
    assert sample(run, "--num", 70, "--out", tmp_path / "c.npz") == 0
    everything = [np.load(tmp_path / f"{name}.npz")["image"] for name in "bc"]
    np.testing.assert_array_equal(*everything)
    assert "128 of 128 candidates obey the rule (100.0%" in capsys.readouterr().out
    if (tmp_path / "a.npz").exists():
        found = readings.read(jnp.asarray(IMAGE.load(np.load(tmp_path / "a.npz")["image"])))
        assert is_true(formula(text, readings.attributes, readings.groups), found).all()


def test_samples_of_a_class_are_read_by_the_classifier(trained_run, quick_classifiers, tmp_path, capsys):
    run = trained_run("gan_digits")
    words = ["--num", 5, "--out", tmp_path / "a.npz", "--budget", 400]
    assert sample(run, *words, "--rule", "not label in (1, 7) or 1 or 7") == 0
    output = capsys.readouterr().out
    assert "320 of 320" in output or "64 of 64 candidates obey the rule (100.0%" in output
    assert "classifier passes 0 of 0 held-out examples that break the rule" in output
    assert "at most 100.00% of the samples" in output
    drawn = np.load(tmp_path / "a.npz")
    assert drawn["label"].tolist() == [0, 1, 2, 3, 4]


def test_samples_are_guided_by_a_rule(trained_runs, tmp_path):
    run, reader = trained_runs("flow_sums"), trained_runs("attribute_reader")
    guided = ["--rule-guidance", 5, "--reader", reader]
    status = sample(run, "--num", 2, "--rule", "true", "--out", tmp_path / "b.npz", *guided)
    assert status == 0
    assert np.load(tmp_path / "b.npz")["image"].shape == (2, 28, 28, 1)


@pytest.mark.parametrize(
    ("run", "words", "expected"),
    [
        ("sums", ["--rule", "(sum(top) == 3"], "column 15: expected ')' for the bracket of column 1"),
        ("sums", ["--rule", "middle == 3"], "column 1: no attribute 'middle', expected one of top_left, top_right"),
        ("sums", ["--rule", "sum(top) and true"], "expected a condition, got the number"),
        ("sums", ["--rule", "sum(top) > 18"], "no values of top_left, top_right obey the rule"),
        ("sums", ["--rule", "true", "--budget", "0"], "expected --budget 1 or more"),
        ("sums", ["--rule", "true", "--rule-guidance", "2"], "--rule-guidance and --reader RUN together"),
        ("sums", ["--rule-guidance", "2"], "got --rule-guidance without a rule"),
        ("sums", ["--reader", "x"], "got --reader without a rule"),
        ("sums", ["--rule", "true", "--rule-guidance", "2", "--reader", "nowhere"], "nowhere"),
        ("sums", ["--rule", "true", "--rule-guidance", "2", "--reader", "{sums}"], "the run of a reader of attributes"),
        ("gpt_docs", ["--rule", "true"], "have neither classes nor attributes"),
        ("mixture16", ["--rule", "true"], "world:mixture16 has no attributes"),
        ("gan_digits", ["--rule", "11"], "no attribute '11'"),
        ("gan_digits", ["--rule", "label == triangle"], "label has no value 'triangle'"),
    ],
)
def test_rules_that_cannot_be_are_one_line(run, words, expected, trained_runs, capsys):
    words = [word.format(sums=trained_runs("sums")) for word in words]
    assert sample(trained_runs(run), "--num", 2, *words) == 2
    error = capsys.readouterr().err.strip()
    assert expected in error.splitlines()[-1]
