"""The Inception network of published Fréchet distances and Inception scores.

It is neither the paper's nor torchvision's: TensorFlow's graph of 2015-12-05 with 1008 logits, whose average pooling
leaves the padding out, whose last block pools by the maximum where the paper has the mean, and which enlarges images
without half-pixel centres. Another variant gives another distance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SIDE = 299
NUM_LOGITS = 1008
PRECISION = jax.lax.Precision.HIGHEST
"""Published figures are of float32; the default of GPUs and TPUs keeps 3 digits of each product."""


class Conv(NamedTuple):
    """A convolution with a ReLU, named as in the published weight file."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    strides: int = 1  # 2 halves the resolution, without padding; 1 keeps it, with padding


Step = Conv | Literal["mean", "max", "max half"] | tuple[Conv, Conv]
"""A convolution, a pooling of 3 x 3, or two convolutions side by side."""

Branches = Sequence[Sequence[Step]]
"""The branches of a block, each a sequence of steps; their outputs are joined in this order."""


def _block_a(pool_width: int) -> Branches:
    return (
        [Conv("branch1x1", 64)],
        [Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5))],
        [Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), Conv("branch3x3dbl_3", 96, (3, 3))],
        ["mean", Conv("branch_pool", pool_width)],
    )


def _block_c(width: int) -> Branches:
    return (
        [Conv("branch1x1", 192)],
        [Conv("branch7x7_1", width), Conv("branch7x7_2", width, (1, 7)), Conv("branch7x7_3", 192, (7, 1))],
        [
            Conv("branch7x7dbl_1", width),
            Conv("branch7x7dbl_2", width, (7, 1)),
            Conv("branch7x7dbl_3", width, (1, 7)),
            Conv("branch7x7dbl_4", width, (7, 1)),
            Conv("branch7x7dbl_5", 192, (1, 7)),
        ],
        ["mean", Conv("branch_pool", 192)],
    )


def _block_e(pool: Literal["mean", "max"]) -> Branches:
    return (
        [Conv("branch1x1", 320)],
        [
            Conv("branch3x3_1", 384),
            (Conv("branch3x3_2a", 384, (1, 3)), Conv("branch3x3_2b", 384, (3, 1))),
        ],
        [
            Conv("branch3x3dbl_1", 448),
            Conv("branch3x3dbl_2", 384, (3, 3)),
            (Conv("branch3x3dbl_3a", 384, (1, 3)), Conv("branch3x3dbl_3b", 384, (3, 1))),
        ],
        [pool, Conv("branch_pool", 192)],
    )


BLOCKS: Mapping[str, Branches] = {
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": (
        [Conv("branch3x3", 384, (3, 3), 2)],
        [Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), Conv("branch3x3dbl_3", 96, (3, 3), 2)],
        ["max half"],
    ),
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": (
        [Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, (3, 3), 2)],
        [
            Conv("branch7x7x3_1", 192),
            Conv("branch7x7x3_2", 192, (1, 7)),
            Conv("branch7x7x3_3", 192, (7, 1)),
            Conv("branch7x7x3_4", 192, (3, 3), 2),
        ],
        ["max half"],
    ),
    "Mixed_7b": _block_e("mean"),
    "Mixed_7c": _block_e("max"),
}


class InceptionV3(nn.Module):
    """TensorFlow's Inception-v3 of 2015-12-05, for measuring alone: batch norm is folded into the convolutions.

    Its parameters are ``{"Mixed_5b.branch1x1": {"kernel", "bias"}, ...}``, named as in the published weight file.

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016; Heusel et al., "GANs Trained
        by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017, for the use of its last pooling.
    """

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch height width 3"]
    ) -> tuple[Float[Array, "batch 1008"], Float[Array, "batch 2048"]]:
        """Images [B, H, W, 3] in [-1, 1], of any size -> (logits [B, 1008], features [B, 2048])."""

        def conv(x: Array, layer: Conv, block: str = "", padding: str | None = None) -> Array:
            padding = padding or ("SAME" if layer.strides == 1 else "VALID")
            name = f"{block}.{layer.name}" if block else layer.name
            given = {"strides": (layer.strides, layer.strides), "padding": padding, "precision": PRECISION}
            return nn.relu(nn.Conv(layer.width, layer.kernel, name=name, **given)(x))

        # The published scaling, (pixel - 128) / 128, of pixels 0 ... 255.
        x = (127.5 * (enlarge(image, SIDE) + 1.0) - 128.0) / 128.0
        x = conv(x, Conv("Conv2d_1a_3x3", 32, (3, 3), 2))
        x = conv(x, Conv("Conv2d_2a_3x3", 32, (3, 3)), padding="VALID")
        x = _max_half(conv(x, Conv("Conv2d_2b_3x3", 64, (3, 3))))
        x = conv(x, Conv("Conv2d_3b_1x1", 80))
        x = _max_half(conv(x, Conv("Conv2d_4a_3x3", 192, (3, 3)), padding="VALID"))
        for block, branches in BLOCKS.items():
            parts = []
            for steps in branches:
                part = x
                for step in steps:
                    if isinstance(step, str):
                        part = _POOLS[step](part)
                    elif isinstance(step, Conv):
                        part = conv(part, step, block)
                    else:
                        part = jnp.concatenate([conv(part, layer, block) for layer in step], axis=-1)
                parts.append(part)
            x = jnp.concatenate(parts, axis=-1)
        features = jnp.mean(x, axis=(1, 2))
        return nn.Dense(NUM_LOGITS, name="fc", precision=PRECISION)(features), features


def enlarge(image: Float[Array, "batch height width channel"], side: int) -> Float[Array, "batch side side channel"]:
    """Bilinear resizing as in TensorFlow 1: pixel i of the result lies at ``i * size / side``, no half-pixel centres.

    Shrinking is not smoothed, as in the published network: shrink larger images by a good filter before.

    Reference:
        Parmar, Zhang & Zhu, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", 2022, section 3.

    >>> enlarge(jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1), 4)[0, 0, :, 0].tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    for axis in (2, 1):
        size = image.shape[axis]
        at = np.arange(side, dtype=np.float32) * np.float32(size / side)
        low = at.astype(np.int32)
        shape = [1] * image.ndim
        shape[axis] = side
        weight = jnp.asarray(at - low, image.dtype).reshape(shape)
        first = jnp.take(image, low, axis=axis)
        image = first + (jnp.take(image, np.minimum(low + 1, size - 1), axis=axis) - first) * weight
    return image


def _max_half(x: Float[Array, "batch height width channel"]) -> Float[Array, "batch height2 width2 channel"]:
    return nn.max_pool(x, (3, 3), strides=(2, 2))


_POOLS = {
    "mean": lambda x: nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False),
    "max": lambda x: nn.max_pool(x, (3, 3), padding="SAME"),
    "max half": _max_half,
}
