"""Coloured silhouettes in the quarters of an image: enumeration, sampler, distances and exact denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Condition, UsageError
from aigc_jax.worlds.modes import draw_modes, posterior
from aigc_jax.worlds.renderings import Renderings, all_renderings, evidence
from aigc_jax.worlds.silhouettes import placed, silhouette

COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "magenta": (1, 0, 1),
    "cyan": (0, 1, 1),
    "white": (1, 1, 1),
}
"""The channels of each colour."""

PLACES = ("top left", "top right", "bottom left", "bottom right")
"""The quarters of an image; in its quarter, the shape is anywhere."""


class Scene(NamedTuple):
    """All possible images: each case is a silhouette at a place in its quarter, a colour and a quarter."""

    quarter: int  # pixels a side
    silhouettes: Renderings
    colours: Float[np.ndarray, "colour 3"]
    modes: Int[np.ndarray, " case"]  # cases are ordered by quarter, silhouette and colour

    @property
    def rows(self) -> Float[Array, "silhouette pixel"]:
        """The silhouettes, 1 for white."""
        return jnp.asarray(self.silhouettes.pictures, jnp.float32)


def make_scene(shapes: Sequence[str], sizes: Sequence[int], colours: Sequence[str], image_size: int) -> Scene:
    """All silhouettes in all colours in all quarters; modes count shapes, sizes, colours, quarters, the last fastest.

    >>> make_scene(["square"], [3], ["red"], 8).modes.tolist()
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    """
    if not set(colours) <= set(COLOURS) or not colours:
        raise UsageError(f"expected colours among {', '.join(COLOURS)}; got {', '.join(colours) or 'none'}")
    if image_size % 2:
        raise UsageError(f"expected an even number of pixels a side, for quarters; got {image_size}")
    quarter = image_size // 2
    silhouettes = all_renderings(
        [placed(silhouette(shape, size), (quarter, quarter)) for shape in shapes for size in sizes]
    )
    place, kind, colour = np.ix_(np.arange(len(PLACES)), silhouettes.kinds, np.arange(len(colours)))
    modes = (kind * len(colours) + colour) * len(PLACES) + place
    channels = np.array([COLOURS[name] for name in colours], np.float32)
    return Scene(quarter, silhouettes, channels, modes.reshape(-1).astype(np.int32))


def num_differing(is_on: Bool[Array, "num height width 3"], scene: Scene) -> Int[Array, "num case"]:
    """Number of values (three to a pixel) in which each image differs from each case."""
    on = _split(is_on, scene).astype(jnp.float32)
    common = _by_case(jnp.matmul(on, scene.rows.T, precision="highest"), scene)
    sizes = jnp.asarray(scene.silhouettes.pictures.sum(axis=1)[None, :, None] * scene.colours.sum(axis=1), jnp.float32)
    sizes = jnp.broadcast_to(sizes, (len(PLACES), *sizes.shape[1:])).reshape(1, -1)
    return (on.sum(axis=(1, 2, 3))[:, None] + sizes - 2.0 * common).astype(jnp.int32)


def picture(case: Int[Array, " num"], scene: Scene) -> Bool[Array, "num height width 3"]:
    """The values that are 1 in each case."""
    num_rows, num_colours = len(scene.silhouettes.kinds), len(scene.colours)
    place, rest = jnp.divmod(case, num_rows * num_colours)
    row, colour = jnp.divmod(rest, num_colours)
    is_there = (jnp.arange(len(PLACES))[None] == place[:, None])[:, :, None, None]
    is_on = (jnp.asarray(scene.colours)[colour] > 0)[:, None, :, None]
    return _join(is_there & is_on & (scene.rows[row] > 0)[:, None, None], scene)


def sampler(scene: Scene, log_weights: Float[Array, " mode"]) -> Callable[[Array, int, Condition], Array]:
    """Sample images; every place in the quarter is equally likely."""
    order = np.argsort(scene.modes, kind="stable")
    starts = jnp.asarray(np.searchsorted(scene.modes[order], np.arange(log_weights.shape[0])))
    counts, cases = jnp.asarray(np.bincount(scene.modes)), jnp.asarray(order)

    def sample(key: Array, num_samples: int, condition: Condition) -> Array:
        keys = split_by_name(example_keys(key, num_samples), "mode", "case")
        if condition is None:
            condition = draw_modes(keys["mode"], log_weights)
        rank = jax.vmap(lambda key, count: jax.random.randint(key, (), 0, count))(keys["case"], counts[condition])
        return jnp.where(picture(cases[starts[condition] + rank], scene), 1.0, -1.0)

    return sample


def denoiser(scene: Scene, log_weights: Float[Array, " mode"]) -> Callable[[Array, Array, Array, Condition], Array]:
    """Exact E[x_0 | x_t] over all cases."""
    of_case = log_weights[scene.modes] - jnp.log(jnp.asarray(np.bincount(scene.modes)[scene.modes], jnp.float32))
    on = jnp.asarray(scene.colours)

    def denoise(x_t: Array, alpha: Array, sigma: Array, condition: Condition) -> Array:
        pixels = _split(x_t, scene)
        levels = [jnp.repeat(level, len(PLACES) * 3) for level in (alpha, sigma)]
        seen = evidence(pixels.reshape(-1, pixels.shape[-1]), scene.rows, *levels)
        logits = _by_case(seen.reshape(*pixels.shape[:3], -1), scene)
        shares = posterior(logits, of_case, condition, scene.modes).reshape(-1, len(PLACES), len(scene.rows), len(on))
        white = jnp.einsum("nqrc,ck,rp->nqkp", shares, on, scene.rows, precision="highest")
        return 2.0 * _join(white, scene) - 1.0

    return denoise


def _by_case(by_channel: Float[Array, "num place 3 silhouette"], scene: Scene) -> Float[Array, "num case"]:
    """Sums over the channels of each case's colour."""
    sums = jnp.einsum("nqkr,ck->nqrc", by_channel, jnp.asarray(scene.colours), precision="highest")
    return sums.reshape(by_channel.shape[0], -1)


def _split(x: Array, scene: Scene) -> Array:
    """Images as quarters, channels and pixels [N, 4, 3, P]."""
    parts = x.reshape(-1, 2, scene.quarter, 2, scene.quarter, 3).transpose(0, 1, 3, 5, 2, 4)
    return parts.reshape(-1, 4, 3, scene.quarter**2)


def _join(parts: Array, scene: Scene) -> Array:
    rows = parts.reshape(-1, 2, 2, 3, scene.quarter, scene.quarter).transpose(0, 1, 4, 2, 5, 3)
    return rows.reshape(-1, 2 * scene.quarter, 2 * scene.quarter, 3)
