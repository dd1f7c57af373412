"""Compiled functions that look into a trained model: its samples from moved latents, its detectors, its traces.

All of them number samples as :mod:`aigc_jax.train.sampling` does, so that sample i is the same sample everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from aigc_jax.metrics.path_length import path_speed
from aigc_jax.metrics.stability import unit_change
from aigc_jax.rng import example_keys, normal, split_by_name
from aigc_jax.train.sampling import BLOCK, SampleBlocksFn, blockwise, sample_key
from aigc_jax.types import Detector, Experiment, UsageError, Variables

MoveFn = Callable[[jax.Array, jax.Array], jax.Array]
"""``(latents [B, ...], keys [B]) -> latents``: standard normal in, standard normal or a part of it out."""

ScoreBlocksFn = Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]
"""``(examples [num, ...], condition or None, start) -> score [num]`` of samples start ... start + num - 1."""


def make_moved_fn(experiment: Experiment, variables: Variables, seed: int, move: MoveFn) -> SampleBlocksFn:
    """Samples from the model's own latents, moved.

    Args:
        experiment: what was trained; its algorithm has ``latent`` and ``generate``.
        variables: its weights.
        seed: of the latents.
        move: what is done to them.

    Returns:
        The function: its sample i is made of the latent of the model's own sample i.

    Raises:
        UsageError: the model starts from no one latent.
    """
    latent, generate = experiment.algorithm.latent, experiment.algorithm.generate
    if latent is None or generate is None:
        raise UsageError("this model starts from no one latent: there is nothing to move")
    key = sample_key(seed)

    @jax.jit
    def block(variables: Variables, index: jax.Array, condition: jax.Array | None) -> jax.Array:
        keys = example_keys(key, index)
        moved = move(latent(keys, BLOCK), split_by_name(keys, "move")["move"])
        return generate(variables, moved, keys, condition)

    return blockwise(lambda index, condition: block(variables, index, condition))


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
    compiled = jax.jit(lambda index, condition: ideal(exact, example_keys(key, index), BLOCK, condition))
    return blockwise(lambda index, condition: compiled(index, condition))


def truncate(limit: float) -> MoveFn:
    """Latents within so many standard deviations: each number is carried to the truncated normal, in its order.

    The law is that of drawing again whatever lies outside (the truncation trick of Brock et al. 2019, section 3.1),
    and each latent stays near where it was, so that samples under several limits can be compared.

    Args:
        limit: > 0, in standard deviations.

    Returns:
        The transform.

    >>> truncate(0.5)(jnp.array([[-9.0, 0.0, 9.0]]), jnp.zeros(1)).round(3)
    Array([[-0.5,  0. ,  0.5]], dtype=float32)
    """
    if not limit > 0:
        raise UsageError(f"expected a truncation > 0, got {limit}: 1 keeps latents within one standard deviation")

    def move(latents: jax.Array, keys: jax.Array) -> jax.Array:
        del keys
        low, high = ndtr(jnp.float32(-limit)), ndtr(jnp.float32(limit))
        return jnp.clip(ndtri(low + ndtr(latents) * (high - low)), -limit, limit)

    return move


def perturb(share: float) -> MoveFn:
    """Latents with a little fresh noise: still standard normal.

    Args:
        share: of each latent's variance that is fresh, in [0, 1].

    Returns:
        The transform ``sqrt(1 - share) z + sqrt(share) noise``.

    >>> perturb(0.0)(jnp.ones((1, 2)), jax.random.split(jax.random.key(0), 1))
    Array([[1., 1.]], dtype=float32)
    """
    if not 0 <= share <= 1:
        raise UsageError(f"expected a share of fresh noise in [0, 1], got {share}: 0.01 is a little")

    def move(latents: jax.Array, keys: jax.Array) -> jax.Array:
        return jnp.sqrt(1.0 - share) * latents + jnp.sqrt(share) * normal(keys, latents.shape[1:])

    return move


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
        lambda variables, index, condition: trace(variables, example_keys(key, index), BLOCK, condition)
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


def features_fn(classifier: Experiment, variables: Variables) -> Callable[[jax.Array], jax.Array]:
    """The features of a trained classifier as a pure function of images.

    Args:
        classifier: what was trained; its ``evaluate`` gives ``features``.
        variables: its weights.

    Returns:
        ``images [B, H, W, C] -> features [B, F]``.

    Raises:
        UsageError: the model has no features.
    """
    evaluate = classifier.algorithm.evaluate
    if evaluate is None:
        raise UsageError("this model has no features: name a classifier")
    return lambda images: evaluate(variables, {"image": images}, jax.random.key(0))["features"]


def make_path_fn(
    experiment: Experiment, variables: Variables, seed: int, features: Callable[[jax.Array], jax.Array]
) -> Callable[[int], np.ndarray]:
    """Squared speeds in feature space along paths between latents, see :mod:`aigc_jax.metrics.path_length`.

    Args:
        experiment: what was trained; its algorithm has ``latent`` and ``generate``.
        variables: its weights.
        seed: of the latents.
        features: images -> features [B, F].

    Returns:
        ``num -> speeds [num]``; both ends of a path have the same condition.

    Raises:
        UsageError: the model starts from no one latent.
    """
    latent, generate = experiment.algorithm.latent, experiment.algorithm.generate
    if latent is None or generate is None:
        raise UsageError("this model starts from no one latent: there is no path")
    key = sample_key(seed)

    @jax.jit
    def block(variables: Variables, index: jax.Array, condition: jax.Array | None) -> jax.Array:
        keys = example_keys(key, index)
        named = split_by_name(keys, "path_end", "path_time")
        ends = latent(keys, BLOCK), latent(named["path_end"], BLOCK)
        t = jax.vmap(jax.random.uniform)(named["path_time"])
        flat = tuple(end.reshape(BLOCK, -1) for end in ends)

        def decode(z: jax.Array) -> jax.Array:
            return generate(variables, z.reshape(ends[0].shape), keys, condition)

        return path_speed(features, decode, (flat[0], flat[1]), t)

    return _by_number(experiment, lambda index, condition: block(variables, index, condition))


def make_change_fn(experiment: Experiment, variables: Variables, seed: int) -> Callable[[int], np.ndarray]:
    """How each sample changes per unit of its latent, exactly, see :func:`aigc_jax.metrics.stability.unit_change`.

    Args:
        experiment: what was trained; its algorithm has ``latent`` and ``generate``.
        variables: its weights.
        seed: of the latents.

    Returns:
        ``num -> changes [num, ...]`` of the first samples, each in a random direction of its own.

    Raises:
        UsageError: the model starts from no one latent.
    """
    latent, generate = experiment.algorithm.latent, experiment.algorithm.generate
    if latent is None or generate is None:
        raise UsageError("this model starts from no one latent: there is none to change")
    key = sample_key(seed)

    @jax.jit
    def block(variables: Variables, index: jax.Array, condition: jax.Array | None) -> jax.Array:
        keys = example_keys(key, index)
        latents = latent(keys, BLOCK)
        directions = normal(split_by_name(keys, "direction")["direction"], latents.shape[1:])
        return unit_change(lambda z: generate(variables, z, keys, condition), latents, directions)

    return _by_number(experiment, lambda index, condition: block(variables, index, condition))


def _by_number(
    experiment: Experiment, block_fn: Callable[[jax.Array, jax.Array | None], jax.Array]
) -> Callable[[int], np.ndarray]:
    """The first so many of what is computed in blocks, the classes in turn."""

    def first(num: int) -> np.ndarray:
        classes = experiment.num_classes
        condition = None if classes is None else (np.arange(num) % classes).astype(np.int32)
        return blockwise(block_fn)(0, condition, num)

    return first
