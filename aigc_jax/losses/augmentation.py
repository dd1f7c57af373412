"""Augmentation as a transform of a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int

from aigc_jax.rng import example_keys, normal, split_by_name
from aigc_jax.types import Batch, Key, LossFn, LossTransform, Metrics, PyTree, Weighted

AugmentFn = Callable[[Any, Array], Any]
"""``(examples, keys) -> examples``: one random change per example, from that example's key."""


def augmented(augment_fn: AugmentFn) -> LossTransform:
    """Transform of a loss: evaluate it on randomly changed examples.

    Args:
        augment_fn: the change, for example :func:`random_affine` with its ranges bound.

    >>> loss_fn = lambda params, state, batch, key: (batch["example"].sum(axis=(1, 2, 3)), (state, {}))
    >>> negated = augmented(lambda images, keys: -images)(loss_fn)
    >>> batch = {"example": jnp.ones((2, 1, 1, 1)), "index": jnp.arange(2)}
    >>> negated({}, {}, batch, jax.random.key(0))[0]
    Array([-1., -1.], dtype=float32)
    """

    def transform(loss_fn: LossFn) -> LossFn:
        def on_augmented(
            params: PyTree, model_state: PyTree, batch: Batch, key: Key
        ) -> tuple[Array | Weighted, tuple[PyTree, Metrics]]:
            keys = split_by_name(example_keys(key, batch["index"]), "augment")["augment"]
            return loss_fn(params, model_state, {**batch, "example": augment_fn(batch["example"], keys)}, key)

        return on_augmented

    return transform


def random_affine(
    images: Float[Array, "batch height width channel"],
    keys: Array,
    *,
    max_rotation: float = 0.2,
    max_scale: float = 0.15,
    max_shear: float = 0.2,
    max_shift: float = 2.0,
    fill: float = -1.0,
) -> Float[Array, "batch height width channel"]:
    """Rotate, scale, shear and shift each image about its centre, with bilinear interpolation.

    Args:
        images: in [-1, 1].
        keys: one key per image [batch].
        max_rotation: radians, either way.
        max_scale: relative, either way: 0.15 scales by 0.85 to 1.15.
        max_shear: tangent of the angle, either way.
        max_shift: pixels, either way and along both axes.
        fill: value of pixels from outside the image.

    >>> images = jnp.ones((2, 4, 4, 1))
    >>> random_affine(images, jax.random.split(jax.random.key(0)), max_shift=0.0, fill=1.0).min()
    Array(1., dtype=float32)
    """
    height, width = images.shape[1:3]
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    axes = jnp.arange(height, dtype=jnp.float32), jnp.arange(width, dtype=jnp.float32)
    grid = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1) - centre[None, None]

    def one(image: Array, key: Key) -> Array:
        angle, scale, shear, *shift = jax.random.uniform(key, (5,), minval=-1.0)
        cos, sin = jnp.cos(max_rotation * angle), jnp.sin(max_rotation * angle)
        matrix = jnp.array([[cos, -sin], [sin, cos]]) @ jnp.array([[1.0, 0.0], [0.0, 1.0]]).at[0, 1].set(
            max_shear * shear
        )
        offset = centre + max_shift * jnp.stack(shift)
        where = (1.0 + max_scale * scale) * grid @ matrix.T + offset[None, None]
        rows, columns = where[..., 0], where[..., 1]
        channels = [map_coordinates(image[..., c], [rows, columns], order=1, cval=fill) for c in range(image.shape[-1])]
        return jnp.stack(channels, axis=-1)

    return jax.vmap(one)(images, keys)


def drop_tokens(tokens: Int[Array, "batch length"], keys: Array, *, rate: float) -> Int[Array, "batch length"]:
    """Leave tokens out: each becomes padding (-1) with probability ``rate``.

    >>> drop_tokens(jnp.array([[3, 4, -1]]), jax.random.split(jax.random.key(0), 1), rate=0.0).tolist()
    [[3, 4, -1]]
    """
    is_kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, tokens.shape[1:]))(keys)
    return jnp.where(is_kept, tokens, -1)


def exchange_cells(
    images: Float[Array, "batch height width channel"], keys: Array, *, rows: int, columns: int
) -> Float[Array, "batch height width channel"]:
    """Compose each image of cells at the same places in images of the batch: none tells anything of the others.

    >>> images = jnp.stack([jnp.zeros((4, 4, 1)), jnp.ones((4, 4, 1))])
    >>> exchange_cells(images, jax.random.split(jax.random.key(2)), rows=1, columns=2)[..., 0][:, 0].tolist()
    [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]
    """
    num, height, width, _ = images.shape
    chosen = jax.vmap(lambda key: jax.random.randint(key, (rows, columns), 0, num))(keys)
    down, right = jnp.arange(height) * rows // height, jnp.arange(width) * columns // width
    source = chosen[:, down][:, :, right]
    return images[source, jnp.arange(height)[None, :, None], jnp.arange(width)[None, None]]


def noisy(
    images: Float[Array, "batch height width channel"], keys: Array, *, max_std: float
) -> Float[Array, "batch height width channel"]:
    """Add Gaussian noise to each image, of a standard deviation drawn uniformly from [0, ``max_std``].

    >>> noisy(jnp.ones((1, 2, 2, 1)), jax.random.split(jax.random.key(0), 1), max_std=0.0).std()
    Array(0., dtype=float32)
    """
    named = split_by_name(keys, "std", "noise")
    std = jax.vmap(jax.random.uniform)(named["std"])
    return images + (max_std * std).reshape(-1, 1, 1, 1) * normal(named["noise"], images.shape[1:])
