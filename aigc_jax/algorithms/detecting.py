"""Detectors that trained models bring along: what denoisers, bounds and trajectories say of a sample's reliability."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from aigc_jax.algorithms.denoiser import Denoiser
from aigc_jax.guards.renoise import check_level, renoise_stability
from aigc_jax.types import Batch, Condition, Detector, Keys, Variables

EvaluateFn = Callable[[Variables, Batch, Array], dict[str, Array]]
"""``(variables, batch, keys) -> {name: [B]}``."""

NUM_DRAWS = 8
"""Draws of the noise, or of the latent, for one score."""


def renoise_detectors(denoiser: Denoiser) -> dict[str, Detector]:
    """Re-noise stability under a trained denoiser, at each of its ``renoise_levels``.

    Args:
        denoiser: the network. It scores under the condition that is given, and under "no condition" where none is: a
            model that was trained without hiding conditions has not learned that.

    Returns:
        ``renoise`` for the first level, ``renoise_0.5`` and so on for the others.

    Raises:
        UsageError: a level is none of the process.
    """

    def detector(level: float) -> Detector:
        check_level(denoiser.process, level)

        def score(variables: Variables, samples: Array, condition: Condition, keys: Keys) -> Array:
            if condition is None and denoiser.num_classes:
                condition = jnp.full(samples.shape[0], denoiser.num_classes)
            denoise = denoiser.denoise_fn(variables)
            return renoise_stability(
                denoiser.process, denoise, samples, keys, condition, level=level, num_draws=NUM_DRAWS
            )

        return Detector(score)

    names = ["renoise", *(f"renoise_{level:g}" for level in denoiser.renoise_levels[1:])]
    return {name: detector(level) for name, level in zip(names, denoiser.renoise_levels, strict=True)}


def elbo_detector(evaluate: EvaluateFn, num_classes: int = 0, *, null: int | None = None) -> Detector:
    """The negative variational bound of samples, in nats, of which typical is best.

    Args:
        evaluate: of a model of images, giving ``elbo`` or ``nll``.
        num_classes: of the model; 0 for an unconditional one.
        null: the condition that stands for "no condition"; None for a model without one, which then takes the mean
            over all classes: log p(x) = log (1 / K) sum p(x | c), K times the work.

    Returns:
        The detector, for the name ``elbo``.
    """

    def nll(variables: Variables, samples: Array, condition: Condition, keys: Keys) -> Array:
        batch = {"example": samples} if condition is None else {"example": samples, "condition": condition}
        rows = evaluate(variables, batch, keys)
        return -rows["elbo"] if "elbo" in rows else rows["nll"]

    def score(variables: Variables, samples: Array, condition: Condition, keys: Keys) -> Array:
        if condition is not None or not num_classes:
            return nll(variables, samples, condition, keys)
        if null is not None:
            return nll(variables, samples, jnp.full(samples.shape[0], null), keys)

        def of_class(number: Int[Array, ""]) -> Array:
            return nll(variables, samples, jnp.broadcast_to(number, samples.shape[:1]), keys)

        bounds = -jax.lax.map(of_class, jnp.arange(num_classes))
        return math.log(num_classes) - jax.nn.logsumexp(bounds, axis=0)

    return Detector(score, is_typical_best=True)
