"""Compiled functions of a trained model's latents: samples from moved ones, and how samples move with them.

All of them number samples as :mod:`aigc_jax.inference.sampling` does, so that sample i is the same sample everywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from aigc_jax.inference.sampling import BLOCK, SampleBlocksFn, blockwise, sample_key
from aigc_jax.metrics.consistency import unit_change
from aigc_jax.metrics.path_length import path_speed
from aigc_jax.rng import example_keys, normal, split_by_name
from aigc_jax.types import Experiment, Latents, UsageError, Variables

LatentTransform = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""``(latents [B, ...], keys [B], amount []) -> latents``: standard normal in, standard normal or a part of it out."""

TransformedSampler = Callable[[LatentTransform, float], SampleBlocksFn]
"""``(transform, amount) -> sample_fn``: its sample i is made of the latent of the model's own sample i."""

DrawLatentsFn = Callable[[jax.Array, int], jax.Array]
"""``(keys [num], num) -> latents [num, ...]``."""

DecodeFn = Callable[[jax.Array], jax.Array]
"""``latents [B, ...] -> samples [B, ...]`` of given weights, keys and conditions."""


def compile_transformed_sampler(experiment: Experiment, variables: Variables, seed: int) -> TransformedSampler:
    """Samples from the model's own latents, transformed; all transforms share the compiled generator."""
    latent, generate = _latents(experiment)
    key = sample_key(seed)

    @functools.partial(jax.jit, static_argnums=0)
    def transformed(transform: LatentTransform, amount: jax.Array, index: jax.Array) -> jax.Array:
        keys = example_keys(key, index)
        return transform(latent(keys, BLOCK), split_by_name(keys, "move")["move"], amount)

    @jax.jit
    def decode(variables: Variables, latents: jax.Array, index: jax.Array, ids: jax.Array | None) -> jax.Array:
        return generate(variables, latents, example_keys(key, index), experiment.to_condition(ids))

    def bind(transform: LatentTransform, amount: float) -> SampleBlocksFn:
        return blockwise(
            lambda index, ids: decode(variables, transformed(transform, jnp.float32(amount), index), index, ids)
        )

    return bind


def truncate(latents: jax.Array, keys: jax.Array, limit: jax.Array) -> jax.Array:
    """Latents within ``limit`` > 0 standard deviations: each number is carried to the truncated normal, in its order.

    The distribution is that of drawing again whatever lies outside (the truncation trick of Brock et al. 2019, section
    3.1), and each latent stays near where it was, so that samples under several limits can be compared.
    """
    del keys
    low, high = ndtr(-limit), ndtr(limit)
    return jnp.clip(ndtri(low + ndtr(latents) * (high - low)), -limit, limit)


def perturb(latents: jax.Array, keys: jax.Array, share: jax.Array) -> jax.Array:
    """Latents with a ``share`` in [0, 1] of their variance replaced by fresh noise: still standard normal."""
    return jnp.sqrt(1.0 - share) * latents + jnp.sqrt(share) * normal(keys, latents.shape[1:])


def make_path_fn(
    experiment: Experiment, variables: Variables, seed: int, classifier: Experiment, classifier_variables: Variables
) -> Callable[[int], np.ndarray]:
    """``num -> squared speeds`` in a classifier's features on paths between latents of one condition each.

    See :mod:`aigc_jax.metrics.path_length`.
    """
    evaluate = classifier.algorithm.evaluate
    if evaluate is None:
        raise UsageError("this model has no features: name a classifier")

    def speeds(latent: DrawLatentsFn, decode: DecodeFn, keys: jax.Array, weights: Variables) -> jax.Array:
        named = split_by_name(keys, "path_end", "path_time")
        ends = latent(keys, BLOCK), latent(named["path_end"], BLOCK)
        t = jax.vmap(jax.random.uniform)(named["path_time"])
        flat = tuple(end.reshape(BLOCK, -1) for end in ends)

        def features(images: jax.Array) -> jax.Array:
            return evaluate(weights, {"example": images}, jax.random.key(0))["features"]

        return path_speed(features, lambda z: decode(z.reshape(ends[0].shape)), (flat[0], flat[1]), t)

    # The weights of the classifier are arguments of the program too, not constants in it.
    return _of_first(experiment, variables, seed, speeds, classifier_variables)


def make_change_fn(experiment: Experiment, variables: Variables, seed: int) -> Callable[[int], np.ndarray]:
    """``num -> changes [num, ...]`` of samples per unit of their latents, each in a random direction, exactly.

    See :func:`aigc_jax.metrics.consistency.unit_change`.
    """

    def changes(latent: DrawLatentsFn, decode: DecodeFn, keys: jax.Array) -> jax.Array:
        latents = latent(keys, BLOCK)
        directions = normal(split_by_name(keys, "direction")["direction"], latents.shape[1:])
        return unit_change(decode, latents, directions)

    return _of_first(experiment, variables, seed, changes)


def _of_first(
    experiment: Experiment, variables: Variables, seed: int, make: Callable[..., jax.Array], *more: Variables
) -> Callable[[int], np.ndarray]:
    """``num -> make(draw latents, decode latents, keys, *more)`` of the first samples, the conditions in turn."""
    latent, generate = _latents(experiment)
    key = sample_key(seed)

    @jax.jit
    def block(variables: Variables, index: jax.Array, ids: jax.Array | None, *more: Variables) -> jax.Array:
        keys, condition = example_keys(key, index), experiment.to_condition(ids)
        return make(latent, lambda z: generate(variables, z, keys, condition), keys, *more)

    draw = blockwise(lambda index, ids: block(variables, index, ids, *more))
    return lambda num: draw(0, experiment.condition_ids(0, num), num)


def _latents(experiment: Experiment) -> Latents:
    if experiment.algorithm.latents is None:
        raise UsageError("this model does not start from a single latent: name a GAN, a VAE or a flow")
    return experiment.algorithm.latents
