"""Compiled functions that look into a trained model: its detectors, its traces, and its sampler without its network.

All of them number samples as :mod:`aigc_jax.inference.sampling` does, so that sample i is the same sample everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.inference.sampling import BLOCK, SampleBlocksFn, blockwise, sample_key
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Detector, Experiment, UsageError, Variables

ScoreBlocksFn = Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]
"""``(examples [num, ...], condition or None, start) -> score [num]`` of samples start ... start + num - 1."""


def make_ideal_fn(experiment: Experiment, seed: int) -> SampleBlocksFn | None:
    """Samples with the world's own denoiser in the network's place, from the noise of the model's own samples.

    Args:
        experiment: what was trained.
        seed: of the samples.

    Returns:
        The function; None where the world's denoiser is not known, or the model has none to replace.
    """
    ideal = experiment.algorithm.ideal
    exact = None if experiment.world is None else experiment.world.denoise
    if ideal is None or exact is None:
        return None
    key = sample_key(seed)
    compiled = jax.jit(lambda index, ids: ideal(exact, example_keys(key, index), BLOCK, experiment.to_condition(ids)))
    return blockwise(lambda index, condition: compiled(index, condition))


def make_score_fn(
    detector: Detector, variables: Variables, seed: int, *, takes_condition: bool = True
) -> ScoreBlocksFn:
    """A compiled detector.

    Args:
        detector: what scores.
        variables: of the model that it belongs to.
        seed: of its draws.
        takes_condition: whether its model is told the condition; False for one that looks at another's samples.

    Returns:
        The function. The last samples of a range are padded, so that it compiles once.
    """
    key = split_by_name(jax.random.key(seed), "detect")["detect"]
    compiled = jax.jit(
        lambda variables, examples, condition, index: detector.score(
            variables, examples, condition, example_keys(key, index)
        )
    )

    def score(examples: np.ndarray, condition: np.ndarray | None, start: int) -> np.ndarray:
        parts = []
        for first in range(0, len(examples), BLOCK):
            place = np.minimum(np.arange(first, first + BLOCK), len(examples) - 1)
            given = None if condition is None or not takes_condition else jnp.asarray(condition[place], jnp.int32)
            index = jnp.asarray(start + place, jnp.int32)
            parts.append(np.asarray(compiled(variables, jnp.asarray(examples[place]), given, index)))
        return np.concatenate(parts)[: len(examples)]

    return score


def make_trace_fn(
    experiment: Experiment, variables: Variables, seed: int
) -> Callable[[int, np.ndarray | None, int], tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Samples with the scores of their making.

    Args:
        experiment: what was trained; its algorithm has ``trace``.
        variables: its weights.
        seed: of the samples.

    Returns:
        ``(start, condition, num) -> (samples, {detector: score})``.

    Raises:
        UsageError: the algorithm traces nothing.
    """
    trace = experiment.algorithm.trace
    if trace is None:
        raise UsageError("this model keeps no trace of how its samples came about")
    key = sample_key(seed)
    compiled: Any = jax.jit(
        lambda variables, index, ids: trace(variables, example_keys(key, index), BLOCK, experiment.to_condition(ids))
    )

    def draw(start: int, condition: np.ndarray | None, num: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        blocks: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
        for first in range(start - start % BLOCK, start + num, BLOCK):
            index = np.arange(first, first + BLOCK)
            given = None if condition is None else jnp.asarray(condition[np.clip(index - start, 0, num - 1)], jnp.int32)
            samples, scores = compiled(variables, jnp.asarray(index, jnp.int32), given)
            is_wanted = (index >= start) & (index < start + num)
            kept = {name: np.asarray(score)[is_wanted] for name, score in scores.items()}
            blocks.append((np.asarray(samples)[is_wanted], kept))
        names = blocks[0][1]
        return (
            np.concatenate([samples for samples, _ in blocks]),
            {name: np.concatenate([scores[name] for _, scores in blocks]) for name in names},
        )

    return draw
