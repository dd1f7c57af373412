"""World of one coloured shape: shape, size, colour and place combine, and some combinations are withheld from training.

Withheld combinations are legal: a model that has learnt the attributes, and not only the pictures, can draw them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.types import UsageError, World
from aigc_jax.worlds.modes import log_of, mode_weights
from aigc_jax.worlds.renderings import MARGIN, check_tolerance, num_wrong
from aigc_jax.worlds.scenes import PLACES, denoiser, make_scene, num_differing, picture, sampler

TOLERANCE = 4
"""Wrong values (three to a pixel) in an image that are allowed. Small discs and squares differ in twelve pixels."""

WITHHELD = ({"shape": "square", "colour": "red"}, {"shape": "triangle", "size": "small", "place": "top left"})
"""Red squares, and small triangles at the top left: 11 of 72 combinations."""

VIOLATIONS = ("valid", "malformed", "blank")
"""One whole shape; anything else; nothing. A withheld combination is valid."""


def factors(
    shapes: Sequence[str] = ("disc", "square", "triangle"),
    *,
    sizes: Mapping[str, int] | None = None,
    colours: Sequence[str] = ("red", "green", "blue"),
    withheld: Sequence[Mapping[str, str]] = WITHHELD,
    image_size: int = 32,
    weights: Sequence[float] | None = None,
    tolerance: int = TOLERANCE,
    margin: float = MARGIN,
    name: str = "world:factors",
) -> World:
    """World of four attributes; its modes are all combinations, the last attribute varies fastest.

    Args:
        shapes: of :data:`aigc_jax.worlds.silhouettes.SHAPES`.
        sizes: ``{name: pixels across}``; None for small (9) and large (13).
        colours: of :data:`aigc_jax.worlds.scenes.COLOURS`.
        withheld: ``{attribute: value}`` each; a combination with all values of one of them is drawn only as a
            condition. () for none.
        image_size: pixels a side, even.
        weights: probabilities of the modes, 0 for those withheld; None for equal ones.
        tolerance: wrong values that are allowed.
        margin: see :func:`aigc_jax.worlds.renderings.num_wrong`.
        name: of the world.

    Returns:
        The world; its examples are float32 [N, image_size, image_size, 3].

    Raises:
        UsageError: unknown attribute or value, or impossible tolerance.

    >>> world = factors()
    >>> world.num_modes, len(world.withheld), {name: list(values) for name, values in world.attributes.items()}["size"]
    (72, 11, ['small', 'large'])
    """
    sizes = {"small": 9, "large": 13} if sizes is None else sizes
    values = {"shape": tuple(shapes), "size": tuple(sizes), "colour": tuple(colours), "place": PLACES}
    table = np.array(list(itertools.product(*(range(len(names)) for names in values.values()))), np.int32)
    scene = make_scene(shapes, list(sizes.values()), colours, image_size)
    left_out = _matching(values, table, withheld)
    shares = mode_weights(len(table), weights, withheld=left_out)
    check_tolerance(scene.silhouettes, tolerance, margin)

    def look(x: Float[Array, "num height width 3"]) -> tuple[Int[Array, " num"], Bool[Array, " num"]]:
        """The nearest mode, and whether it is within the tolerance."""
        case = jnp.argmin(num_differing(x > 0, scene), axis=1)
        wrong = num_wrong(x.reshape(x.shape[0], -1), picture(case, scene).reshape(x.shape[0], -1), margin)
        return jnp.asarray(scene.modes)[case], wrong <= tolerance

    def mode(x: Float[Array, "num height width 3"]) -> Int[Array, " num"]:
        return look(x)[0]

    def violation(x: Float[Array, "num height width 3"]) -> Int[Array, " num"]:
        pixels = x.reshape(x.shape[0], -1)
        is_blank = num_wrong(pixels, jnp.zeros(pixels.shape, bool), margin) <= tolerance
        return jnp.where(look(x)[1], 0, jnp.where(is_blank, 2, 1)).astype(jnp.int32)

    def read(x: Float[Array, "num height width 3"]) -> dict[str, Int[Array, " num"]]:
        found, is_valid = look(x)
        shown = jnp.where(is_valid[:, None], jnp.asarray(table)[found], -1)
        return {attribute: shown[:, column] for column, attribute in enumerate(values)}

    return World(
        name,
        len(table),
        shares,
        VIOLATIONS,
        sample=sampler(scene, log_of(shares)),
        violation=violation,
        mode=mode,
        modality="image",
        denoise=denoiser(scene, log_of(shares)),
        withheld=left_out,
        attributes=values,
        mode_attributes={attribute: table[:, column] for column, attribute in enumerate(values)},
        read=read,
    )


def _matching(
    values: Mapping[str, Sequence[str]], table: Int[np.ndarray, "mode attribute"], rules: Sequence[Mapping[str, str]]
) -> tuple[int, ...]:
    """The modes that have all values of one of the rules."""
    names, is_withheld = list(values), np.zeros(len(table), bool)
    for rule in rules:
        for attribute, value in rule.items():
            if attribute not in values or value not in values[attribute]:
                known = "; ".join(f"{name} {', '.join(of_name)}" for name, of_name in values.items())
                raise UsageError(f"expected attributes and values among {known}; got {attribute} {value!r}")
        columns = [table[:, names.index(a)] == list(values[a]).index(value) for a, value in rule.items()]
        is_withheld |= np.all(columns, axis=0)
    return tuple(np.flatnonzero(is_withheld).tolist())
