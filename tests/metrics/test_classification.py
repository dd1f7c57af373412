"""F1, precision-recall areas and calibration against scikit-learn and counts by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from sklearn.calibration import calibration_curve

from aigc_jax.metrics.classification import calibration, class_average_precision, f_scores
from aigc_jax.types import UsageError


def example(seed=0, n=600, num_classes=4):
    """An unbalanced, over-confident classifier: its logits are three times too large."""
    rng = np.random.RandomState(seed)
    logits = rng.normal(size=(n, num_classes)) + np.array([2.0, 1.0, 0.0, -1.5])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(num_classes, p=row) for row in p])
    sharp = np.exp(3 * logits)
    return sharp / sharp.sum(axis=1, keepdims=True), truth


def counts(predicted, truth, num_classes=4):
    return sklearn.metrics.confusion_matrix(truth, predicted, labels=range(num_classes))


def test_scikit_learn_agrees_on_f1():
    p, truth = example(n=3000)
    predicted = p.argmax(axis=1)
    scores = f_scores(counts(predicted, truth))
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(truth, predicted)
    np.testing.assert_allclose(scores.precision, precision)
    np.testing.assert_allclose(scores.recall, recall)
    np.testing.assert_allclose(scores.per_class, f1)
    np.testing.assert_array_equal(scores.support, support)
    assert scores.macro == pytest.approx(sklearn.metrics.f1_score(truth, predicted, average="macro"))


def test_classes_that_do_not_occur():
    # Class 1 occurs and is never predicted; 2 is predicted and never occurs; 3 is neither.
    truth, predicted = np.array([0, 0, 1, 0]), np.array([0, 0, 0, 2])
    scores = f_scores(counts(predicted, truth))
    np.testing.assert_allclose(scores.per_class, [2 / 3, 0, 0, np.nan])
    np.testing.assert_allclose(scores.precision, [2 / 3, np.nan, 0, np.nan])
    np.testing.assert_allclose(scores.recall, [2 / 3, 0, np.nan, np.nan])
    oracle = sklearn.metrics.f1_score(truth, predicted, labels=range(4), average=None, zero_division=np.nan)
    np.testing.assert_allclose(scores.per_class, oracle)
    assert scores.macro == pytest.approx(2 / 9)


def test_accuracy_hides_what_f1_shows():
    table = np.array([[940, 0], [60, 0]])
    assert f_scores(table).macro < 0.5 < np.trace(table) / table.sum()


def test_scikit_learn_agrees_on_average_precision():
    p, truth = example(1)
    qualities = class_average_precision(p, truth, num_resamples=20)
    oracle = sklearn.metrics.average_precision_score(np.eye(4)[truth], p, average=None)
    np.testing.assert_allclose([quality.value for quality in qualities], oracle)
    assert all(quality.low <= quality.value <= quality.high for quality in qualities)
    assert [quality.num_positive for quality in qualities] == np.bincount(truth).tolist()


def test_a_class_without_examples_has_no_average_precision():
    p, _ = example(2, n=5)
    qualities = class_average_precision(p, np.array([0, 0, 1, 0, 3]), num_resamples=5)
    assert [quality is None for quality in qualities] == [False, False, True, False]
    assert class_average_precision(p, np.zeros(5, int))[0] is None


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_scikit_learn_agrees_on_the_bins(num_bins):
    p, truth = example(3)
    result = calibration(p, truth, num_bins=num_bins)
    is_right = p.argmax(axis=1) == truth
    accuracy, confidence = calibration_curve(is_right, p.max(axis=1), n_bins=num_bins)
    is_used = result.bin_count > 0
    np.testing.assert_allclose(result.bin_accuracy[is_used], accuracy)
    np.testing.assert_allclose(result.bin_confidence[is_used], confidence)
    assert result.bin_count.sum() == 600
    assert result.ece == pytest.approx(np.abs(accuracy - confidence) @ result.bin_count[is_used] / 600)
    assert result.max_error == pytest.approx(np.abs(accuracy - confidence).max())


def test_over_confidence_is_seen_and_honesty_passes():
    p, truth = example(4, n=20_000)
    honest = p ** (1 / 3) / (p ** (1 / 3)).sum(axis=1, keepdims=True)
    assert calibration(p, truth).ece > 0.15
    assert calibration(honest, truth).ece < 0.015
    assert calibration(p, truth).per_class.max() > 0.05 > 0.015 > calibration(honest, truth).per_class.max()


def test_calibration_of_one_class_by_hand():
    p = np.array([[0.05, 0.95], [0.05, 0.95], [0.85, 0.15], [0.85, 0.15]])
    result = calibration(p, np.array([0, 1, 0, 0]), num_bins=10)
    # Class 0: half of the first two against 0.05, all of the others against 0.85.
    np.testing.assert_allclose(result.per_class, [(0.45 + 0.15) / 2] * 2)
    assert result.ece == pytest.approx((0.45 + 0.15) / 2)


def test_edges_belong_to_the_lower_bin():
    result = calibration(np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]), np.array([0, 0, 0]), num_bins=4)
    assert result.bin_count.tolist() == [0, 1, 1, 1]


def test_jax_probabilities():
    logits = jax.random.normal(jax.random.key(0), (50, 3))
    result = calibration(jax.nn.softmax(logits), jnp.zeros(50, jnp.int32))
    assert result.bin_count.sum() == 50


def test_what_is_no_probability_is_refused():
    with pytest.raises(UsageError, match="softmax"):
        calibration(np.array([[2.0, -1.0]]), np.array([0]))
    with pytest.raises(UsageError, match="softmax"):
        calibration(np.array([[0.5, 0.7]]), np.array([0]))
    with pytest.raises(UsageError, match="at least one"):
        calibration(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(UsageError, match="at least one"):
        f_scores(np.zeros((2, 2), np.int64))
