"""Sampling of a model of sequences under a rule, and towards the model's own distribution given the rule."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from aigc_jax.inference.sampling import BLOCK, sample_key
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.rules.look_ahead import look_ahead as table_of_look_ahead
from aigc_jax.samplers.constrain import constrained, log_allowed, masked_on_host
from aigc_jax.types import Condition, Experiment, Sequences, UsageError, Variables
from aigc_jax.types.rules import HostRule, TokenAutomaton


class Ruled(NamedTuple):
    """An experiment whose samples obey a rule.

    Attributes:
        experiment: with the sampler.
        weigh: ``(variables, key, num, condition) -> log weights [N, num]`` of all candidates; None for one each.
        on_host: the rule, where it is asked on the host and texts may be unfinished.
    """

    experiment: Experiment
    weigh: Callable[[Variables, Array, int, Condition], Array] | None
    on_host: HostRule | None = None


def with_rule(
    experiment: Experiment,
    automaton: TokenAutomaton,
    *,
    end: int,
    length: int,
    temperature: float = 1.0,
    num_candidates: int = 1,
    look_ahead: Array | None = None,
    penalty: float = math.inf,
) -> Ruled:
    """An experiment that samples texts of a rule, all of which end within ``length`` tokens.

    A mask alone does not sample from the model given the rule: it does not see where an allowed token leads. Of
    ``num_candidates`` constrained samples one is picked in proportion to its importance weight, of
    :func:`log_allowed`: the more, the nearer, and exact in the limit. Fewer do with a ``look_ahead``, as of
    :func:`pair_look_ahead`.

    A finite ``penalty`` makes it advice: see :func:`aigc_jax.samplers.constrain.constrained`.

    Reference:
        Rubin, "Using the SIR Algorithm to Simulate Posterior Distributions", 1988 (sampling, importance resampling).
    """
    algorithm, logits = experiment.algorithm, experiment.algorithm.logits
    sequences = _sequences(experiment)
    if num_candidates > 1 and (logits is None or temperature == 0):
        why = "the likeliest token is no draw" if logits is not None else "experts have no logits of one model"
        raise UsageError(f"got --exact {num_candidates}, but {why}: leave it out")
    given: Any = {"automaton": automaton, "end": end, "length": length, "look_ahead": look_ahead}
    if num_candidates > 1 and math.isfinite(penalty):
        raise UsageError(
            "advice leaves other texts possible, so that candidates have no weights: leave --exact or --advice out"
        )
    rule = functools.partial(constrained, temperature=temperature, penalty=penalty, **given)

    def candidates(variables: Variables, key: Array, num: int, condition: Condition) -> tuple[Array, Array]:
        """Tokens [N, num, L] and log weights [N, num]."""
        keys = split_by_name(example_keys(key, num), "candidates")["candidates"]
        prompt = condition if condition is not None and jnp.ndim(condition) == 2 else None
        sizes = jnp.ones(num, jnp.int32) if prompt is None else jnp.sum(jnp.asarray(prompt) >= 0, axis=1)

        def draw(number: Array) -> tuple[Array, Array]:
            own = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)
            tokens = sequences.draw(sequences.model(variables), own, condition, rule)
            found = logits(variables, tokens, condition if prompt is None else None)  # pyright: ignore[reportOptionalCall]
            found = found / temperature
            return tokens, log_allowed(found, tokens, sizes, **given)

        return jax.lax.map(draw, jnp.arange(num_candidates))

    def sample(variables: Variables, key: Array, num_samples: int, condition: Condition) -> Array:
        if num_candidates == 1:
            return sequences.draw(sequences.model(variables), example_keys(key, num_samples), condition, rule)
        tokens, weights = candidates(variables, key, num_samples, condition)
        keys = split_by_name(example_keys(key, num_samples), "pick")["pick"]
        chosen = jax.vmap(jax.random.categorical)(keys, weights.T)
        return tokens[chosen, jnp.arange(num_samples)]

    weigh = None if num_candidates == 1 else lambda *given: candidates(*given)[1]
    return Ruled(experiment._replace(algorithm=algorithm._replace(sample=sample)), weigh)


def with_host_rule(experiment: Experiment, rule: HostRule) -> Ruled:
    """An experiment that samples texts of a rule on the host, or beginnings of them where the length is not enough."""
    sequences = _sequences(experiment)

    def sample(variables: Variables, key: Array, num_samples: int, condition: Condition) -> Array:
        obeying = functools.partial(masked_on_host, rule=rule)
        return sequences.draw(sequences.model(variables), example_keys(key, num_samples), condition, obeying)

    return Ruled(experiment._replace(algorithm=experiment.algorithm._replace(sample=sample)), None, rule)


def _sequences(experiment: Experiment) -> Sequences:
    if experiment.algorithm.sequences is None:
        raise UsageError(f"got a rule of text, but this run makes {experiment.modality.name}: leave the option out")
    return experiment.algorithm.sequences


def pair_look_ahead(
    experiment: Experiment,
    variables: Variables,
    automaton: TokenAutomaton,
    *,
    start: int,
    end: int,
    length: int,
    temperature: float = 1.0,
) -> Array:
    """The look-ahead of a run's own probabilities of a token after another one, which comes after the start token."""
    logits = experiment.algorithm.logits
    if logits is None or temperature == 0:
        raise UsageError("look-ahead takes the logits of one model, at a temperature above 0: leave it out")
    num = len(automaton.kinds)
    tokens = jnp.stack([jnp.full(num, start), jnp.arange(num), jnp.zeros(num, jnp.int32)], axis=1)
    found = jax.jit(lambda variables: logits(variables, tokens, None)[:, 1])(variables) / temperature
    log_probs = np.asarray(jax.nn.log_softmax(found), np.float64)
    return jnp.asarray(table_of_look_ahead(log_probs, automaton, end=end, length=length))


class Weights(NamedTuple):
    """How far a mask is from the model given the rule, by the candidates of some samples."""

    effective: float  # number of independent candidates that those of a sample are worth
    cost: float  # divergence of constrained samples from the model, in nats a sample
    log_probability: float  # of the rule under the model, in nats


def weights_of(ruled: Ruled, variables: Variables, seed: int, ids: np.ndarray | None) -> Weights:
    """The weights of the candidates of the first block of samples, of conditions ``ids``.

    Reference:
        Kong, "A Note on Importance Sampling using Standardized Weights", 1992 (effective sample size).
    """
    if ruled.weigh is None:
        raise UsageError("one candidate each has no weights: sample with several")
    num = BLOCK if ids is None else min(BLOCK, len(ids))
    condition = None if ids is None else ruled.experiment.to_condition(jnp.asarray(ids[:num]))
    log_weights = jax.jit(ruled.weigh, static_argnums=2)(variables, sample_key(seed), num, condition)
    total, squares = (jax.nn.logsumexp(scale * log_weights, axis=0) for scale in (1.0, 2.0))
    effective = jnp.exp(2.0 * total - squares).mean()
    mean = jax.nn.logsumexp(log_weights) - jnp.log(log_weights.size)
    return Weights(float(effective), -float(log_weights.mean()), float(mean))
