"""Class agreement against counts by hand, exact correction of expected counts, and simulations with a known truth."""

import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.metrics.class_agreement import class_agreement, corrected_agreement
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.types import UsageError

PREDICTED = np.array([0, 1, 1, 2, 2, 2, 0, 2])
CONDITION = np.array([0, 1, 0, 2, 2, 2, 0, 1])
# A classifier that confuses 0 with 1 mostly one way, and 2 hardly at all.
REAL = np.array([[90, 8, 2], [20, 76, 4], [1, 3, 96]])
TRUTH = np.array([[0.9, 0.06, 0.04], [0.2, 0.7, 0.1], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("xp", [np, jnp])
def test_class_agreement_counts_by_hand(xp):
    result = class_agreement(xp.asarray(PREDICTED), xp.asarray(CONDITION), 3)
    assert result.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 3]]
    assert (result.agreement, result.n) == (6 / 8, 8)
    assert (result.low, result.high) == clopper_pearson(6, 8)
    np.testing.assert_allclose(result.per_class, [2 / 3, 1 / 2, 1])
    assert result.per_class_n.tolist() == [3, 2, 3]
    assert (result.worst_class, result.worst_value) == (1, 0.5)


def test_class_agreement_class_without_samples_is_never_the_worst():
    result = class_agreement(np.array([1, 2]), np.array([1, 1]), 3)
    assert np.isnan(result.per_class[[0, 2]]).all()
    assert result.worst_class == 1


def test_class_agreement_of_no_samples():
    result = class_agreement(np.zeros(0, int), np.zeros(0, int), 2)
    assert result.n == 0
    assert np.isnan(result.agreement)
    assert (result.low, result.high) == (0, 1)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_class_agreement_refuses_unknown_classes(wrong):
    with pytest.raises(ValueError, match=r"condition in 0 \.\.\. 2"):
        class_agreement(np.array([0]), np.array([wrong]), 3)
    with pytest.raises(ValueError, match=r"predicted class in 0 \.\.\. 2"):
        class_agreement(np.array([wrong]), np.array([0]), 3)


def expected_counts(truth, real, n):
    return np.rint(truth @ (real / real.sum(axis=1, keepdims=True)) * n).astype(np.int64)


def test_corrected_agreement_of_expected_counts_is_the_truth():
    result = corrected_agreement(expected_counts(TRUTH, REAL, 10**6), REAL, num_resamples=20)
    np.testing.assert_allclose(result.per_class, np.diagonal(TRUTH), atol=1e-5)
    assert result.agreement == pytest.approx(np.diagonal(TRUTH).mean(), abs=1e-5)
    assert result.n == 3 * 10**6


def test_corrected_agreement_of_two_classes_is_the_published_example():
    # Rogan & Gladen 1978: sensitivity 0.9, specificity 0.8, 41 % of samples read as class 0: (0.41 + 0.8 - 1) / 0.7.
    real, samples = np.array([[90, 10], [20, 80]]), np.array([[41, 59], [0, 0]])
    result = corrected_agreement(samples, real, num_resamples=50)
    assert result.per_class[0] == pytest.approx(0.3)
    assert result.agreement == pytest.approx(0.3)
    assert np.isnan(result.per_class[1])


def test_corrected_agreement_with_a_perfect_classifier_is_the_plain_one():
    samples = np.array([[80, 20], [5, 95]])
    result = corrected_agreement(samples, 100 * np.eye(2, dtype=np.int64))
    assert result.agreement == 0.875
    low, high = clopper_pearson(175, 200)
    assert result.low <= low < 0.875 < high <= result.high


@pytest.mark.parametrize(("wrong", "num_samples"), [(0.1, 100), (0.0, 1000)])
def test_corrected_agreement_interval_covers_the_truth_95_times_in_100(wrong, num_samples):
    rng, num_classes, repeats = np.random.default_rng(1), 5, 200
    matrix = 0.95 * np.eye(num_classes) + 0.05 * np.roll(np.eye(num_classes), 1, axis=1)
    truth = (1 - wrong) * np.eye(num_classes) + wrong / num_classes * np.ones((num_classes, num_classes))
    right = truth[0, 0]
    is_covered, width = [], []
    for seed in range(repeats):
        real, samples = rng.multinomial(100, matrix), rng.multinomial(num_samples, truth @ matrix)
        result = corrected_agreement(samples, real, num_resamples=200, seed=seed)
        is_covered.append(result.low <= right <= result.high)
        width.append(result.high - result.low)
        assert result.low <= result.agreement <= result.high
    # Two standard errors of 200 repeats are 3 %; intervals that reach further than need be are allowed some.
    assert 0.92 <= np.mean(is_covered) <= 0.995
    # The uncorrected share would miss by 5 %: the intervals that cover are narrower than that.
    assert np.mean(width) < 0.09
    assert np.mean(width) < 0.05 or num_samples == 100


def test_corrected_agreement_few_real_examples_do_not_prove_a_perfect_classifier():
    # 2 % too few, and 100 real digits of a class cannot tell whether the classifier or the model is to blame.
    samples, real = np.array([[980, 20], [20, 980]]), 100 * np.eye(2, dtype=np.int64)
    assert corrected_agreement(samples, real).high > 0.99
    assert corrected_agreement(samples, 100 * real).high < 0.99


def test_corrected_agreement_interval_depends_on_the_seed_alone():
    samples = expected_counts(TRUTH, REAL, 200)
    first, again, other = (corrected_agreement(samples, REAL, seed=seed) for seed in (0, 0, 1))
    assert (first.low, first.high) == (again.low, again.high) != (other.low, other.high)


@pytest.mark.parametrize(
    "real",
    [np.array([[30, 20], [30, 20]]), np.array([[90, 10, 0], [90, 10, 0], [0, 0, 100]])],
    ids=["by chance", "two classes as one"],
)
def test_corrected_agreement_refuses_a_classifier_that_cannot_tell_classes(real):
    with pytest.raises(UsageError, match="does not tell the classes"):
        corrected_agreement(np.full(real.shape, 10), real)


def test_corrected_agreement_with_a_classifier_near_chance_has_the_whole_interval():
    result = corrected_agreement(np.array([[60, 40], [40, 60]]), np.array([[26, 24], [25, 25]]))
    assert (result.low, result.high) == (0, 1)


def test_corrected_agreement_refuses_missing_samples_and_real_examples():
    with pytest.raises(UsageError, match=r"classes \[1\]"):
        corrected_agreement(np.ones((2, 2), np.int64), np.array([[5, 1], [0, 0]]))
    with pytest.raises(UsageError, match="samples"):
        corrected_agreement(np.zeros((2, 2), np.int64), REAL[:2, :2])
