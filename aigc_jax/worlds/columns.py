"""Images of columns that each hold a picture of a list or nothing: sampler, exact reader and exact denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Condition
from aigc_jax.worlds.modes import draw_modes, posterior
from aigc_jax.worlds.renderings import all_renderings, check_tolerance, evidence, num_different, num_wrong
from aigc_jax.worlds.silhouettes import placed, silhouette


class Columns(NamedTuple):
    """The columns of an image, and their legal pictures."""

    split: Callable[[Array], tuple[Array, Array]]  # images [N, H, W, 1] -> columns [N, C, P], rest [N, P2]
    join: Callable[[Array], Array]  # columns [N, C, P] -> images with a black rest
    pictures: Float[Array, "rendering pixel"]  # 1 for white
    kinds: Int[Array, " rendering"]  # also the column in which a picture is legal
    is_present: Bool[np.ndarray, "mode column"]


def make_columns(
    shapes: Sequence[str], image_size: int, sizes: Sequence[int], *, tolerance: int, margin: float
) -> Columns:
    """Columns for shapes, one per shape; the rest of the image's width lies to their right, and is black.

    >>> make_columns(["square", "triangle"], 9, [3], tolerance=0, margin=0.5).pictures.shape
    (28, 36)
    """
    num_columns, width = len(shapes), image_size // len(shapes)
    frame = (image_size, width)
    legal = all_renderings(
        [np.concatenate([placed(silhouette(shape, size), frame) for size in sizes]) for shape in shapes]
    )
    check_tolerance(legal, tolerance, margin)
    modes = np.arange(1, 2**num_columns)

    def split(x: Array) -> tuple[Array, Array]:
        used = x[:, :, : num_columns * width, 0].reshape(-1, image_size, num_columns, width)
        rest = x[:, :, num_columns * width :, 0].reshape(x.shape[0], -1)
        return used.transpose(0, 2, 1, 3).reshape(x.shape[0], num_columns, -1), rest

    def join(parts: Array) -> Array:
        used = parts.reshape(-1, num_columns, *frame).transpose(0, 2, 1, 3).reshape(-1, image_size, num_columns * width)
        left = image_size - num_columns * width
        return jnp.pad(used, ((0, 0), (0, 0), (0, left)), constant_values=-1.0)[..., None]

    is_present = (modes[:, None] >> np.arange(num_columns)[None] & 1) == 1
    return Columns(split, join, jnp.asarray(legal.pictures, jnp.float32), jnp.asarray(legal.kinds), is_present)


def sampler(frames: Columns, log_weights: Float[Array, " mode"]) -> Callable[[Array, int, Condition], Array]:
    """Sample images: every picture of a column is equally likely where its shape is present."""
    num_columns = frames.is_present.shape[1]
    # Pictures of one kind follow each other.
    starts = jnp.asarray(np.searchsorted(frames.kinds, np.arange(num_columns)))
    counts = jnp.asarray(np.bincount(frames.kinds))
    is_present = jnp.asarray(frames.is_present)

    def sample(key: Array, num_samples: int, condition: Condition) -> Array:
        keys = split_by_name(example_keys(key, num_samples), "mode", "picture")
        if condition is None:
            condition = draw_modes(keys["mode"], log_weights)
        drawn = jax.vmap(lambda key: jax.random.randint(key, (num_columns,), 0, counts))(keys["picture"])
        is_white = (frames.pictures[starts[None] + drawn] > 0) & is_present[condition][..., None]
        return frames.join(jnp.where(is_white, 1.0, -1.0))

    return sample


def explainer(
    frames: Columns, tolerance: int, margin: float, *, max_shapes: int
) -> Callable[[Array], tuple[Array, Array]]:
    """Greedy decomposition: take legal pictures out of each column until no other is seen in the rest.

    Each turn takes the picture that explains the most white pixels, less its surplus ones: for a single one, the
    nearest legal picture. Unexplained and surplus pixels are wrong. Returns a function ``images [N, H, W, 1] -> (count
    of each kind in each column [N, C, K], whether all columns are clear [N])``.
    """
    num_columns, num_kinds = frames.is_present.shape[1], int(frames.kinds.max()) + 1

    def is_unfinished(state: _Taken) -> Array:
        return (state.turn < max_shapes) & state.is_more

    def take_one(state: _Taken) -> _Taken:
        different = num_different(state.left, frames.pictures)
        nearest = jnp.argmin(different, axis=1)
        is_seen = different.min(axis=1) < state.left.sum(axis=1, dtype=jnp.int32)
        picture = (frames.pictures[nearest] > 0) & is_seen[:, None]
        # One-hot of -1 is all zeros.
        kinds = jnp.where(is_seen, frames.kinds[nearest], -1)
        counts = state.counts + jax.nn.one_hot(kinds, num_kinds, dtype=jnp.int32)
        explained = state.explained | picture
        wrong = num_wrong(state.pixels, explained, margin)
        is_more = jnp.any(is_seen & (wrong > tolerance))
        return _Taken(state.pixels, state.left & ~picture, explained, counts, wrong, state.turn + 1, is_more)

    def explain(x: Array) -> tuple[Array, Array]:
        columns, rest = frames.split(x)
        pixels = columns.reshape(x.shape[0] * num_columns, -1)
        nothing, none = jnp.zeros(pixels.shape, bool), jnp.zeros(len(pixels), jnp.int32)
        counts = jnp.zeros((len(pixels), num_kinds), jnp.int32)
        start = _Taken(pixels, pixels > 0, nothing, counts, none, jnp.array(0), jnp.array(True))
        # As long as one image has more to take: of valid ones, a single turn.
        end = jax.lax.while_loop(is_unfinished, take_one, start)
        is_clear = jnp.all(end.wrong.reshape(-1, num_columns) <= tolerance, axis=1)
        is_clear &= num_wrong(rest, jnp.zeros(rest.shape, bool), margin) <= tolerance
        return end.counts.reshape(-1, num_columns, num_kinds), is_clear

    return explain


class _Taken(NamedTuple):
    """State of the decomposition: pixels [M, P], white ones left, explained ones, counts [M, K]."""

    pixels: Float[Array, "num pixel"]
    left: Bool[Array, "num pixel"]
    explained: Bool[Array, "num pixel"]
    counts: Int[Array, "num kind"]
    wrong: Int[Array, " num"]
    turn: Int[Array, ""]
    is_more: Bool[Array, ""]


def nearest_mode(frames: Columns) -> Callable[[Array], Array]:
    """A function ``images -> int32 [N]``: the mode of the legal image that differs from each in the fewest pixels."""
    num_columns = frames.is_present.shape[1]
    own = [frames.pictures[frames.kinds == column] for column in range(num_columns)]
    is_present = jnp.asarray(frames.is_present, jnp.float32)

    def mode(x: Array) -> Array:
        columns, _ = frames.split(x)
        is_white = columns > 0
        # What the nearest picture of its shape saves in each column over none at all.
        saved = [
            is_white[:, column].sum(axis=1, dtype=jnp.int32)
            - num_different(is_white[:, column], own[column]).min(axis=1)
            for column in range(num_columns)
        ]
        totals = jnp.matmul(jnp.stack(saved, axis=1).astype(jnp.float32), is_present.T, precision="highest")
        return jnp.argmax(totals, axis=1).astype(jnp.int32)

    return mode


def denoiser(frames: Columns, log_weights: Float[Array, " mode"]) -> Callable[[Array, Array, Array, Condition], Array]:
    """Exact E[x_0 | x_t] over all legal images; the columns are independent given the mode."""
    num_columns = frames.is_present.shape[1]
    own = [frames.pictures[frames.kinds == column] for column in range(num_columns)]
    is_present = jnp.asarray(frames.is_present, jnp.float32)

    def denoise(x_t: Array, alpha: Array, sigma: Array, condition: Condition) -> Array:
        columns, _ = frames.split(x_t)
        logits = [evidence(columns[:, c], own[c], alpha, sigma) for c in range(num_columns)]
        shown = [jax.nn.logsumexp(rows, axis=1) - jnp.log(float(rows.shape[1])) for rows in logits]
        by_mode = jnp.matmul(jnp.stack(shown, axis=1), is_present.T, precision="highest")
        shares = jnp.matmul(posterior(by_mode, log_weights, condition), is_present, precision="highest")
        white = [
            shares[:, c, None] * jnp.matmul(jax.nn.softmax(logits[c], axis=1), own[c], precision="highest")
            for c in range(num_columns)
        ]
        return frames.join(2.0 * jnp.stack(white, axis=1) - 1.0)

    return denoise
