"""Ties, discrete sets, collapsed and low-rank features: the value of the definition, in closed form, or a refusal."""

import numpy as np
import pytest

from aigc_jax.evaluation.blocks import block_statistics, make_reference
from aigc_jax.metrics import frechet_distance, inception_score, kid, prdc, vendi_score
from aigc_jax.types import UsageError

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(400, 3))
MEAN, VARIANCE = REAL.mean(axis=0), np.trace(np.cov(REAL, rowvar=False))
ONE = np.full((400, 3), 2.0)


def test_fd_of_a_collapsed_set_is_offset_and_variance():
    assert frechet_distance(REAL, ONE) == pytest.approx(np.sum((MEAN - 2) ** 2) + VARIANCE, rel=1e-9)
    assert frechet_distance(ONE, ONE) == pytest.approx(0, abs=1e-9)


def test_fd_of_low_rank_sets_is_that_of_their_line(rng):
    x, direction = rng.normal(size=400), np.array([1.0, 2.0, 2.0]) / 3
    line, wider = x[:, None] * direction, 3 * x[:, None] * direction + 1
    expected = np.sum((line.mean(axis=0) - wider.mean(axis=0)) ** 2) + (2 * x.std(ddof=1)) ** 2
    assert frechet_distance(line, wider) == pytest.approx(expected, rel=1e-6)


def test_kid_of_two_points_is_the_difference_of_the_kernel():
    other = np.full((400, 3), -1.0)

    def kernel(a, b):
        return (np.dot(a, b) / 3 + 1) ** 3

    expected = kernel(ONE[0], ONE[0]) + kernel(other[0], other[0]) - 2 * kernel(ONE[0], other[0])
    found = kid(ONE, other, num_subsets=3, subset_size=50).value
    scale = found / expected  # some report a thousand times the value
    assert scale == pytest.approx(round(scale), rel=1e-6)
    assert kid(ONE, ONE, num_subsets=3, subset_size=50).value == pytest.approx(0, abs=1e-9)


def test_prdc_of_a_collapse_to_one_real_example():
    found = prdc(REAL, np.repeat(REAL[:1], 50, axis=0), k=5)
    inside = np.linalg.norm(REAL - REAL[0], axis=1) <= np.sort(np.linalg.norm(REAL[:, None] - REAL[None], axis=2))[:, 5]
    assert found["precision"] == 1.0
    assert found["recall"] == pytest.approx(1 / 400)  # its balls have no radius and hold that example alone
    assert found["coverage"] == pytest.approx(inside.mean())
    assert found["density"] == pytest.approx(inside.sum() / 5)


def test_prdc_of_a_discrete_set_is_that_of_its_values():
    # Every value occurs more than k times: all radii are 0, and balls are closed.
    real, fake = np.repeat(np.arange(4.0), 10)[:, None], np.repeat(np.arange(2.0, 6.0), 10)[:, None]
    assert prdc(real, fake, k=5) == {"precision": 0.5, "recall": 0.5, "density": 1.0, "coverage": 0.5}


def test_vendi_score_counts_distinct_directions():
    assert vendi_score(ONE) == pytest.approx(1)
    assert vendi_score(np.repeat(np.eye(5), 8, axis=0)) == pytest.approx(5)


def test_inception_score_of_one_class_is_one():
    assert inception_score(np.tile([9.0, 0.0, 0.0], (50, 1))).unsplit == pytest.approx(1)


def test_block_statistics_of_a_collapse_are_those_of_the_definition():
    reference = make_reference(REAL, 5)
    found = block_statistics(ONE[:200], reference, 3, 5)
    assert found["frechet_distance"] == pytest.approx(np.sum((MEAN - 2) ** 2) + VARIANCE)
    np.testing.assert_array_equal(found["recall"], 0)


@pytest.mark.parametrize("metric", [frechet_distance, prdc, vendi_score])
def test_features_that_are_not_finite_are_refused(metric):
    broken = np.where(np.arange(400)[:, None] == 7, np.nan, REAL)
    with pytest.raises(UsageError):
        metric(broken) if metric is vendi_score else metric(REAL, broken)
