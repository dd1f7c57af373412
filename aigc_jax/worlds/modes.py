"""What all worlds do alike: weigh their modes, draw one, and tell which it was."""

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
    """The probability of each mode.

    Args:
        num_modes: K >= 1.
        weights: as given by the user, > 0 and of sum 1 but 0 for what is withheld; None for equal ones.
        withheld: modes that are never drawn.

    Returns:
        K probabilities.

    Raises:
        UsageError: these are no such probabilities.

    >>> mode_weights(4, withheld=[2])
    (0.3333333333333333, 0.3333333333333333, 0.0, 0.3333333333333333)
    """
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
    """Logarithms of probabilities, -inf for 0.

    >>> log_of([1.0, 0.0])
    Array([  0., -inf], dtype=float32)
    """
    with np.errstate(divide="ignore"):
        return jnp.asarray(np.log(np.asarray(weights, np.float64)), jnp.float32)


def draw_modes(keys: Keys, log_weights: Float[Array, " mode"]) -> Int[Array, " num"]:
    """One mode per key.

    >>> draw_modes(jax.random.split(jax.random.key(0), 2), log_of([0.0, 1.0]))
    Array([1, 1], dtype=int32)
    """
    return jax.vmap(lambda key: jax.random.categorical(key, log_weights))(keys)


def posterior(
    log_likelihoods: Float[Array, "num case"],
    log_weights: Float[Array, " case"],
    condition: Condition,
    modes: Int[np.ndarray, " case"] | None = None,
) -> Float[Array, "num case"]:
    """The probability of each case after something was seen.

    Args:
        log_likelihoods: of what was seen in each case, up to a constant per example.
        log_weights: log probabilities of the cases beforehand; cases of one mode have the same.
        condition: the mode of each example; None, or the number of modes, where it is not known.
        modes: which mode each case is of; None where case k is mode k.

    Returns:
        Probabilities, of sum 1 per example.

    >>> posterior(jnp.zeros((2, 2)), log_of([0.0, 1.0]), jnp.array([0, 2]))
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    logits = log_weights[None]
    if condition is not None:
        modes = np.arange(log_weights.shape[0]) if modes is None else modes
        # Zeros, not weights, where a mode is asked for: a withheld one has the weight 0.
        asked = jnp.where(jnp.asarray(modes)[None] == condition[:, None], 0.0, -jnp.inf)
        logits = jnp.where((condition > modes.max())[:, None], logits, asked)
    return jax.nn.softmax(logits + log_likelihoods, axis=1)
