"""Look-ahead: the probability that a text ends within a rule, under a model of pairs of tokens."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from aigc_jax.types import UsageError
from aigc_jax.types.rules import TokenAutomaton

MAX_ENTRIES = 2**23
"""Largest table: tokens that are left x vocabulary x states."""


def look_ahead(
    log_probs: Float[np.ndarray, "vocab vocab"], automaton: TokenAutomaton, *, end: int, length: int
) -> Float[np.ndarray, "room vocab state"]:
    """The log-probability that a text is one of the rule and ends in time, by tokens left, last token and state.

    Entry [r, c, s]: after token c, in state s, with r tokens that may still be drawn, each given the one before alone.
    A backward recursion over r.

    Args:
        log_probs: of each token (column) after another one (row), those of the end included.
        automaton: the rule.
        end: the token that ends a text.
        length: tokens of a text at most.

    Raises:
        UsageError: the table would be too large.

    Reference:
        Zhang et al., "Tractable Control for Autoregressive Language Generation" (GeLaTo), 2023, equation 4, where a
        hidden Markov model takes the place of pairs.

    >>> from aigc_jax.rules.lift import lift
    >>> from aigc_jax.rules.regex import regex
    >>> automaton = lift(regex("aa"), [b"a", b""])
    >>> found = look_ahead(np.log(np.full((2, 2), 0.5)), automaton, end=1, length=3)
    >>> np.exp(found[3, 1, automaton.start]).round(3).item()  # a, a, and the end
    0.125
    """
    num_tokens, num_states = len(log_probs), len(automaton.accepts)
    if (length + 1) * num_tokens * num_states > MAX_ENTRIES:
        raise UsageError(
            f"look-ahead takes a table of {length + 1} x {num_tokens} x {num_states} entries, at most {MAX_ENTRIES}: "
            "leave it out, or set a smaller --length"
        )
    after = automaton.next[:, automaton.kinds].T  # [V, S]
    probs = np.exp(log_probs)
    ends_here = np.where(automaton.accepts, 0.0, -np.inf)
    found = np.empty((length + 1, num_tokens, num_states), np.float32)
    # A text that has used all tokens ends without drawing the end.
    last = np.tile(ends_here, (num_tokens, 1))
    found[0] = last
    for room in range(1, length + 1):
        # By the token that is drawn and the state before it.
        then = np.where(after < 0, -np.inf, np.take_along_axis(last, np.maximum(after, 0), axis=1))
        then[end] = ends_here
        # Products of small probabilities, scaled by the largest of each state.
        scale = then.max(axis=0, keepdims=True)
        scale = np.where(np.isfinite(scale), scale, 0.0)
        with np.errstate(divide="ignore"):
            last = np.log(probs @ np.exp(then - scale)) + scale
        found[room] = last
    return found
