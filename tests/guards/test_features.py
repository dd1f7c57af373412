"""Typicality, and distances to real examples."""

import numpy as np
import pytest

from aigc_jax.guards.assess import assess
from aigc_jax.guards.neighbors import inverse_realism, neighbor_distance
from aigc_jax.guards.typicality import typicality
from aigc_jax.metrics.knn_manifold import overlap
from aigc_jax.types import UsageError


def test_typicality_of_a_blank_image_is_low_though_it_is_likely():
    """Density of N(0, I) in 100 dimensions: the origin is the likeliest point, and no sample is ever near it."""
    rng = np.random.default_rng(0)
    real, fresh = rng.normal(size=(500, 100)), rng.normal(size=(500, 100))
    planted = 0.2 * rng.normal(size=(50, 100))
    nll = [0.5 * (x**2).sum(axis=1) for x in (real, np.concatenate([fresh, planted]))]
    is_planted = np.arange(550) >= 500
    assert assess(nll[1], is_planted).auc.value == 0.0
    assert assess(typicality(nll[1], nll[0]), is_planted).auc.value == 1.0


def test_typicality_does_not_depend_on_the_sign_or_unit_of_the_value():
    rng = np.random.default_rng(1)
    values, real = rng.normal(size=20), rng.normal(size=30)
    np.testing.assert_allclose(typicality(-2.5 * values + 7, -2.5 * real + 7), typicality(values, real), rtol=1e-12)


def test_typicality_of_values_that_are_no_numbers_or_all_alike():
    assert np.isnan(typicality(np.array([np.nan, 1.0]), np.array([1.0, 2.0, np.nan]))[0])
    alike = typicality(np.array([1.0, 2.0, np.nan]), np.ones(5))
    np.testing.assert_array_equal(alike, [0.0, np.inf, np.nan])
    for real in (np.zeros(0), np.full(3, np.nan)):
        with pytest.raises(UsageError, match="finite"):
            typicality(np.ones(2), real)


def unreal(real, fake, k=3):
    return inverse_realism(overlap(real, fake, k=k, density_k=k))


@pytest.mark.parametrize("score_fn", [neighbor_distance, unreal])
def test_neighbor_distance_is_larger_off_the_data(score_fn):
    rng = np.random.default_rng(2)
    angle = rng.uniform(0, 2 * np.pi, size=(2, 400))
    real, inside = (np.stack([np.cos(a), np.sin(a)], axis=1) for a in angle)
    outside = 0.8 * inside[:40]
    scores = score_fn(real, np.concatenate([inside, outside]))
    assert assess(scores, np.arange(440) >= 400).auc.value > 0.98


def test_inverse_realism_of_at_most_one_is_inside_a_ball():
    real = np.arange(10.0)[:, None] ** 2
    scores = unreal(real, np.array([[0.0], [1.5], [2.5], [60.0]]), k=1)
    # Radii 1, 1, 3, 5, ...: the smaller half of the balls are those around 0, 1, 4, 9, 16.
    assert (scores <= 1).tolist() == [True, True, True, False]
