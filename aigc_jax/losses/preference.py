"""Losses of preferences: of two answers to a prompt, the chosen one is to be likelier."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float


def dpo_loss(
    chosen: Float[Array, " batch"],
    rejected: Float[Array, " batch"],
    reference_chosen: Float[Array, " batch"],
    reference_rejected: Float[Array, " batch"],
    *,
    beta: float,
) -> Float[Array, " batch"]:
    """Direct preference optimisation: -log sigmoid(beta (log pi/ref of the chosen - log pi/ref of the rejected)).

    Args:
        chosen: log-probability of the chosen answer given the prompt, in nats, summed over its tokens.
        rejected: of the rejected one.
        reference_chosen: of the chosen one under the reference.
        reference_rejected: of the rejected one under the reference.
        beta: > 0; the larger, the nearer to the reference.

    Reference:
        Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", 2023,
        equation 7.

    >>> zero = jax.numpy.zeros(1)
    >>> dpo_loss(zero, zero, zero, zero, beta=0.1).round(3).tolist()  # log 2
    [0.693...]
    """
    return jax.nn.softplus(-beta * ((chosen - reference_chosen) - (rejected - reference_rejected)))
