"""Worlds of texts that a weighted automaton writes: its weights are the exact probabilities of its texts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Condition, World

PAD = -1

State = TypeVar("State", bound=Hashable)


class WeightedAutomaton(NamedTuple):
    """A deterministic automaton over tokens, with the probability of each token in each state.

    Attributes:
        next: the state after each token, -1 where there is none.
        log_weight: log probability of each token; the last column is that of the end of the text.
        outcome: the violation of a text that ends in each state; 0 for none.
        starts: the state before the first token, of each mode.
    """

    next: Int[np.ndarray, "state token"]
    log_weight: Float[np.ndarray, "state token_or_end"]
    outcome: Int[np.ndarray, " state"]
    starts: Int[np.ndarray, " mode"]


class Reading(NamedTuple):
    """What is known of texts after reading them: of several modes, that of the least violation."""

    violation: Int[Array, " num"]
    mode: Int[Array, " num"]
    log_prob: Float[Array, " num"]
    """Given the mode; -inf for a violation."""


def compiled_automaton(
    starts: Sequence[State],
    following: Callable[[State], Mapping[int, tuple[float, State]]],
    end: Callable[[State], tuple[float, int]],
    num_tokens: int,
) -> WeightedAutomaton:
    """The automaton as tables: all states that the starts lead to.

    Args:
        starts: the first state of each mode.
        following: the tokens that may come in a state, each with its probability, 0 for what is well formed and wrong,
            and the state after it.
        end: the probability that a text ends in a state, and its violation if it does.
        num_tokens: the number of tokens.
    """
    numbers = {state: number for number, state in enumerate(dict.fromkeys(starts))}
    waiting, rows = list(numbers), list[tuple[int, int, float, int]]()
    while waiting:
        state = waiting.pop()
        for token, (weight, after) in following(state).items():
            if after not in numbers:
                numbers[after] = len(numbers)
                waiting.append(after)
            rows.append((numbers[state], token, weight, numbers[after]))
    table = np.full((len(numbers), num_tokens), -1, np.int32)
    weights = np.zeros((len(numbers), num_tokens + 1))
    for state, token, weight, after in rows:
        table[state, token], weights[state, token] = after, weight
    ends = [end(state) for state in numbers]
    weights[:, -1] = [weight for weight, _ in ends]
    with np.errstate(divide="ignore"):
        log_weight = np.log(weights).astype(np.float32)
    outcome = np.array([violation for _, violation in ends], np.int32)
    return WeightedAutomaton(table, log_weight, outcome, np.array([numbers[state] for state in starts], np.int32))


def automaton_world(
    name: str,
    automaton: WeightedAutomaton,
    *,
    length: int,
    mode_names: Sequence[str],
    violations: Sequence[str],
    vocabulary: Sequence[bytes],
    attribute: str,
) -> World:
    """World of the texts of an automaton, its modes equally probable.

    Args:
        name: of the world.
        automaton: from :func:`compiled_automaton`; texts of different modes are different.
        length: most tokens of a text, and one more.
        mode_names: of its modes.
        violations: their names, from the least to the worst; entry 0 is ``valid``, the last what cannot be read.
        vocabulary: what each token spells, without the boundary.
        attribute: the name of what modes differ in.
    """
    num_modes, boundary = len(mode_names), len(vocabulary)

    def sample(key: Array, num_samples: int, condition: Condition) -> Array:
        keys = split_by_name(example_keys(key, num_samples), "mode", "token")
        drawn = jax.vmap(lambda key: jax.random.randint(key, (), 0, num_modes))(keys["mode"])
        return _write(automaton, keys["token"], drawn if condition is None else jnp.asarray(condition), length)

    def read(examples: Array) -> Reading:
        return read_texts(automaton, jnp.asarray(examples), boundary, len(violations) - 1)

    def attributes(examples: Array) -> dict[str, Int[Array, " num"]]:
        found = read(examples)
        return {attribute: jnp.where(found.violation == 0, found.mode, -1)}

    return World(
        name,
        num_modes,
        [1 / num_modes] * num_modes,
        tuple(violations),
        sample=sample,
        violation=lambda examples: read(examples).violation,
        mode=lambda examples: read(examples).mode,
        modality="tokens",
        log_prob=lambda examples: read(examples).log_prob - float(np.log(num_modes)),
        attributes={attribute: tuple(mode_names)},
        mode_attributes={attribute: np.arange(num_modes, dtype=np.int32)},
        read=attributes,
        mode_names=tuple(mode_names),
        vocabulary=tuple(vocabulary),
    )


def read_texts(
    automaton: WeightedAutomaton, tokens: Int[Array, "num length"], boundary: int, malformed: int
) -> Reading:
    """Violation, mode and log probability of texts, each between boundaries, or ended by padding as samples are."""
    tokens = tokens.astype(jnp.int32)
    is_end = ((tokens == boundary) | (tokens == PAD))[:, 1:]
    num_ends = is_end.astype(jnp.int32)
    ends_before = jnp.cumsum(num_ends, axis=1) > num_ends
    is_whole = (tokens[:, 0] == boundary) & jnp.where(ends_before, tokens[:, 1:] == PAD, True).all(axis=1)
    table, log_weight = jnp.asarray(automaton.next), jnp.asarray(automaton.log_weight)
    starts = jnp.asarray(automaton.starts)
    state = jnp.broadcast_to(starts[None], (len(tokens), len(starts)))

    def step(carry: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (state, total), (token, is_end) = carry, given
        token = jnp.clip(token, 0, table.shape[1] - 1)[:, None]
        is_read = (state >= 0) & ~is_end[:, None]
        at = jnp.maximum(state, 0)
        return (
            jnp.where(is_read, table[at, token], state),
            total + jnp.where(is_read, log_weight[at, token], 0.0),
        ), None

    begin = state, jnp.zeros(state.shape, jnp.float32)
    (state, total), _ = jax.lax.scan(step, begin, (tokens[:, 1:].T, is_end.T))
    at = jnp.maximum(state, 0)
    total = total + log_weight[at, -1]
    violation = jnp.where((state >= 0) & is_whole[:, None], jnp.asarray(automaton.outcome)[at], malformed)
    mode = jnp.argmin(violation, axis=1).astype(jnp.int32)
    best, log_prob = (jnp.take_along_axis(each, mode[:, None], axis=1)[:, 0] for each in (violation, total))
    return Reading(best.astype(jnp.int32), mode, jnp.where(best == 0, log_prob, -jnp.inf))


def _write(automaton: WeightedAutomaton, keys: Array, mode: Int[Array, " num"], length: int) -> Int[Array, "num size"]:
    """A text of each mode, between boundaries, and padded."""
    table, log_weight = jnp.asarray(automaton.next), jnp.asarray(automaton.log_weight)
    boundary = table.shape[1]

    def step(carry: tuple[Array, Bool[Array, " num"]], place: Array) -> tuple[tuple[Array, Array], Array]:
        state, is_done = carry
        of_place = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, place)
        token = jax.vmap(jax.random.categorical)(of_place, log_weight[state]).astype(jnp.int32)
        after = jnp.where(token == boundary, state, table[state, jnp.minimum(token, boundary - 1)])
        shown = jnp.where(is_done, PAD, token)
        return (jnp.where(is_done, state, after), is_done | (token == boundary)), shown

    start = jnp.asarray(automaton.starts)[mode]
    _, tokens = jax.lax.scan(step, (start, jnp.zeros(len(start), bool)), jnp.arange(length))
    return jnp.concatenate([jnp.full((len(start), 1), boundary, jnp.int32), tokens.T], axis=1)
