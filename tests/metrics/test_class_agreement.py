"""Class agreement against counts by hand, closed forms, scipy's optimum and simulations with a known truth."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from aigc_jax.metrics.class_agreement import class_agreement, corrected_agreement
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.types import UsageError

PREDICTED = np.array([0, 1, 1, 2, 2, 2, 0, 2])
CONDITION = np.array([0, 1, 0, 2, 2, 2, 0, 1])


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


METHODS = ["inversion", "rogan-gladen"]
# A classifier that confuses 0 with 1 mostly one way, and 2 hardly at all.
REAL = np.array([[90, 8, 2], [20, 76, 4], [1, 3, 96]])
TRUTH = np.array([[0.9, 0.06, 0.04], [0.2, 0.7, 0.1], [0.0, 0.0, 1.0]])


def expected_counts(truth, real, n):
    return np.rint(truth @ (real / real.sum(axis=1, keepdims=True)) * n).astype(np.int64)


def test_inversion_finds_the_truth_of_expected_counts():
    result = corrected_agreement(expected_counts(TRUTH, REAL, 10**6), REAL, num_resamples=20)
    np.testing.assert_allclose(result.composition, TRUTH, atol=1e-5)
    np.testing.assert_allclose(result.per_class, np.diagonal(TRUTH), atol=1e-5)
    assert result.agreement == pytest.approx(np.diagonal(TRUTH).mean(), abs=1e-5)
    assert (result.n, result.num_real) == (3 * 10**6, 300)


def test_rogan_gladen_of_two_classes_is_the_published_example():
    # Sensitivity 0.9, specificity 0.8, 41 % of samples read as class 0: (0.41 + 0.8 - 1) / 0.7 = 0.3.
    real, samples = np.array([[90, 10], [20, 80]]), np.array([[41, 59], [0, 0]])
    result = corrected_agreement(samples, real, method="rogan-gladen", num_resamples=50)
    assert result.per_class[0] == pytest.approx(0.3)
    assert result.agreement == pytest.approx(0.3)
    assert np.isnan(result.per_class[1])
    assert (result.per_class_low[1], result.per_class_high[1]) == (0, 1)
    assert result.composition is None


def test_both_agree_for_two_classes():
    real, samples = np.array([[93, 7], [15, 85]]), np.array([[700, 300], [250, 750]])
    by_matrix, by_rates = (corrected_agreement(samples, real, method=m, num_resamples=50) for m in METHODS)
    np.testing.assert_allclose(by_matrix.per_class, by_rates.per_class, rtol=1e-12)
    assert by_matrix.low == pytest.approx(by_rates.low)


@pytest.mark.parametrize("method", METHODS)
def test_perfect_classifier_corrects_nothing(method):
    samples = np.array([[80, 20], [5, 95]])
    result = corrected_agreement(samples, 100 * np.eye(2, dtype=np.int64), method=method)
    assert result.agreement == result.observed == 0.875
    low, high = clopper_pearson(175, 200)
    assert result.low <= low < 0.875 < high <= result.high


def test_composition_is_the_constrained_optimum():
    rng = np.random.default_rng(0)
    real = rng.multinomial(50, rng.dirichlet(np.ones(4), 4) * 0.5 + 0.5 * np.eye(4))
    samples = rng.multinomial(12, rng.dirichlet(np.ones(4), 4))
    result = corrected_agreement(samples, real, num_resamples=10)
    matrix, observed = real / 50, samples / 12
    assert np.any(observed @ np.linalg.inv(matrix) < 0)  # so that the constraint has something to do
    for row, target in zip(result.composition, observed, strict=True):
        assert row.min() >= 0
        assert row.sum() == pytest.approx(1)
        best = minimize(
            lambda p, target=target: np.sum((p @ matrix - target) ** 2),
            np.full(4, 0.25),
            method="SLSQP",
            bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
            options={"ftol": 1e-14},
        )
        np.testing.assert_allclose(row, best.x, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("wrong", "num_samples"), [(0.1, 100), (0.0, 1000)])
def test_interval_covers_the_truth_95_times_in_100(method, wrong, num_samples):
    rng, num_classes, repeats = np.random.default_rng(1), 5, 200
    matrix = 0.95 * np.eye(num_classes) + 0.05 * np.roll(np.eye(num_classes), 1, axis=1)
    truth = (1 - wrong) * np.eye(num_classes) + wrong / num_classes * np.ones((num_classes, num_classes))
    right = truth[0, 0]
    is_covered, in_class, width = [], [], []
    for seed in range(repeats):
        real, samples = rng.multinomial(100, matrix), rng.multinomial(num_samples, truth @ matrix)
        result = corrected_agreement(samples, real, method=method, num_resamples=200, seed=seed)
        is_covered.append(result.low <= right <= result.high)
        in_class.append((result.per_class_low <= right) & (right <= result.per_class_high))
        width.append(result.high - result.low)
        assert result.low <= result.agreement <= result.high
    # Two standard errors of 200 repeats are 3 %; intervals that reach further than need be are allowed some.
    assert 0.92 <= np.mean(is_covered) <= 0.995
    assert np.mean(in_class) >= 0.92
    # The uncorrected share would miss by 5 %: the intervals that cover are narrower than that.
    assert np.mean(width) < 0.09
    assert np.mean(width) < 0.05 or num_samples == 100


def test_few_real_examples_without_an_error_prove_no_perfect_classifier():
    # 2 % too few, and 100 real digits of a class cannot tell whether the classifier or the model is to blame.
    samples, real = np.array([[980, 20], [20, 980]]), 100 * np.eye(2, dtype=np.int64)
    assert corrected_agreement(samples, real).per_class_high.tolist() == [1.0, 1.0]
    assert corrected_agreement(samples, 100 * real).high < 0.99


def test_same_seed_same_interval():
    samples = expected_counts(TRUTH, REAL, 200)
    first, again, other = (corrected_agreement(samples, REAL, seed=seed) for seed in (0, 0, 1))
    assert (first.low, first.high) == (again.low, again.high) != (other.low, other.high)


@pytest.mark.parametrize("method", METHODS)
def test_classifier_by_chance_is_refused(method):
    with pytest.raises(UsageError, match="does not tell the classes"):
        corrected_agreement(np.full((2, 2), 10), np.array([[30, 20], [30, 20]]), method=method)


def test_two_classes_taken_for_one_are_refused():
    real = np.array([[90, 10, 0], [90, 10, 0], [0, 0, 100]])
    with pytest.raises(UsageError, match="does not tell the classes"):
        corrected_agreement(np.full((3, 3), 10), real)


def test_hardly_better_than_chance_says_hardly_anything():
    real = np.array([[26, 24], [25, 25]])
    result = corrected_agreement(np.array([[60, 40], [40, 60]]), real)
    assert (result.low, result.high) == (0, 1)


def test_what_cannot_be_corrected_is_refused():
    with pytest.raises(UsageError, match=r"classes \[1\]"):
        corrected_agreement(np.ones((2, 2), np.int64), np.array([[5, 1], [0, 0]]))
    with pytest.raises(UsageError, match="samples"):
        corrected_agreement(np.zeros((2, 2), np.int64), REAL[:2, :2])
