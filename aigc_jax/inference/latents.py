"""Functions of a trained autoencoder: images to latents and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.types import Experiment, UsageError, Variables

BLOCK = 100
"""Examples that go through the model at once."""

LatentFn = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""``(array [num, ...], condition [num] or None) -> array [num, ...]``."""


class LatentFns(NamedTuple):
    """Both ways, compiled; however many examples there are, the model sees :data:`BLOCK` of them at once."""

    encode: LatentFn  # ``(images [num, H, W, C] in [-1, 1], label [num] or None) -> latents`` [num, ...]
    decode: LatentFn  # ``(latents [num, ...], condition [num] or None) -> images`` in [-1, 1]


def make_latent_fns(experiment: Experiment, variables: Variables) -> LatentFns:
    """The compiled encoder and decoder of a trained model; UsageError for a model without them."""
    autoencoder = experiment.algorithm.autoencoder
    if autoencoder is None:
        raise UsageError("this run holds a model without an encoder: name the run of an autoencoder, as vae_digits")
    encode, decode = autoencoder
    is_conditional = experiment.conditions is not None
    encode_compiled = jax.jit(lambda variables, batch: encode(variables, experiment.to_batch(batch), jax.random.key(0)))
    decode_compiled = jax.jit(decode)

    def to_latents(images: np.ndarray, label: np.ndarray | None) -> np.ndarray:
        batch = {"example": jnp.asarray(images)}
        if is_conditional:
            batch["condition"] = jnp.asarray(label, jnp.int32)
        return np.asarray(encode_compiled(variables, batch))

    def to_images(latents: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
        given = experiment.to_condition(jnp.asarray(condition, jnp.int32)) if is_conditional else None
        return np.asarray(decode_compiled(variables, jnp.asarray(latents), given))

    return LatentFns(_by_block(to_latents), _by_block(to_images))


def make_reconstruct_fn(experiment: Experiment, variables: Variables) -> LatentFn:
    """Reconstruction by a trained autoencoder, without noise."""
    fns = make_latent_fns(experiment, variables)
    return lambda images, condition: fns.decode(fns.encode(images, condition), condition)


def _by_block(function: LatentFn) -> LatentFn:
    def whole(inputs: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        parts = [slice(start, start + BLOCK) for start in range(0, len(inputs), BLOCK)]
        return np.concatenate([function(inputs[part], None if labels is None else labels[part]) for part in parts])

    return whole
