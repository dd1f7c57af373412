"""Diagnostics of a trained model: scores of detectors and trajectories, and its sampler with an exact denoiser.

All of them number samples as :mod:`aigc_jax.inference.sampling` does, so that sample i is the same sample everywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.guards.trajectory import trajectory_observer
from aigc_jax.inference.sampling import BLOCK, SampleBlocksFn, blockwise, sample_key
from aigc_jax.losses.tokens import token_nll
from aigc_jax.processes.gaussian import expand
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.samplers.sampling import WithVariance
from aigc_jax.types import Condition, Detector, Experiment, UsageError, Variables

_MIN_TOKENS = 4096
"""Tokens that are scored at once, and more: blocks of short texts would take longer to call than to compute."""

ScoreBlocksFn = Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]
"""``(examples [num, ...], condition or None, start) -> score [num]`` of samples start ... start + num - 1."""


def make_exact_sample_fn(experiment: Experiment, variables: Variables, seed: int) -> SampleBlocksFn | None:
    """Samples by the model's sampler with the exact denoiser of the world, from the noise of the model's own samples.

    Reference:
        Aithal et al., "Understanding Hallucinations in Diffusion Models through Mode Interpolation", 2024, section 4.1:
        with the true score no sample lies between modes.
    """
    denoising = experiment.algorithm.denoising
    exact = None if experiment.world is None else experiment.world.denoise
    if denoising is None or exact is None or denoising.is_in_latents:
        return None
    if isinstance(denoising.denoiser(variables), WithVariance):
        return None  # a learned variance needs its network
    process, draw, key = denoising.process, denoising.draw, sample_key(seed)

    def denoise(x_t: jax.Array, t: jax.Array, condition: Condition) -> jax.Array:
        x_0 = exact(x_t, process.alpha(t), process.sigma(t), condition)
        # Without noise there is nothing to remove, and no exact posterior to divide by.
        return jnp.where(expand(process.sigma(t), x_0) > 0, x_0, x_t)

    # The conditions of a world are its modes, by number, whatever the model's own are.
    compiled = jax.jit(lambda index, ids: draw(denoise, example_keys(key, index), ids)[0])
    return blockwise(compiled)


def make_score_fn(experiment: Experiment, detector: Detector, variables: Variables, seed: int) -> ScoreBlocksFn:
    """A compiled detector of an experiment's model; an unconditional one scores without the conditions."""
    key = split_by_name(jax.random.key(seed), "detect")["detect"]
    compiled = jax.jit(
        lambda variables, examples, ids, index: detector.score(
            variables, examples, experiment.to_condition(ids), example_keys(key, index)
        )
    )

    def score(examples: np.ndarray, condition: np.ndarray | None, start: int) -> np.ndarray:
        parts = []
        for first in range(0, len(examples), BLOCK):
            place = np.minimum(np.arange(first, first + BLOCK), len(examples) - 1)
            given = None if condition is None else jnp.asarray(condition[place], jnp.int32)
            index = jnp.asarray(start + place, jnp.int32)
            parts.append(np.asarray(compiled(variables, jnp.asarray(examples[place]), given, index)))
        return np.concatenate(parts)[: len(examples)]

    return score


def make_token_nll_fn(experiment: Experiment, variables: Variables) -> Callable[[np.ndarray], np.ndarray]:
    """The nats of each token given those before it: ``tokens [num, L] -> float32 [num, L - 1]``, 0 of padding."""
    logits_fn = experiment.algorithm.logits
    if logits_fn is None:
        raise UsageError("this model gives no probabilities of tokens: name an autoregressive one")
    compiled = jax.jit(lambda variables, tokens: token_nll(logits_fn(variables, tokens, None), tokens[:, 1:]))

    def nats(tokens: np.ndarray) -> np.ndarray:
        parts, size = [], max(BLOCK, _MIN_TOKENS // tokens.shape[1])
        for first in range(0, len(tokens), size):
            place = np.minimum(np.arange(first, first + size), len(tokens) - 1)
            parts.append(np.asarray(compiled(variables, jnp.asarray(tokens[place]))))
        return np.concatenate(parts)[: len(tokens)]

    return nats


def make_trajectory_fn(
    experiment: Experiment, variables: Variables, seed: int
) -> Callable[[int, np.ndarray | None, int], tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Samples with scores of their trajectories: ``(start, condition, num) -> (samples, {detector: score})``."""
    denoising = experiment.algorithm.denoising
    observer = None if denoising is None else trajectory_observer(denoising.num_steps)
    if denoising is None or observer is None:
        raise UsageError("this model has no trajectories: use a denoising model and a sampler of several steps")
    key = sample_key(seed)

    @jax.jit
    def compiled(variables: Variables, index: jax.Array, ids: jax.Array | None) -> tuple[jax.Array, Any]:
        keys, condition = example_keys(key, index), experiment.to_condition(ids)
        return denoising.draw(denoising.denoiser(variables), keys, condition, observer=observer)

    return blockwise(functools.partial(compiled, variables))
