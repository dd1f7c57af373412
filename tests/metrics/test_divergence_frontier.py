"""The divergence frontier against closed forms."""

import numpy as np
import pytest
from scipy.special import beta

from aigc_jax.metrics.divergence_frontier import frontier_area, mauve


def test_frontier_area_of_distributions_apart_is_a_beta_function():
    """There the frontier is (1 - w)^5, w^5, and the area below it 5 B(6, 5)."""
    apart = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert frontier_area(*apart) == pytest.approx(5 * beta(6, 5), rel=5e-3)


def test_frontier_area_of_equal_distributions_is_one():
    p = np.array([0.2, 0.3, 0.5, 0.0])
    assert frontier_area(p, p) == pytest.approx(1.0, abs=1e-12)


def test_frontier_area_is_symmetric_and_falls_with_the_distance():
    p = np.array([0.5, 0.5])
    areas = [frontier_area(p, np.array([0.5 + shift, 0.5 - shift])) for shift in (0.0, 0.1, 0.2, 0.4)]
    assert areas == sorted(areas, reverse=True)
    q = np.array([0.9, 0.1])
    assert frontier_area(p, q) == pytest.approx(frontier_area(q, p), abs=1e-12)


def test_mauve_sees_lost_modes_and_false_ones(rng):
    real = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 20])
    other = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 20])
    lost, false = rng.normal(size=(400, 2)), np.concatenate([other[:300], rng.normal(size=(100, 2)) - 20])
    scores = [mauve(real, side, num_clusters=20) for side in (other, lost, false)]
    assert scores[0] > 0.9
    assert max(scores[1:]) < 0.75


def test_mauve_refuses_more_clusters_than_examples(rng):
    with pytest.raises(ValueError, match="expected 2 to 5 clusters"):
        mauve(rng.normal(size=(5, 2)), rng.normal(size=(9, 2)), num_clusters=6)
