"""Guidance: transforms of a denoiser, DenoiseFn -> DenoiseFn, that strengthen what a sample shall follow.

All combine predictions of x_0. At a given x_t, epsilon, v and the score are affine in x_0 with the same
coefficients for all predictions, so that u + w (c - u) means the same in each of them.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.processes.gaussian import expand
from aigc_jax.types import Condition, DenoiseFn, Guidance, UsageError


def chain(*guidances: Guidance) -> Guidance:
    """Several guidances one after the other; the first one sees the bare denoiser.

    Args:
        *guidances: any number; none returns the denoiser as it is.

    Returns:
        The guidance.

    >>> double = lambda denoise: lambda x, t, condition: 2 * denoise(x, t, condition)
    >>> chain(double, double)(lambda x, t, condition: x)(jnp.ones(1), jnp.ones(1), None)
    Array([4.], dtype=float32)
    """

    def guide(denoise: DenoiseFn) -> DenoiseFn:
        for guidance in guidances:
            denoise = guidance(denoise)
        return denoise

    return guide


def classifier_free(weight: float, *, null: int | None = None, phi: float = 0.0) -> Guidance:
    """Classifier-free guidance: u + w (c - u) from the conditional prediction c and the unconditional u.

    Args:
        weight: w >= 0. 1 is the conditional model itself and costs one evaluation, 0 the unconditional one likewise.
        null: the condition that means none, ``num_classes``: both predictions are then made in one call, on a batch
            of twice the size. None calls the denoiser twice, the second time with the condition None. Another class
            makes a negative condition, see :func:`negative_condition`.
        phi: share in [0, 1] of :func:`rescale`.

    Returns:
        The guidance. It needs a condition.

    Raises:
        UsageError: the weight is negative or phi lies outside [0, 1]; the denoiser is called without a condition.

    Reference:
        Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, equation 6, whose weight is w - 1.

    >>> denoise = lambda x, t, condition: 0 * x + (0.0 if condition is None else 1.0)
    >>> classifier_free(3.0)(denoise)(jnp.ones((1, 1)), jnp.ones(1), jnp.zeros(1, jnp.int32))
    Array([[3.]], dtype=float32)
    """
    if not weight >= 0:
        raise UsageError(f"expected a guidance weight >= 0, got {weight}: 1 is no guidance, 2 to 4 are common")
    if not 0 <= phi <= 1:
        raise UsageError(f"expected a share of rescaling in [0, 1], got {phi}: the paper uses 0.7")

    def guide(denoise: DenoiseFn) -> DenoiseFn:
        if weight == 1:
            return denoise

        def guided(x: Array, t: Array, condition: Condition) -> Array:
            if condition is None:
                raise UsageError(f"guidance with weight {weight} needs a condition, got None: pass one, or weight 1")
            if weight == 0:
                return denoise(x, t, None if null is None else jnp.full_like(condition, null))
            with_condition, without = _both(denoise, (x, t, condition), null)
            return rescale(without + weight * (with_condition - without), with_condition, phi)

        return guided

    return guide


def _both(denoise: DenoiseFn, inputs: tuple[Array, Array, Array], null: int | None) -> tuple[Array, Array]:
    """The predictions with the condition and with the null condition."""
    x, t, condition = inputs
    if null is None:
        return denoise(x, t, condition), denoise(x, t, None)
    conditions = jnp.concatenate([condition, jnp.full_like(condition, null)])
    both = denoise(jnp.concatenate([x, x]), jnp.concatenate([t, t]), conditions)
    return both[: x.shape[0]], both[x.shape[0] :]


def rescale(guided: Array, plain: Array, phi: float) -> Array:
    """Give a guided prediction back the contrast of the plain one.

    Args:
        guided: the guided prediction [B, ...].
        plain: the conditional prediction [B, ...].
        phi: share in [0, 1] of the rescaled prediction in the result.

    Returns:
        [B, ...]: for phi = 1 with the standard deviation, example by example, of ``plain``.

    Reference:
        Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2024, equations 15 and 16.

    >>> rescale(jnp.array([[-4.0, 4.0]]), jnp.array([[-1.0, 1.0]]), 0.5)
    Array([[-2.5,  2.5]], dtype=float32)
    """
    if phi == 0:
        return guided
    plain_std, guided_std = _std(plain), _std(guided)
    # A constant prediction has no contrast to correct.
    factor = jnp.where(guided_std > 0, plain_std / jnp.where(guided_std > 0, guided_std, 1.0), 1.0)
    return expand(phi * factor + (1.0 - phi), guided) * guided


def _std(x: Array) -> Float[Array, " batch"]:
    return jnp.std(x, axis=tuple(range(1, x.ndim)))
