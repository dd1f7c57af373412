"""Augmentation of what a discriminator sees, real and fake alike: GANs of few examples that do not learn to augment.

The generator's loss goes through the changes, so all of them are differentiable in the pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from aigc_jax.rng import split_by_name
from aigc_jax.types import Key, Keys, UsageError

Images = Float[Array, "batch height width channel"]

DIFFERENTIABLE = ("colour", "translation", "cutout")
"""Changes of :func:`differentiable_augmentation`."""

ADAPTIVE = ("flip", "quarter_turn", "translation", "scale", "rotation", "colour")
"""Changes of :func:`adaptive_augmentation`."""


class Adaptive(NamedTuple):
    """An augmentation whose probability p follows how far the discriminator has learned the real examples by heart.

    Where the mean sign of its logits of real examples is above ``target``, p rises, and falls below it. It is for
    objectives whose logits are 0 at even odds, unlike those of Wasserstein and relativistic ones.

    Reference:
        Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020, section 3.1.
    """

    change: Callable[[Images, Keys, Array], Images]
    """``(images, keys, p) -> images``."""
    target: float = 0.6
    """Of the mean sign of the logits of real examples, in (-1, 1)."""
    num_to_one: int = 500_000
    """Real examples that are seen while p moves from 0 to 1."""


def differentiable_augmentation(
    images: Images, keys: Keys, *, kinds: Sequence[str] = DIFFERENTIABLE, fill: float = 0.0
) -> Images:
    """DiffAugment: change the colours, shift by up to an eighth and cut a square of half the sides out of each image.

    Args:
        images: in [-1, 1].
        keys: one key per image [batch].
        kinds: of :data:`DIFFERENTIABLE`.
        fill: value of pixels from outside the image and of the square.

    Returns:
        The changed images; brightness and contrast may leave [-1, 1].

    Raises:
        UsageError: there is no such kind.

    Reference:
        Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020, section 3.2 and appendix A.

    >>> images = jnp.ones((2, 8, 8, 1))
    >>> changed = differentiable_augmentation(images, jax.random.split(jax.random.key(0)), kinds=("cutout",))
    >>> bool((changed == 0).any(axis=(1, 2, 3)).all()), changed.max()
    (True, Array(1., dtype=float32))
    """
    check_kinds(kinds, DIFFERENTIABLE)
    changes = {"colour": _colour, "translation": _translation, "cutout": _cutout}

    def one(image: Array, key: Key) -> Array:
        own = split_by_name(key[None], *DIFFERENTIABLE)
        for kind in DIFFERENTIABLE:
            if kind in kinds:
                image = changes[kind](image, own[kind][0], fill)
        return image

    return jax.vmap(one)(images, keys)


def _colour(image: Array, key: Key, fill: float) -> Array:
    """Brightness by -0.5 to 0.5, saturation times 0 to 2, contrast times 0.5 to 1.5."""
    del fill
    brightness, saturation, contrast = jax.random.uniform(key, (3,))
    image = image + (brightness - 0.5)
    grey = image.mean(axis=-1, keepdims=True)
    image = (image - grey) * (2.0 * saturation) + grey
    mean = image.mean()
    return (image - mean) * (contrast + 0.5) + mean


def _translation(image: Array, key: Key, fill: float) -> Array:
    height, width, _ = image.shape
    keys = jax.random.split(key)
    # As in the released code, an eighth is rounded to the nearest pixel.
    steps = [
        jax.random.randint(own, (), -((n + 4) // 8), (n + 4) // 8 + 1)
        for own, n in zip(keys, (height, width), strict=True)
    ]
    rows, columns = (jnp.arange(n) - step for n, step in zip((height, width), steps, strict=True))
    is_inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    moved = image[jnp.clip(rows, 0, height - 1)[:, None], jnp.clip(columns, 0, width - 1)[None]]
    return jnp.where(is_inside[..., None], moved, fill)


def _cutout(image: Array, key: Key, fill: float) -> Array:
    places = list[Array]()
    for own, n in zip(jax.random.split(key), image.shape[:2], strict=True):
        size = (n + 1) // 2
        first = jax.random.randint(own, (), 0, n + 1 - size % 2) - size // 2
        places.append((jnp.arange(n) >= first) & (jnp.arange(n) < first + size))
    return jnp.where((places[0][:, None] & places[1][None])[..., None], fill, image)


def adaptive_augmentation(
    images: Images, keys: Keys, p: Float[Array, ""] | float, *, kinds: Sequence[str] = ADAPTIVE
) -> Images:
    """The changes of ADA, each of which an image gets with probability p.

    With p below 0.8 or so a generator that fools the discriminator makes no augmented images: the unchanged ones stay
    the most frequent. With p = 1 nothing tells a digit from one that stands on its head.

    Args:
        images: in [-1, 1].
        keys: one key per image [batch].
        p: probability of each change, in [0, 1].
        kinds: of :data:`ADAPTIVE`; colour is brightness, contrast and saturation, each with its own coin. Pixels from
            outside are reflected.

    Returns:
        The changed images, in [-1, 1] but for their colours.

    Raises:
        UsageError: there is no such kind.

    Reference:
        Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020, appendix B, without
        anisotropic scaling, fractional translation, luma flips, hue, filters and corruptions.

    >>> images = jnp.arange(4.0).reshape(1, 2, 2, 1) / 4
    >>> bool((adaptive_augmentation(images, jax.random.split(jax.random.key(0), 1), 0.0) == images).all())
    True
    """
    check_kinds(kinds, ADAPTIVE)
    height, width = images.shape[1:3]
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    axes = jnp.arange(height, dtype=jnp.float32), jnp.arange(width, dtype=jnp.float32)
    grid = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1) - centre[None, None]

    def one(image: Array, key: Key) -> Array:
        own = {kind: found[0] for kind, found in split_by_name(key[None], *ADAPTIVE).items()}
        is_on = {kind: jax.random.bernoulli(jax.random.fold_in(own[kind], 0), p) & (kind in kinds) for kind in ADAPTIVE}
        draws = {kind: jax.random.fold_in(own[kind], 1) for kind in ADAPTIVE}
        matrix, offset = _affine(draws, is_on, jnp.array([height, width], jnp.float32))
        where = grid @ matrix.T + (centre + offset)[None, None]
        points = [where[..., 0], where[..., 1]]
        channels = [map_coordinates(image[..., c], points, order=1, mode="reflect") for c in range(image.shape[-1])]
        moved = jnp.stack(channels, axis=-1)
        # An interpolation at whole pixels rounds: what is not moved stays as it is.
        is_moved = jnp.stack([is_on[kind] for kind in ADAPTIVE[:-1]]).any()
        image = jnp.where(is_moved, moved, image)
        is_coloured = jax.random.bernoulli(jax.random.fold_in(own["colour"], 0), p, (3,)) & ("colour" in kinds)
        widths = jnp.where(is_coloured, jnp.array([0.2, 0.5, 1.0]), 0.0)
        brightness, contrast, saturation = widths * jax.random.normal(draws["colour"], (3,))
        changed = (image + brightness) * jnp.exp2(contrast)
        grey = changed.mean(axis=-1, keepdims=True)
        return jnp.where(is_coloured.any(), (changed - grey) * jnp.exp2(saturation) + grey, image)

    return jax.vmap(one)(images, keys)


def _affine(draws: dict[str, Key], is_on: dict[str, Array], sides: Array) -> tuple[Array, Array]:
    """The matrix and the offset by which the pixels of one image are looked up."""
    flip = jax.random.bernoulli(draws["flip"]) & is_on["flip"]
    matrix = jnp.diag(jnp.stack([jnp.float32(1.0), jnp.where(flip, -1.0, 1.0)]))
    turns = jnp.where(is_on["quarter_turn"], jax.random.randint(draws["quarter_turn"], (), 0, 4), 0)
    # Exact: the cosine of a quarter turn is not.
    quarter = jnp.array(
        [[[1.0, 0.0], [0.0, 1.0]], [[0.0, -1.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [-1.0, 0.0]]]
    )
    angle = jnp.where(is_on["rotation"], jax.random.uniform(draws["rotation"], (), minval=-jnp.pi, maxval=jnp.pi), 0.0)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
    scale = jnp.where(is_on["scale"], jnp.exp2(0.2 * jax.random.normal(draws["scale"])), 1.0)
    shift = jnp.round(jax.random.uniform(draws["translation"], (2,), minval=-0.125, maxval=0.125) * sides)
    return scale * (matrix @ quarter[turns] @ rotation), jnp.where(is_on["translation"], shift, 0.0)


def adapted(
    p: Float[Array, ""], sign: Float[Array, ""], batch_sign: Float[Array, ""], num: Array | int, how: Adaptive
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The next probability, and the running mean of the signs of real logits, over about four (micro-)batches.

    Args:
        p: the probability, in [0, 1].
        sign: the running mean.
        batch_sign: the mean sign of the logits of a batch of real examples, before they are changed by the step.
        num: the number of these.
        how: target and speed.

    >>> p, sign = adapted(jnp.float32(0.5), jnp.float32(0.9), jnp.float32(0.5), 5000, Adaptive(adaptive_augmentation))
    >>> round(float(p), 3), round(float(sign), 3)
    (0.51, 0.8)
    """
    sign = 0.75 * sign + 0.25 * batch_sign
    return jnp.clip(p + jnp.sign(sign - how.target) * (num / how.num_to_one), 0.0, 1.0), sign


def check_kinds(kinds: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    """The kinds of changes, all of which are known."""
    unknown = sorted(set(kinds) - set(known))
    if unknown:
        raise UsageError(f"expected changes of {', '.join(known)}, got {unknown[0]!r}: choose among these")
    return kinds
