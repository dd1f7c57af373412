"""Coloured silhouettes in the quarters of an image: what there can be, drawn, compared and denoised."""

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
"""Which channels are lit."""

PLACES = ("top left", "top right", "bottom left", "bottom right")
"""The quarters of an image; in its quarter, the shape is anywhere."""


class Scene(NamedTuple):
    """What an image can show: each case is a silhouette at a place in its quarter, a colour and a quarter.

    Attributes:
        quarter: pixels a side of a quarter.
        silhouettes: of all shapes and sizes; its kinds are their combinations.
        colours: lit channels [K, 3].
        modes: of each case, which are ordered by quarter, silhouette and colour.
    """

    quarter: int
    silhouettes: Renderings
    colours: Float[np.ndarray, "colour 3"]
    modes: Int[np.ndarray, " case"]

    @property
    def rows(self) -> Float[Array, "silhouette pixel"]:
        """The silhouettes, 1 for white."""
        return jnp.asarray(self.silhouettes.pictures, jnp.float32)


def make_scene(shapes: Sequence[str], sizes: Sequence[int], colours: Sequence[str], image_size: int) -> Scene:
    """All silhouettes in all colours in all quarters.

    Args:
        shapes: of :data:`aigc_jax.worlds.silhouettes.SHAPES`.
        sizes: pixels across.
        colours: of :data:`COLOURS`.
        image_size: pixels a side, even.

    Returns:
        The cases. Their modes count shapes, sizes, colours and quarters, the last turning fastest.

    Raises:
        UsageError: a shape or colour is not known, or a size does not fit.

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
    lit = np.array([COLOURS[name] for name in colours], np.float32)
    return Scene(quarter, silhouettes, lit, modes.reshape(-1).astype(np.int32))


def num_differing(has_failed: Bool[Array, "num height width 3"], scene: Scene) -> Int[Array, "num case"]:
    """In how many values (three to a pixel) each image differs from each case.

    >>> scene = make_scene(["square"], [3], ["red"], 8)
    >>> num_differing(jnp.zeros((1, 8, 8, 3), bool), scene)[0, :2]
    Array([9, 9], dtype=int32)
    """
    lit = _split(has_failed, scene).astype(jnp.float32)
    common = _by_case(jnp.matmul(lit, scene.rows.T, precision="highest"), scene)
    sizes = jnp.asarray(scene.silhouettes.pictures.sum(axis=1)[None, :, None] * scene.colours.sum(axis=1), jnp.float32)
    sizes = jnp.broadcast_to(sizes, (len(PLACES), *sizes.shape[1:])).reshape(1, -1)
    return (lit.sum(axis=(1, 2, 3))[:, None] + sizes - 2.0 * common).astype(jnp.int32)


def picture(case: Int[Array, " num"], scene: Scene) -> Bool[Array, "num height width 3"]:
    """Which values are lit in each case.

    >>> scene = make_scene(["square"], [3], ["red"], 8)
    >>> int(picture(jnp.array([5]), scene).sum())
    9
    """
    num_rows, num_colours = len(scene.silhouettes.kinds), len(scene.colours)
    place, rest = jnp.divmod(case, num_rows * num_colours)
    row, colour = jnp.divmod(rest, num_colours)
    is_there = (jnp.arange(len(PLACES))[None] == place[:, None])[:, :, None, None]
    has_failed = (jnp.asarray(scene.colours)[colour] > 0)[:, None, :, None]
    return _join(is_there & has_failed & (scene.rows[row] > 0)[:, None, None], scene)


def sampler(scene: Scene, log_weights: Float[Array, " mode"]) -> Callable[[Array, int, Condition], Array]:
    """A function that draws images; every place in the quarter is equally likely."""
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
    """E[x_0 | x_t], over all cases.

    Args:
        scene: what there can be.
        log_weights: of the modes.

    Returns:
        See :class:`aigc_jax.types.World`.
    """
    of_case = log_weights[scene.modes] - jnp.log(jnp.asarray(np.bincount(scene.modes)[scene.modes], jnp.float32))
    lit = jnp.asarray(scene.colours)

    def denoise(x_t: Array, alpha: Array, sigma: Array, condition: Condition) -> Array:
        pixels = _split(x_t, scene)
        levels = [jnp.repeat(level, len(PLACES) * 3) for level in (alpha, sigma)]
        seen = evidence(pixels.reshape(-1, pixels.shape[-1]), scene.rows, *levels)
        logits = _by_case(seen.reshape(*pixels.shape[:3], -1), scene)
        shares = posterior(logits, of_case, condition, scene.modes).reshape(-1, len(PLACES), len(scene.rows), len(lit))
        white = jnp.einsum("nqrc,ck,rp->nqkp", shares, lit, scene.rows, precision="highest")
        return 2.0 * _join(white, scene) - 1.0

    return denoise


def _by_case(by_channel: Float[Array, "num place 3 silhouette"], scene: Scene) -> Float[Array, "num case"]:
    """Sums over the channels that are lit in each case."""
    sums = jnp.einsum("nqkr,ck->nqrc", by_channel, jnp.asarray(scene.colours), precision="highest")
    return sums.reshape(by_channel.shape[0], -1)


def _split(x: Array, scene: Scene) -> Array:
    """Images as quarters, channels and pixels [N, 4, 3, P]."""
    parts = x.reshape(-1, 2, scene.quarter, 2, scene.quarter, 3).transpose(0, 1, 3, 5, 2, 4)
    return parts.reshape(-1, 4, 3, scene.quarter**2)


def _join(parts: Array, scene: Scene) -> Array:
    rows = parts.reshape(-1, 2, 2, 3, scene.quarter, scene.quarter).transpose(0, 1, 4, 2, 5, 3)
    return rows.reshape(-1, 2 * scene.quarter, 2 * scene.quarter, 3)
