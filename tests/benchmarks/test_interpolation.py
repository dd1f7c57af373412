"""Benchmark of mode interpolation: tiny runs from end to end, and its figures on scores of known quality."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.rng import example_keys
from benchmarks import interpolation, results
from benchmarks import interpolation_table as table

pytestmark = pytest.mark.standard_promotion


def judged_of(is_far, **scores):
    """What a run keeps, with the same truth for every radius."""
    far = {f"far {radius}": is_far for radius in (6, 10, 15)}
    return {"x": np.zeros((len(is_far), 2)), "violation": is_far.astype(np.int32), **far, **scores}


@pytest.mark.slow
def test_command_prints_its_tables_and_makes_nothing_twice(tmp_path, capsys):
    sizes = ["--steps", "2", "--batch-size", "8", "--num-samples", "40", "--seeds", "0"]
    words = ["interpolation", "--settings", "2d-paper", *sizes, "--out", str(tmp_path), "--plots", str(tmp_path)]
    assert results.main(words) == 0
    first = capsys.readouterr().out
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    assert len(files) == 7  # weights; two samplers with and without them; re-noise scores of the former
    assert results.main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")} == files
    assert capsys.readouterr().out == first[first.index("| world") :]
    # Two steps of training teach nothing; the exact denoiser needs none.
    assert len(re.findall(r"2d-paper \| DD[PI]M \| exact \| 40 \| none; < 7.22 %", first)) == 2
    assert {path.name for path in tmp_path.glob("*.png")} == {"interpolation_rates.png", "interpolation_samples.png"}


@pytest.mark.slow
def test_exact_denoiser_ends_at_the_data():
    setting = interpolation.settings()["1d-paper"]
    judge = interpolation.judge_fn(setting, "ancestral", interpolation.exact(setting))
    out = judge(example_keys(jax.random.key(0), 200))
    assert not out["far 6"].any()
    assert len(set(setting.world().mode(out["x"]).tolist())) == len(setting.mixture.means)
    # A denoiser that always says "between the first two modes" is found out, the more so by the looser judge.
    middle = jnp.asarray(setting.mixture.means[:2].mean(axis=0), jnp.float32)
    judge = interpolation.judge_fn(setting, "ddim", lambda x_t, t, condition: 0 * x_t + middle[None])
    out = judge(example_keys(jax.random.key(0), 5))
    assert out["far 6"].all()
    assert (out["violation"] == 1).all()


@pytest.mark.slow
def test_settings_are_the_papers():
    grid = interpolation.settings()["2d-paper"].mixture
    points = interpolation.settings()["2d-paper"].world().sample(jax.random.key(0), 20_000, None)
    np.testing.assert_allclose(np.var(points, axis=0), 1.0, rtol=0.03)
    assert grid.scale == pytest.approx(0.05 / 2.829, rel=1e-3)
    standard, paper = (interpolation.settings()[f"1d-{name}"].process for name in ("standard", "paper"))
    np.testing.assert_allclose([standard.sigma(1e-3) ** 2, paper.sigma(1e-3) ** 2], [1e-4, 1e-3], rtol=1e-4)


def test_quality_of_scores_that_are_known():
    is_far = np.arange(1000) % 10 == 0
    perfect = table.quality(is_far.astype(float), is_far)
    assert perfect.auc[0] == perfect.removed[0] == 1.0
    inverted = table.quality(-is_far.astype(float), is_far)
    assert inverted.auc[0] == inverted.removed[0] == 0.0
    # 36 of 900 valid samples may go: half of the hallucinations lie above these, half below all.
    scores = np.where(is_far, np.where(np.arange(1000) < 500, 0.0, 2000.0), np.arange(1000))
    assert table.quality(scores, is_far).removed[0] == 0.5
    low, high = table.quality(scores, is_far).removed[1:]
    assert 0.35 < low < 0.42 < 0.58 < high < 0.65
    # Equal scores cannot be told apart: nothing may go.
    assert table.quality(np.zeros(1000), is_far).removed[0] == 0.0
    assert table.quality(np.zeros(1000), np.zeros(1000, bool)) is None


def test_best_window_is_chosen_on_the_first_seed_that_can_choose():
    is_far = np.arange(100) < 10
    none = judged_of(np.zeros(100, bool), **{"variance 0-9": np.zeros(100), "variance 0-19": np.zeros(100)})
    some = judged_of(is_far, **{"variance 0-9": -1.0 * is_far, "variance 0-19": 1.0 * is_far})
    other = judged_of(is_far, **{"variance 0-9": 1.0 * is_far, "variance 0-19": -1.0 * is_far})
    assert table.best("variance", {0: none, 1: some, 2: other}) == ("variance 0-19", 1)
    assert table.best("variance", {0: none}) is None


def test_nothing_found_is_an_upper_bound():
    assert table.rate(np.zeros(1000, bool)) == "none; < 0.299 %"
    assert table.rate(np.arange(1000) < 10) == "1 % (0.481 % to 1.83 %)"
