"""Weights, sampling and posterior of modes, for all worlds."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aigc_jax.types import Condition, Keys, UsageError


def mode_weights(
    num_modes: int, weights: Sequence[float] | None = None, *, withheld: Sequence[int] = ()
) -> tuple[float, ...]:
    """The probability of each mode, from checked weights of the user; 0 for those withheld."""
    drawn = num_modes - len(set(withheld))
    if drawn < 1:
        raise UsageError(f"expected at least one mode that is not withheld, got {drawn} of {num_modes}")
    if weights is None:
        return tuple(0.0 if mode in withheld else 1.0 / drawn for mode in range(num_modes))
    is_possible = len(weights) == num_modes and abs(sum(weights) - 1.0) <= 1e-6
    if not is_possible or any((weight != 0 if k in withheld else weight <= 0) for k, weight in enumerate(weights)):
        but = f" (0 for modes {', '.join(map(str, withheld))})" if withheld else ""
        raise UsageError(f"expected {num_modes} weights > 0 that sum to 1{but}, got {list(weights)}")
    return tuple(float(weight) for weight in weights)


def log_of(weights: Sequence[float]) -> Float[Array, " mode"]:
    """Logarithms of probabilities, -inf for 0."""
    with np.errstate(divide="ignore"):
        return jnp.asarray(np.log(np.asarray(weights, np.float64)), jnp.float32)


def draw_modes(keys: Keys, log_weights: Float[Array, " mode"]) -> Int[Array, " num"]:
    """One mode per key."""
    return jax.vmap(lambda key: jax.random.categorical(key, log_weights))(keys)


def posterior(
    log_likelihoods: Float[Array, "num case"],
    log_weights: Float[Array, " case"],
    condition: Condition,
    modes: Int[np.ndarray, " case"] | None = None,
) -> Float[Array, "num case"]:
    """Posterior probabilities of cases; ``condition`` is each example's mode, None or the number of modes if unknown.

    ``modes`` is the mode of each case, None where case k is mode k.

    >>> posterior(jnp.zeros((2, 2)), log_of([0.0, 1.0]), jnp.array([0, 2]))
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    logits = log_weights[None]
    if condition is not None:
        modes = np.arange(log_weights.shape[0]) if modes is None else modes
        # Zeros, not weights, for a known mode: a withheld one has the weight 0.
        known = jnp.where(jnp.asarray(modes)[None] == condition[:, None], 0.0, -jnp.inf)
        logits = jnp.where((condition > modes.max())[:, None], logits, known)
    return jax.nn.softmax(logits + log_likelihoods, axis=1)
