"""Detectors of trained models: scores of the reliability of given samples from bounds of the likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from aigc_jax.types import Batch, Condition, Detector, Keys, Variables

EvaluateFn = Callable[[Variables, Batch, Array], dict[str, Array]]
"""``(variables, batch, keys) -> {name: [B]}``."""

NUM_DRAWS = 8
"""Draws of the noise, or of the latent, for one score."""


def elbo_detector(evaluate: EvaluateFn, num_classes: int = 0, *, null: int | None = None) -> Detector:
    """The negative variational bound of samples, ``elbo`` or ``nll`` of ``evaluate``, in nats; typical is best.

    ``null`` is the model's "no condition"; without one (None), samples without a condition get the mean over all
    classes: log p(x) = log (1 / K) sum p(x | c), K times the work.
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
