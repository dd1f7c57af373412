"""Rankings against scikit-learn, scipy's Mann-Whitney statistic, and simulations with a known area."""

import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from scipy.stats import mannwhitneyu, norm

from aigc_jax.metrics.ranking import roc_auc, roc_curve
from aigc_jax.types import UsageError


def example(seed, n=200, decimals=1):
    """Scores with many ties."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.3
    return np.round(rng.normal(size=n) + truth, decimals), truth


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_roc_agrees_with_scikit_learn(decimals):
    scores, truth = example(0, decimals=decimals)
    curve = roc_curve(scores, truth)
    oracle = sklearn.metrics.roc_curve(truth, scores, drop_intermediate=False)
    for ours, theirs in zip(curve, oracle, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert roc_auc(scores, truth).value == pytest.approx(sklearn.metrics.roc_auc_score(truth, scores), rel=1e-12)


def test_roc_auc_is_mann_whitney_and_the_area_of_the_curve():
    scores, truth = example(1)
    u = mannwhitneyu(scores[truth], scores[~truth]).statistic / (truth.sum() * (~truth).sum())
    curve, quality = roc_curve(scores, truth), roc_auc(scores, truth)
    assert quality.value == pytest.approx(u, rel=1e-12)
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert quality.value == pytest.approx(area, rel=1e-12)
    assert (quality.num_positive, quality.num_negative) == (truth.sum(), (~truth).sum())


def test_roc_auc_of_a_useless_score_is_one_half():
    rng = np.random.default_rng(2)
    quality = roc_auc(rng.normal(size=4000), rng.random(4000) < 0.2)
    assert quality.low < 0.5 < quality.high
    assert quality.high - quality.low < 0.06
    constant = roc_auc(np.zeros(20), np.arange(20) < 5)
    assert constant.value == 0.5
    # All ties: no pair was ranked, and DeLong's variance is that of a certainty.
    assert constant.low <= 0.5 <= constant.high


def test_roc_auc_interval_covers_the_truth_95_times_in_100():
    rng, shift, repeats = np.random.default_rng(3), 1.2, 400
    area = norm.cdf(shift / np.sqrt(2))
    truth = np.arange(120) < 40
    qualities = [roc_auc(rng.normal(size=120) + shift * truth, truth) for _ in range(repeats)]
    assert 0.925 <= np.mean([q.low <= area <= q.high for q in qualities]) <= 0.975


def test_roc_auc_of_a_perfect_ranking_has_an_exact_interval():
    scores = np.array([3.0, 2.0, 1.0, 0.0, -1.0])
    truth = np.array([True, True, True, False, False])
    quality = roc_auc(scores, truth)
    assert (quality.value, quality.high) == (1, 1)
    assert quality.low == pytest.approx(0.025**0.5)
    inverted = roc_auc(-scores, truth)
    assert (inverted.low, inverted.value) == (0, 0)
    assert inverted.high == pytest.approx(1 - 0.025**0.5)


def test_roc_auc_of_one_positive_has_no_interval():
    quality = roc_auc(np.array([0.5, 0.1, 0.9]), np.array([True, False, False]))
    assert quality[:3] == (0.5, 0.0, 1.0)


def test_roc_of_jax_arrays_and_infinite_scores():
    scores, truth = jnp.array([jnp.inf, 1.0, -jnp.inf]), jnp.array([True, False, False])
    assert roc_auc(scores, truth).value == 1
    assert roc_curve(scores, truth).threshold.tolist() == [np.inf, np.inf, 1.0, -np.inf]


@pytest.mark.parametrize("measure", [roc_curve, roc_auc])
def test_roc_refuses_one_kind_and_nan(measure):
    with pytest.raises(UsageError, match="positives and negatives"):
        measure(np.zeros(3), np.ones(3, bool))
    with pytest.raises(UsageError, match="positives and negatives"):
        measure(np.zeros(3), np.zeros(3, bool))
    with pytest.raises(UsageError, match="1 NaN"):
        measure(np.array([np.nan, 1.0]), np.array([True, False]))
