"""Adversarial objectives: losses of discriminator and generator from the logits of real and fake examples.

An :class:`Objective` is data: two functions of (real logits, fake logits) that return one value per example. All are
written for minimisation. C(x) is the discriminator's logit, sigma the logistic function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.tree import mean_over_axis
from aigc_jax.types import UsageError

Logits = Float[Array, " batch"]


class Objective(NamedTuple):
    """A pair of losses for a two-player game, each (real logits [B], fake logits [B]) -> loss per example [B]."""

    discriminator: Callable[[Logits, Logits], Logits]
    generator: Callable[[Logits, Logits], Logits]
    uses_real: bool = False  # whether the generator's loss depends on the real logits (relativistic objectives)


def minimax(*, smoothing: float = 0.0) -> Objective:
    """The zero-sum game: D maximises E log sigma(C(x)) + E log(1 - sigma(C(G(z)))), G minimises it.

    The generator's gradient vanishes where the discriminator is sure.

    Args:
        smoothing: one-sided label smoothing s in [0, 1): the target for real examples is 1 - s (Salimans et al. 2016,
            section 3.4); fakes keep the target 0.

    Reference:
        Goodfellow et al., "Generative Adversarial Networks", 2014, equation 1.

    >>> minimax().discriminator(jnp.zeros(1), jnp.zeros(1))  # 2 log 2
    Array([1.3862944], dtype=float32)
    """
    return Objective(_cross_entropy(smoothing), lambda real, fake: -jax.nn.softplus(fake))


def non_saturating(*, smoothing: float = 0.0) -> Objective:
    """The discriminator of :func:`minimax`; the generator minimises -E log sigma(C(G(z))).

    Args:
        smoothing: one-sided label smoothing in [0, 1), see :func:`minimax`.

    Reference:
        Goodfellow et al., "Generative Adversarial Networks", 2014, section 3.

    >>> non_saturating().generator(jnp.zeros(1), jnp.zeros(1))  # log 2
    Array([0.6931472], dtype=float32)
    """
    return Objective(_cross_entropy(smoothing), lambda real, fake: jax.nn.softplus(-fake))


def least_squares(*, smoothing: float = 0.0) -> Objective:
    """Squared distance of the logit to the targets a = 0 (fake), b = 1 (real), c = 1 (for G).

    Args:
        smoothing: one-sided label smoothing in [0, 1): b = 1 - smoothing.

    Reference:
        Mao et al., "Least Squares Generative Adversarial Networks", 2017, equations 2 and 9.

    >>> least_squares().discriminator(jnp.zeros(1), jnp.ones(1))
    Array([1.], dtype=float32)
    """
    b = 1.0 - _checked(smoothing)
    return Objective(
        lambda real, fake: 0.5 * jnp.square(real - b) + 0.5 * jnp.square(fake),
        lambda real, fake: 0.5 * jnp.square(fake - 1.0),
    )


def hinge() -> Objective:
    """D minimises E max(0, 1 - C(x)) + E max(0, 1 + C(G(z))), G minimises -E C(G(z)).

    Reference:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, equations 16 and 17.

    >>> hinge().discriminator(jnp.zeros(1), jnp.zeros(1))
    Array([2.], dtype=float32)
    """
    return Objective(
        lambda real, fake: jax.nn.relu(1.0 - real) + jax.nn.relu(1.0 + fake),
        lambda real, fake: -fake,
    )


def wasserstein() -> Objective:
    """D minimises E C(G(z)) - E C(x), G minimises -E C(G(z)); C must be kept Lipschitz.

    Do so with :func:`aigc_jax.algorithms.gan.clip_weights` (the paper) or
    :func:`aigc_jax.losses.regularizers.gradient_penalty`.

    Reference:
        Arjovsky et al., "Wasserstein GAN", 2017, equations 2 and 3.

    >>> wasserstein().discriminator(jnp.ones(1), jnp.zeros(1))
    Array([-1.], dtype=float32)
    """
    return Objective(lambda real, fake: fake - real, lambda real, fake: -fake)


def relativistic_average(*, smoothing: float = 0.0, axis_name: str | None = None) -> Objective:
    """D judges whether a real example is more real than the average fake, and a fake less than the average real.

    Args:
        smoothing: one-sided label smoothing in [0, 1), see :func:`minimax`; applied to D only.
        axis_name: the device axis over which the batch is spread, so that the averages are those of the global batch;
            None under jit.

    Reference:
        Jolicoeur-Martineau, "The relativistic discriminator", 2019, equations 7 to 10 (RaSGAN).

    >>> relativistic_average().discriminator(jnp.ones(2), jnp.ones(2))  # 2 log 2
    Array([1.3862944, 1.3862944], dtype=float32)
    """

    def relative(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
        real_mean, fake_mean = mean_over_axis((jnp.mean(real), jnp.mean(fake)), axis_name)
        return real - fake_mean, fake - real_mean

    discriminate, generate = _cross_entropy(smoothing), _cross_entropy(0.0)
    return Objective(
        lambda real, fake: discriminate(*relative(real, fake)),
        lambda real, fake: generate(*reversed(relative(real, fake))),
        uses_real=True,
    )


def feature_matching(
    real: Float[Array, "batch feature"], fake: Float[Array, "batch feature"], *, axis_name: str | None = None
) -> Float[Array, " batch"]:
    """|E f(x) - E f(G(z))|^2 of a hidden layer f of the discriminator, the same value for each example.

    Args:
        real: f of real examples.
        fake: f of fakes.
        axis_name: the device axis over which the batch is spread; None under jit.

    Reference:
        Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.1.

    >>> feature_matching(jnp.zeros((2, 3)), jnp.ones((2, 3)))
    Array([3., 3.], dtype=float32)
    """
    real_mean, fake_mean = mean_over_axis((jnp.mean(real, axis=0), jnp.mean(fake, axis=0)), axis_name)
    return jnp.broadcast_to(jnp.sum(jnp.square(real_mean - fake_mean)), real.shape[:1])


def _cross_entropy(smoothing: float) -> Callable[[Logits, Logits], Logits]:
    """-[(1 - s) log sigma(real) + s log(1 - sigma(real))] - log(1 - sigma(fake))."""
    s = _checked(smoothing)
    return lambda real, fake: jax.nn.softplus(-real) + s * real + jax.nn.softplus(fake)


def _checked(smoothing: float) -> float:
    if not 0.0 <= smoothing < 1.0:
        raise UsageError(f"smoothing must lie in [0, 1), got {smoothing}: 0.1 is the usual choice, 0 turns it off")
    return smoothing
