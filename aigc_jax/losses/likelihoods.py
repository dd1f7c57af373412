"""Likelihoods: the distribution of an image given a decoder's outputs; log-likelihoods are in nats per example.

A :class:`Likelihood` reads ``num_outputs`` numbers of the decoder for each pixel, and gives the log-likelihood of an
image, the mean image and samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.rng import normal
from aigc_jax.types import Keys, UsageError


class Likelihood(NamedTuple):
    """The distribution of an image given a decoder's outputs, pixels independent of each other."""

    log_prob: Callable[[Array, Array], Array]  # (outputs [B, ..., C * num_outputs], image [B, ..., C]) -> nats [B]
    mean: Callable[[Array], Array]  # outputs -> image in [-1, 1]
    sample: Callable[[Array, Keys], Array]  # (outputs, keys [B]) -> image in [-1, 1], noise included
    num_outputs: int  # numbers for each pixel and colour
    is_discrete: bool  # of discrete pixels, so that bits per dimension have a meaning


def gaussian(std: float | None = None, *, min_std: float = 0.01) -> Likelihood:
    """Normal pixels, of one fixed variance or of a variance that the decoder predicts for each pixel.

    It is a density: its nats may be positive.

    Args:
        std: the fixed standard deviation > 0, where pixels span [-1, 1]; None learns one per pixel.
        min_std: the least standard deviation that can be learned, > 0: without one, the density of a pixel that never
            changes has no bound.

    Reference:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, appendix C.2.

    >>> float(gaussian(std=1.0).log_prob(jnp.zeros((1, 2)), jnp.zeros((1, 2)))[0])  # -log(2 pi)
    -1.837877...
    """
    if (std is not None and std <= 0) or min_std <= 0:
        raise UsageError(f"a Gaussian needs std > 0 and min_std > 0, got {std} and {min_std}: use 0.1 and 0.01")
    minimum = math.log(min_std)

    def parts(outputs: Array) -> tuple[Array, Array]:
        if std is not None:
            return outputs, jnp.full((), math.log(std), outputs.dtype)
        mean, raw = jnp.split(outputs, 2, axis=-1)
        return mean, minimum + jax.nn.softplus(raw - minimum)

    def log_prob(outputs: Array, image: Array) -> Array:
        mean, log_std = map(_flat, parts(outputs))
        squares = jnp.square((_flat(image) - mean) * jnp.exp(-log_std))
        return sum_per_example(-0.5 * squares - log_std - 0.5 * math.log(2 * math.pi))

    def sample(outputs: Array, keys: Keys) -> Array:
        mean, log_std = parts(outputs)
        return jnp.clip(mean + jnp.exp(log_std) * normal(keys, mean.shape[1:]), -1.0, 1.0)

    return Likelihood(
        log_prob,
        mean=lambda outputs: jnp.clip(parts(outputs)[0], -1.0, 1.0),
        sample=sample,
        num_outputs=1 if std is not None else 2,
        is_discrete=False,
    )


def discretized_logistic(scale: float | None = None, *, num_levels: int = 256, min_scale: float = 1e-3) -> Likelihood:
    """Grey levels under a logistic distribution cut into bins; the outermost bins reach to infinity.

    Args:
        scale: the fixed scale > 0, where pixels span [-1, 1]; None learns one per pixel.
        num_levels: number of grey levels, pixels being 2 k / (num_levels - 1) - 1 for whole k.
        min_scale: the least scale that can be learned, > 0.

    Reference:
        Kingma et al., "Improved Variational Inference with Inverse Autoregressive Flow", 2016, equation 10;
        the bins' edges as in Salimans et al., "PixelCNN++", 2017, equation 2.

    >>> levels = jnp.arange(256.0)[:, None] / 127.5 - 1
    >>> likelihood = discretized_logistic(0.1)
    >>> round(float(jnp.exp(likelihood.log_prob(jnp.full((256, 1), 0.3), levels)).sum()), 5)
    1.0
    """
    if (scale is not None and scale <= 0) or min_scale <= 0 or num_levels < 2:
        raise UsageError(
            f"a discretized logistic needs scale > 0, min_scale > 0 and num_levels >= 2, got {scale}, {min_scale} "
            f"and {num_levels}: use 0.1, 0.001 and 256"
        )
    minimum, half = math.log(min_scale), 1.0 / (num_levels - 1)

    def parts(outputs: Array) -> tuple[Array, Array]:
        if scale is not None:
            return outputs, jnp.full((), math.log(scale), outputs.dtype)
        mean, raw = jnp.split(outputs, 2, axis=-1)
        return mean, minimum + jax.nn.softplus(raw - minimum)

    def log_prob(outputs: Array, image: Array) -> Array:
        mean, log_scale = map(_flat, parts(outputs))
        image, precision = _flat(image), jnp.exp(-log_scale)
        upper, lower = (image + half - mean) * precision, (image - half - mean) * precision
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): no difference of near equals, in any tail.
        # Bounded before the logarithm: a width that underflows has a slope of infinity times 0, chosen or not.
        inside = jnp.log(-jnp.expm1(-jnp.maximum(2 * half * precision, 1e-30)))
        log_upper = jnp.where(image > 1 - half, 0.0, jax.nn.log_sigmoid(upper))
        log_lower = jnp.where(image < -1 + half, 0.0, jax.nn.log_sigmoid(-lower))
        is_inside = jnp.abs(image) < 1 - half
        return sum_per_example(log_upper + log_lower + jnp.where(is_inside, inside, 0.0))

    def sample(outputs: Array, keys: Keys) -> Array:
        mean, log_scale = parts(outputs)
        noise = jax.vmap(lambda key: jax.random.logistic(key, mean.shape[1:]))(keys)
        levels = jnp.round((mean + jnp.exp(log_scale) * noise + 1.0) / (2 * half))
        return jnp.clip(levels * (2 * half) - 1.0, -1.0, 1.0)

    return Likelihood(
        log_prob,
        mean=lambda outputs: jnp.clip(parts(outputs)[0], -1.0, 1.0),
        sample=sample,
        num_outputs=1 if scale is not None else 2,
        is_discrete=True,
    )


def bernoulli() -> Likelihood:
    """Black or white pixels, -1 and 1; the decoder's outputs are logits of white.

    A grey pixel (image + 1) / 2 = p counts as the mean over a pixel that is white with probability p: the bound of that
    random binary image in expectation, not a likelihood of the grey one. See :func:`binarize`.

    >>> round(float(bernoulli().log_prob(jnp.zeros((1, 3)), jnp.array([[1.0, -1.0, 1.0]]))[0]), 4)  # 3 log(1/2)
    -2.0794
    """

    def log_prob(outputs: Array, image: Array) -> Array:
        outputs, image = _flat(outputs), _flat(image)
        # softplus(l) by hand: twice as fast as jax.nn's; max(l, 0) as a mean of l and |l| has the slope 1/2 at 0.
        size = jnp.abs(outputs)
        normalizer = 0.5 * (outputs + size) + jnp.log1p(jnp.exp(-size))
        return sum_per_example(0.5 * (image + 1.0) * outputs - normalizer)

    def mean(outputs: Array) -> Array:
        return jnp.tanh(0.5 * outputs)  # 2 sigmoid(l) - 1

    return Likelihood(
        log_prob,
        mean=mean,
        sample=lambda outputs, keys: binarize(mean(outputs), keys),
        num_outputs=1,
        is_discrete=True,
    )


def binarize(image: Float[Array, "batch *shape"], keys: Keys) -> Float[Array, "batch *shape"]:
    """Dynamic binarization: each pixel becomes 1 with probability (image + 1) / 2, else -1.

    Reference:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5.1, after
        Salakhutdinov and Murray, "On the Quantitative Analysis of Deep Belief Networks", 2008.
    """
    noise = jax.vmap(lambda key: jax.random.uniform(key, image.shape[1:]))(keys)
    return jnp.where(noise < 0.5 * (image + 1.0), 1.0, -1.0).astype(image.dtype)


def standard_normal_log_prob(x: Float[Array, "batch *shape"]) -> Float[Array, " batch"]:
    """Log density in nats [B] of N(0, I), the prior of latents."""
    return normal_log_prob(x, jnp.zeros(()), jnp.zeros(()))


def normal_log_prob(x: Float[Array, "batch *shape"], mean: Array, logvar: Array) -> Float[Array, " batch"]:
    """Log density in nats [B] of a diagonal Gaussian."""
    return sum_per_example(-0.5 * (jnp.square(x - mean) * jnp.exp(-logvar) + logvar + math.log(2 * math.pi)))


def bits_per_dim(nll: Float[Array, " batch"], num_dims: int) -> Float[Array, " batch"]:
    """Nats per image to bits per dimension; 8 for 256 equally likely levels."""
    return nll / (num_dims * math.log(2.0))


def sum_per_example(x: Float[Array, "batch *shape"]) -> Float[Array, " batch"]:
    """Sum over all axes but the first."""
    return jnp.sum(_flat(x), axis=1)


def _flat(x: Array) -> Array:
    """[B, ...] -> [B, D], a scalar as it is.

    Images are flattened before any arithmetic: XLA's CPU code for a sum over [H, W, 1] is 15 times slower.
    """
    return x.reshape(x.shape[0], -1) if x.ndim else x
