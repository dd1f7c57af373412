"""Similarity of samples of the same noise."""

import numpy as np
import pytest

from aigc_jax.evaluation.sections.paired_noise import pair_similarity, without_class_means


def test_without_class_means_takes_one_mean_of_few_rows():
    first, second = without_class_means([np.array([[1.0], [5.0]]), np.array([[3.0], [7.0]])], None)
    assert (first.ravel().tolist(), second.ravel().tolist()) == ([-3.0, 1.0], [-1.0, 3.0])
    of_classes = without_class_means([np.array([[1.0], [5.0]]), np.array([[3.0], [7.0]])], np.array([0, 1]))
    np.testing.assert_array_equal(of_classes, [first, second])


def test_without_class_means_takes_a_mean_of_each_class():
    condition = np.arange(40) % 2
    sets = without_class_means([10.0 * condition[:, None] + sign for sign in (-1.0, 1.0)], condition)
    np.testing.assert_array_equal(sets, [np.full((40, 1), sign) for sign in (-1.0, 1.0)])


def test_pair_similarity_of_equal_values_exceeds_chance():
    found = pair_similarity({"shown": np.array([0, 1])}, {"shown": np.array([0, 1])}, None)
    assert (found.value, found.chance, found.excess) == pytest.approx((1.0, 0.0, 1.0))
