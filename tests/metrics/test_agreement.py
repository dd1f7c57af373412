"""Class agreement against scipy's exact interval and counts by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest

from aigc_jax.metrics.agreement import class_agreement, clopper_pearson

PREDICTED = np.array([0, 1, 1, 2, 2, 2, 0, 2])
CONDITION = np.array([0, 1, 0, 2, 2, 2, 0, 1])


@pytest.mark.parametrize("confidence", [0.95, 0.8])
@pytest.mark.parametrize(("successes", "n"), [(0, 7), (7, 7), (985, 1000), (1, 2), (0, 1), (3, 40)])
def test_interval_is_the_exact_one(successes, n, confidence):
    exact = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="exact")
    assert clopper_pearson(successes, n, confidence) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_no_trials_say_nothing():
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(ValueError, match="successes"):
        clopper_pearson(successes, n)


def test_counts_by_hand():
    metric = class_agreement(3)
    results = metric.compute(metric.update(metric.init(), PREDICTED, CONDITION))
    assert results["confusion"].tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 3]]
    assert (results["agreement"], results["n"]) == (6 / 8, 8)
    assert (results["low"], results["high"]) == clopper_pearson(6, 8)
    np.testing.assert_allclose(results["per_class"], [2 / 3, 1 / 2, 1])
    assert (results["worst_class"], results["worst_value"]) == (1, 0.5)
    assert results["per_class_low"][1] == clopper_pearson(1, 2)[0]


def test_class_without_samples_is_never_the_worst():
    metric = class_agreement(3)
    results = metric.compute(metric.update(metric.init(), np.array([1, 2]), np.array([1, 1])))
    assert np.isnan(results["per_class"][[0, 2]]).all()
    assert results["worst_class"] == 1


def test_no_samples_at_all():
    results = class_agreement(2).compute(class_agreement(2).init())
    assert results["n"] == 0
    assert np.isnan(results["agreement"])
    assert (results["low"], results["high"]) == (0, 1)


@pytest.mark.parametrize("cut", [0, 3, 8])
def test_batches_and_merges_change_nothing(cut):
    metric = class_agreement(3)
    whole = metric.update(metric.init(), PREDICTED, CONDITION)
    head = metric.update(metric.init(), PREDICTED[:cut], CONDITION[:cut])
    tail = metric.update(metric.init(), jnp.asarray(PREDICTED[cut:]), jnp.asarray(CONDITION[cut:]))
    for state in (metric.merge(head, tail), metric.update(head, PREDICTED[cut:], CONDITION[cut:])):
        np.testing.assert_array_equal(state.confusion, whole.confusion)
    np.testing.assert_array_equal(metric.merge(metric.init(), whole).confusion, whole.confusion)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_unknown_classes_are_refused(wrong):
    metric = class_agreement(3)
    with pytest.raises(ValueError, match="condition"):
        metric.update(metric.init(), np.array([0]), np.array([wrong]))
    with pytest.raises(ValueError, match="predicted"):
        metric.update(metric.init(), np.array([wrong]), np.array([0]))
