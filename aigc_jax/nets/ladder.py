"""A ladder of stochastic levels: a deterministic way up from the image, a shared stochastic way down to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.nets.embeddings import WithClass
from aigc_jax.nets.norm import LayerNorm
from aigc_jax.nets.patches import from_patches
from aigc_jax.nets.vae import ConvTrunk, ResidualBlock, check_widths
from aigc_jax.types import UsageError

Gaussian = tuple[Array, Array]
"""Mean and log variance of a diagonal Gaussian."""


class Level(NamedTuple):
    """The latent z_l of one level, its prior p(z_l | z_>l), and q(z_l | z_>l, x), None without an image."""

    latent: Array
    prior: Gaussian
    posterior: Gaussian | None


LadderLatentFn = Callable[[int, Gaussian, Gaussian | None], Array]
"""``(level, prior, posterior) -> latent``: a draw, a mean, or a given latent."""


class Ladder(nn.Module):
    """A vector on top, then a map of latents at each resolution, coarse to fine.

    Levels are numbered from the image, 0, to the top. The posterior of a map is its prior, moved by the output of the
    network, so that a level that moves nothing costs nothing.

    Args:
        image_shape: (height, width, channels) of the image.
        widths: channels after each halving of the sides; so many levels of maps.
        latent_dims: length of the latent at each level (per position of a map), one more than there are widths.
        num_blocks: residual blocks at each resolution, on either way.
        num_outputs: numbers for each pixel and colour.
        num_classes: 0 for an unconditional model.

    Reference:
        Sønderby et al., "Ladder Variational Autoencoders", 2016, figure 1 (b); the residual posterior of Vahdat and
        Kautz, "NVAE: A Deep Hierarchical Variational Autoencoder", 2020, equation 2.
    """

    image_shape: tuple[int, int, int] = (28, 28, 1)
    widths: Sequence[int] = (32, 64)
    latent_dims: Sequence[int] = (2, 4, 16)
    num_blocks: int = 1
    num_outputs: int = 1
    num_classes: int = 0

    def latent_shapes(self) -> list[tuple[int, ...]]:
        """The shape of one latent at each level, from the image to the top."""
        height, width, _ = self.image_shape
        maps = [(height >> n, width >> n, dim) for n, dim in enumerate(self.latent_dims[:-1], start=1)]
        return [*maps, (self.latent_dims[-1],)]

    @nn.compact
    def __call__(
        self,
        latent_fn: LadderLatentFn,
        condition: Int[Array, " batch"] | None,
        *,
        image: Float[Array, "batch height width channel"] | None = None,
        num: int = 1,
    ) -> tuple[Float[Array, "batch height width outputs"], list[Level]]:
        """Outputs and levels, from the image to the top, of a run down the ladder; up first where there is an image.

        ``latent_fn`` gives the latent of each level; ``num`` is the number of examples without an image.
        """
        self._check()
        seen = [None] * len(self.widths)
        if image is not None:
            seen = ConvTrunk(self.widths, self.num_blocks, self.num_classes, name="up")(image, condition)
        x, top = self._top(latent_fn, condition, seen[-1], num if image is None else len(image))
        levels = [top]
        smaller = [self.image_shape[2] * self.num_outputs, *self.widths[:-1]]
        for level in reversed(range(len(self.widths))):
            for block in range(self.num_blocks):
                x = ResidualBlock(self.num_classes, name=f"down_{level}_{block}")(x, condition)
            latent = self._map(level, latent_fn, x, seen[level])
            levels.append(latent)
            x = x + nn.Conv(x.shape[-1], (3, 3), name=f"from_{level}")(latent.latent)
            y = ResidualBlock(self.num_classes, name=f"mix_{level}")(x, condition)
            y = nn.silu(LayerNorm(name=f"norm_{level}")(y))
            x = from_patches(nn.Conv(4 * smaller[level], (3, 3), name=f"double_{level}")(y), 2)
        return x, levels[::-1]

    def _top(
        self, latent_fn: LadderLatentFn, condition: Int[Array, " batch"] | None, seen: Array | None, num: int
    ) -> tuple[Array, Level]:
        """The vector, and the coarsest features that it becomes; its prior is N(0, I)."""
        dim, level = self.latent_dims[-1], len(self.widths)
        prior = jnp.zeros((num, dim)), jnp.zeros((num, dim))
        posterior = None
        if seen is not None:
            flat = nn.silu(LayerNorm(name="norm_top")(seen)).reshape(num, -1)
            posterior = _halves(nn.Dense(2 * dim, name="posterior_top")(flat))
        latent = latent_fn(level, prior, posterior)
        rows, columns = self.image_shape[0] >> level, self.image_shape[1] >> level
        x = WithClass(self.num_classes, name="class")(latent, condition)
        x = nn.Dense(rows * columns * self.widths[-1], name="from_top")(x)
        return x.reshape(num, rows, columns, self.widths[-1]), Level(latent, prior, posterior)

    def _map(self, level: int, latent_fn: LadderLatentFn, x: Array, seen: Array | None) -> Level:
        """A map of latents given the levels above and, with an image, the features of the way up."""
        dim = self.latent_dims[level]
        prior = _halves(nn.Conv(2 * dim, (1, 1), name=f"prior_{level}")(nn.silu(x)))
        posterior = None
        if seen is not None:
            both = nn.silu(LayerNorm(name=f"seen_{level}")(jnp.concatenate([x, seen], axis=-1)))
            change = _halves(nn.Conv(2 * dim, (3, 3), name=f"posterior_{level}")(both))
            posterior = prior[0] + change[0], prior[1] + change[1]
        return Level(latent_fn(level, prior, posterior), prior, posterior)

    def _check(self) -> None:
        check_widths(self.image_shape, self.widths)
        if len(self.latent_dims) != len(self.widths) + 1:
            raise UsageError(
                f"a ladder has a level for each width and one on top, got {len(self.widths)} widths and "
                f"{len(self.latent_dims)} latent_dims: give {len(self.widths) + 1}"
            )


def _halves(outputs: Array) -> Gaussian:
    mean, logvar = jnp.split(outputs, 2, axis=-1)
    return mean, logvar
