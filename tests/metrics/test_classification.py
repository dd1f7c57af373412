"""F1, precision-recall areas and calibration error against scikit-learn and by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from sklearn.calibration import calibration_curve

from aigc_jax.metrics.classification import classifier_quality
from aigc_jax.types import UsageError


def example(seed=0, n=600, num_classes=4):
    """An unbalanced, over-confident classifier: its logits are three times too large."""
    rng = np.random.RandomState(seed)
    logits = rng.normal(size=(n, num_classes)) + np.array([2.0, 1.0, 0.0, -1.5])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(num_classes, p=row) for row in p])
    sharp = np.exp(3 * logits)
    return sharp / sharp.sum(axis=1, keepdims=True), truth


def test_classifier_quality_agrees_with_scikit_learn():
    p, truth = example(n=3000)
    result, predicted = classifier_quality(p, truth), p.argmax(axis=1)
    assert result.accuracy == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    np.testing.assert_allclose(result.f1, sklearn.metrics.f1_score(truth, predicted, average=None))
    areas = sklearn.metrics.average_precision_score(np.eye(4)[truth], p, average=None)
    np.testing.assert_allclose(result.average_precision, areas)


def test_classifier_quality_of_classes_that_do_not_occur():
    # Class 1 occurs and is never predicted; 2 is predicted and never occurs; 3 is neither.
    truth, predicted = np.array([0, 0, 1, 0]), np.array([0, 0, 0, 2])
    result = classifier_quality(np.eye(4)[predicted], truth)
    np.testing.assert_allclose(result.f1, [2 / 3, 0, 0, np.nan])
    oracle = sklearn.metrics.f1_score(truth, predicted, labels=range(4), average=None, zero_division=np.nan)
    np.testing.assert_allclose(result.f1, oracle)
    assert np.isnan(result.average_precision).tolist() == [False, False, True, True]
    assert np.isnan(classifier_quality(np.eye(2)[[0, 0]], np.array([0, 0])).average_precision).all()


def test_classifier_quality_f1_shows_what_accuracy_hides():
    result = classifier_quality(np.eye(2)[np.zeros(1000, int)], (np.arange(1000) < 60).astype(int))
    assert np.nanmean(result.f1) < 0.5 < result.accuracy


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_calibration_error_agrees_with_scikit_learns_bins(num_bins):
    p, truth = example(3)
    confidence, is_right = p.max(axis=1), p.argmax(axis=1) == truth
    accuracy, mean_confidence = calibration_curve(is_right, confidence, n_bins=num_bins)
    counts = np.histogram(confidence, np.linspace(0, 1, num_bins + 1))[0]
    expected = np.abs(accuracy - mean_confidence) @ counts[counts > 0] / 600
    assert classifier_quality(p, truth, num_bins=num_bins).calibration_error == pytest.approx(expected)


def test_calibration_error_by_hand():
    p = np.array([[0.05, 0.95], [0.05, 0.95], [0.85, 0.15], [0.85, 0.15]])
    # Confidence 0.95 is right half of the time, 0.85 always.
    assert classifier_quality(p, np.array([0, 1, 0, 0]), num_bins=10).calibration_error == pytest.approx(0.3)


def test_calibration_error_edges_belong_to_the_lower_bin():
    p, truth = np.array([[0.5, 0.5], [0.45, 0.55]]), np.array([0, 0])
    # Two bins: 0.5 and right in the lower, 0.55 and wrong in the upper one. Together they would nearly cancel.
    assert classifier_quality(p, truth, num_bins=2).calibration_error == pytest.approx((0.5 + 0.55) / 2)
    assert classifier_quality(p, truth, num_bins=1).calibration_error == pytest.approx(0.025)


def test_calibration_error_of_honest_and_over_confident_probabilities():
    p, truth = example(4, n=20_000)
    honest = p ** (1 / 3) / (p ** (1 / 3)).sum(axis=1, keepdims=True)
    assert classifier_quality(p, truth).calibration_error > 0.15
    assert classifier_quality(honest, truth).calibration_error < 0.015


def test_classifier_quality_takes_jax_arrays():
    p, truth = example(5)
    results = classifier_quality(jnp.asarray(p), jnp.asarray(truth)), classifier_quality(p, truth)
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_classifier_quality_refuses_logits_unknown_classes_and_nothing():
    with pytest.raises(ValueError, match="softmax"):
        classifier_quality(np.array([[2.0, -1.0]]), np.array([0]))
    with pytest.raises(ValueError, match="softmax"):
        classifier_quality(np.array([[0.5, 0.7]]), np.array([0]))
    with pytest.raises(ValueError, match=r"in 0 \.\.\. 1"):
        classifier_quality(np.array([[0.5, 0.5]]), np.array([2]))
    with pytest.raises(UsageError, match="at least one"):
        classifier_quality(np.zeros((0, 2)), np.zeros(0, int))
