"""How alike two images are, pixel by pixel and window by window; one number per pair, on the device that holds them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aigc_jax.types import UsageError

Images = Float[Array, "batch height width channel"] | Float[np.ndarray, "batch height width channel"]

Examples = Float[Array, "batch ..."] | Float[np.ndarray, "batch ..."]

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales of MS-SSIM, the finest first: Wang et al. 2003, section 3.2."""

MIN_SIDE = (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
"""161: the shortest side that still holds a window after four halvings."""


def mse(a: Examples, b: Examples) -> Float[Array, " batch"]:
    """Mean squared difference of each pair.

    Args:
        a: examples of any one shape.
        b: as many of the same shape.

    Returns:
        One number per pair.

    >>> mse(jnp.zeros((1, 2)), jnp.array([[1.0, 3.0]])).tolist()
    [5.0]
    """
    return jnp.mean(jnp.square(jnp.asarray(a) - jnp.asarray(b)).reshape(a.shape[0], -1), axis=1)


def psnr(a: Examples, b: Examples, *, data_range: float = 2.0) -> Float[Array, " batch"]:
    """Peak signal-to-noise ratio of each pair, ``10 log10(data_range^2 / mse)``.

    Args:
        a: examples of any one shape.
        b: as many of the same shape.
        data_range: the largest possible value less the smallest; 2 for images in [-1, 1].

    Returns:
        Decibels; +inf for equal pairs.

    >>> round(float(psnr(jnp.zeros((1, 4)), jnp.full((1, 4), 0.02))[0]), 4)
    40.0
    """
    return 20.0 * jnp.log10(data_range) - 10.0 * jnp.log10(mse(a, b))


def ssim(a: Images, b: Images, *, data_range: float = 2.0) -> Float[Array, " batch"]:
    """Structural similarity of each pair, by Gaussian windows.

    The convention, on which published numbers differ in the third digit: windows of 11 x 11 with sigma 1.5, population
    covariance, only windows that lie inside of the image, mean over windows and channels. This is scikit-image's
    ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)``, whose mean leaves the same
    margin of 5 pixels out, and ``pytorch_msssim.ssim``.

    Args:
        a: images with sides >= 11.
        b: as many of the same shape.
        data_range: the largest possible value less the smallest; 2 for images in [-1, 1].

    Returns:
        One number per pair, in [-1, 1]; 1 for equal pairs.

    Raises:
        UsageError: the images are smaller than a window.

    Reference:
        Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004, equation 13.

    >>> x = jnp.linspace(-1.0, 1.0, 256).reshape(1, 16, 16, 1)
    >>> round(float(ssim(x, x)[0]), 5), bool(ssim(x, -x)[0] < 0.9)
    (1.0, True)
    """
    if min(a.shape[1:3]) < WINDOW:
        raise UsageError(f"SSIM needs sides of at least {WINDOW}, got {a.shape[1]} x {a.shape[2]}: compare by mse")
    return jnp.mean(_ssim_and_cs(jnp.asarray(a), jnp.asarray(b), data_range)[0], axis=1)


def ms_ssim(a: Images, b: Images, *, data_range: float = 2.0) -> Float[Array, " batch"]:
    """Multi-scale structural similarity of each pair: contrast and structure at five scales, luminance at the coarsest.

    It is not defined on small images: the coarsest of five scales must still hold a window. Negative contrast-structure
    terms, of which no power exists, count as 0. Scales are halved by means of 2 x 2; an odd side repeats its last line.

    Args:
        a: images with sides >= 161.
        b: as many of the same shape.
        data_range: the largest possible value less the smallest; 2 for images in [-1, 1].

    Returns:
        One number per pair, in [0, 1]; 1 for equal pairs.

    Raises:
        UsageError: the images are too small for five scales.

    Reference:
        Wang, Simoncelli & Bovik, "Multi-Scale Structural Similarity for Image Quality Assessment", 2003, equation 7.

    >>> x = jnp.linspace(-1.0, 1.0, 161 * 161).reshape(1, 161, 161, 1)
    >>> round(float(ms_ssim(x, x)[0]), 5)
    1.0
    """
    if min(a.shape[1:3]) < MIN_SIDE:
        raise UsageError(
            f"MS-SSIM needs sides of at least {MIN_SIDE}, got {a.shape[1]} x {a.shape[2]}: use SSIM, or larger images"
        )
    a, b = jnp.asarray(a), jnp.asarray(b)
    product = jnp.ones((), a.dtype)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            a, b = _halved(a), _halved(b)
        similarity, cs = _ssim_and_cs(a, b, data_range)
        factor = similarity if scale == len(SCALE_WEIGHTS) - 1 else cs
        product = product * jnp.maximum(factor, 0.0) ** weight
    return jnp.mean(product, axis=1)


def _ssim_and_cs(
    a: Float[Array, "batch height width channel"], b: Float[Array, "batch height width channel"], data_range: float
) -> tuple[Float[Array, "batch channel"], Float[Array, "batch channel"]]:
    """The means over windows of SSIM and of its contrast-structure part, for each channel."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_a, mean_b = _windowed(a), _windowed(b)
    var_a = _windowed(a * a) - mean_a**2
    var_b = _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    cs = (2.0 * covariance + c2) / (var_a + var_b + c2)
    luminance = (2.0 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return jnp.mean(luminance * cs, axis=(1, 2)), jnp.mean(cs, axis=(1, 2))


def _windowed(x: Float[Array, "batch height width channel"]) -> Float[Array, "batch height2 width2 channel"]:
    """Gaussian-weighted means of all windows inside of the image, as two products with banded matrices.

    Highest precision: the variance is a difference of two such means, of which TF32 would leave nothing.
    """
    down, across = (jnp.asarray(_bands(size), x.dtype) for size in x.shape[1:3])
    return jnp.einsum("bhwc,ih,jw->bijc", x, down, across, precision=jax.lax.Precision.HIGHEST)


def _bands(size: int) -> Float[np.ndarray, "windows size"]:
    """Row i holds the weights of the window that begins at pixel i."""
    weight = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    bands = np.zeros((size - WINDOW + 1, size))
    for row, band in enumerate(bands):
        band[row : row + WINDOW] = weight / weight.sum()
    return bands


def _halved(x: Float[Array, "batch height width channel"]) -> Float[Array, "batch height2 width2 channel"]:
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), mode="edge")
    batch, height, width, channels = x.shape
    return jnp.mean(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))
