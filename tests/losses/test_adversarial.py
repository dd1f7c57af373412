"""Objectives against their games' known solutions: optimal discriminators, divergences, sigmoid cross-entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.spatial.distance import jensenshannon

from aigc_jax.losses.adversarial import (
    feature_matching,
    hinge,
    least_squares,
    minimax,
    non_saturating,
    relativistic_average,
    wasserstein,
)

REAL, FAKE = stats.norm(0.0, 1.0), stats.norm(1.5, 0.8)
GRID = np.linspace(-8, 10, 4001)
LOGITS = jnp.array([-30.0, -2.0, -0.5, 0.0, 0.3, 4.0, 30.0])


def expected(loss, logits):
    """The discriminator's loss where it says ``logits`` on the grid: each term integrated under its own density."""
    logits, zeros = jnp.asarray(logits, jnp.float32), jnp.zeros(len(GRID))
    base = loss(zeros, zeros)
    on_real, on_fake = loss(logits, zeros) - 0.5 * base, loss(zeros, logits) - 0.5 * base
    return float(np.trapezoid(np.asarray(on_real) * REAL.pdf(GRID) + np.asarray(on_fake) * FAKE.pdf(GRID), GRID))


def test_minimax_at_the_optimal_discriminator_is_the_jensen_shannon_divergence():
    optimal = np.clip(REAL.logpdf(GRID) - FAKE.logpdf(GRID), -80, 80)
    step = GRID[1] - GRID[0]
    divergence = jensenshannon(REAL.pdf(GRID) * step, FAKE.pdf(GRID) * step) ** 2
    assert -expected(minimax().discriminator, optimal) == pytest.approx(-np.log(4) + 2 * divergence, abs=1e-3)


def test_minimax_is_minus_log_four_where_fakes_are_perfect():
    zeros = jnp.zeros(3)
    np.testing.assert_allclose(-minimax().discriminator(zeros, zeros), -np.log(4), rtol=1e-6)


@pytest.mark.parametrize(
    ("objective", "optimal"),
    [
        (minimax(), lambda p, q: np.log(p) - np.log(q)),
        (non_saturating(smoothing=0.1), lambda p, q: np.log(0.9 * p) - np.log(0.1 * p + q)),
        (least_squares(), lambda p, q: p / (p + q)),
        (least_squares(smoothing=0.1), lambda p, q: 0.9 * p / (p + q)),
        (hinge(), lambda p, q: np.sign(p - q)),
    ],
    ids=["minimax", "smoothed", "least_squares", "least_squares_smoothed", "hinge"],
)
def test_discriminator_loss_is_minimal_at_the_papers_optimum(objective, optimal):
    logits = np.clip(optimal(REAL.pdf(GRID), FAKE.pdf(GRID)), -50, 50)
    least = expected(objective.discriminator, logits)
    generator = np.random.default_rng(0)
    for scale in (0.1, 0.3, 1.0):
        wave = np.sin(generator.uniform(0.3, 2) * GRID + generator.uniform(0, 6))
        assert expected(objective.discriminator, logits + scale * wave) > least


def test_minimax_generator_minimises_the_negative_discriminator_loss():
    # Zero-sum: what one gains by moving the fakes' logits, the other loses.
    objective = minimax(smoothing=0.1)
    both = objective.discriminator(LOGITS, LOGITS[::-1]) + objective.generator(LOGITS, LOGITS[::-1])
    np.testing.assert_allclose(both, objective.discriminator(LOGITS, jnp.full(7, -200.0)), atol=1e-5)


def test_minimax_gradient_saturates_and_non_saturating_does_not():
    sure = jnp.full(1, -20.0)
    slope = [jax.grad(lambda x, o=o: o.generator(x, x)[0])(sure)[0] for o in (minimax(), non_saturating())]
    assert abs(slope[0]) < 1e-6
    assert slope[1] == pytest.approx(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.25])
def test_smoothing_is_one_sided(smoothing):
    for factory in (minimax, non_saturating):
        loss = factory(smoothing=smoothing).discriminator(LOGITS, LOGITS[::-1])
        real = optax.sigmoid_binary_cross_entropy(LOGITS, jnp.full(7, 1 - smoothing))
        fake = optax.sigmoid_binary_cross_entropy(LOGITS[::-1], jnp.zeros(7))
        np.testing.assert_allclose(loss, real + fake, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("factory", [minimax, non_saturating, least_squares, relativistic_average])
@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_out_of_range_is_refused(factory, smoothing):
    with pytest.raises(ValueError):
        factory(smoothing=smoothing)


def test_wasserstein_on_the_line_is_the_distance_of_the_quantiles():
    # On the line, for means far apart and equal spreads, the best 1-Lipschitz critic is C(x) = -x.
    there = stats.norm(3.0, 1.0)
    objective = wasserstein()
    real, fake = REAL.rvs(20000, random_state=0), there.rvs(20000, random_state=1)
    found = -jnp.mean(objective.discriminator(jnp.asarray(-real, jnp.float32), jnp.asarray(-fake, jnp.float32)))
    assert float(found) == pytest.approx(stats.wasserstein_distance(real, fake), abs=1e-3)
    assert quad(lambda p: abs(there.ppf(p) - REAL.ppf(p)), 0, 1)[0] == pytest.approx(3, abs=1e-6)


@pytest.mark.parametrize("objective", [hinge(), wasserstein()], ids=["hinge", "wasserstein"])
def test_hinge_and_wasserstein_generators_have_unit_slope(objective):
    slopes = jax.grad(lambda fake: jnp.sum(objective.generator(jnp.zeros(7), fake)))(LOGITS)
    np.testing.assert_array_equal(slopes, -1)


def test_hinge_has_no_gradient_beyond_the_margin():
    slope = jax.grad(lambda pair: jnp.sum(hinge().discriminator(*pair)))
    real, fake = slope((jnp.array([1.5, 0.5]), jnp.array([-1.5, -0.5])))
    np.testing.assert_array_equal(real, [0, -1])
    np.testing.assert_array_equal(fake, [0, 1])


def test_relativistic_average_depends_on_differences_and_is_symmetric():
    objective = relativistic_average()
    real, fake = jnp.array([0.3, -1.0, 2.0]), jnp.array([1.0, 0.5, -0.7])
    assert objective.uses_real
    for loss in objective[:2]:
        np.testing.assert_allclose(loss(real + 5.0, fake + 5.0), loss(real, fake), rtol=1e-4)
    np.testing.assert_allclose(objective.generator(real, fake), objective.discriminator(fake, real), rtol=1e-6)
    # With one example of each the averages are the other example: the loss of a pair is 2 log(1 + exp(f - r)).
    one = objective.discriminator(jnp.array([1.0]), jnp.array([-0.5]))
    assert float(one[0]) == pytest.approx(2 * np.logaddexp(0, -1.5), rel=1e-5)


def test_objectives_are_finite_at_extreme_logits():
    extreme = jnp.array([-1e4, 1e4])
    for objective in (minimax(), non_saturating(smoothing=0.1), hinge(), wasserstein(), relativistic_average()):
        for loss in objective[:2]:
            value, slope = jax.value_and_grad(lambda x, loss=loss: jnp.sum(loss(x, x[::-1])))(extreme)
            assert np.isfinite(value)
            assert np.all(np.isfinite(slope))


def test_feature_matching_is_the_squared_distance_of_the_centroids():
    generator = np.random.default_rng(0)
    real, fake = generator.normal(size=(2, 6, 4)).astype(np.float32)
    values = feature_matching(jnp.asarray(real), jnp.asarray(fake))
    assert values.shape == (6,)
    np.testing.assert_allclose(values, np.linalg.norm(real.mean(0) - fake.mean(0)) ** 2, rtol=1e-5)
    shuffled = jnp.asarray(generator.permutation(real))
    np.testing.assert_allclose(feature_matching(jnp.asarray(real), shuffled), 0, atol=1e-10)
