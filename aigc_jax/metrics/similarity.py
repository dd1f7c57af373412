"""Similarity of pairs of images: MSE, PSNR, SSIM and MS-SSIM, one number per pair.

NumPy arrays are compared by NumPy in float64, without compilation; JAX arrays on the device that holds them, also under
``jit``. Either way both arrays must be floating-point numbers of one shape: bytes would wrap around.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from aigc_jax.types import UsageError

Images = Float[Array, "batch height width channel"] | Float[np.ndarray, "batch height width channel"]

Examples = Float[Array, "batch ..."] | Float[np.ndarray, "batch ..."]

PerPair = Float[Array, " batch"] | Float[np.ndarray, " batch"]

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales of MS-SSIM, the finest first: Wang et al. 2003, section 3.2."""

MIN_SIDE = (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
"""161: the shortest side that still holds a window after four halvings."""


def mse(a: Examples, b: Examples) -> PerPair:
    """Mean squared difference of each pair.

    Args:
        a: examples of any one shape.
        b: as many of the same shape.

    Returns:
        One number per pair.

    Raises:
        ValueError: integers, or arrays of different shapes.

    >>> mse(jnp.zeros((1, 2)), jnp.array([[1.0, 3.0]])).tolist()
    [5.0]
    """
    xp, a, b = _checked(a, b)
    return xp.mean(xp.square(a - b).reshape(len(a), -1), axis=1)


def psnr(a: Examples, b: Examples, *, data_range: float = 2.0) -> PerPair:
    """Peak signal-to-noise ratio of each pair, ``10 log10(data_range^2 / mse)``.

    Args:
        a: examples of any one shape.
        b: as many of the same shape.
        data_range: the largest possible value less the smallest; 2 for images in [-1, 1].

    Returns:
        Decibels; +inf for equal pairs.

    Raises:
        ValueError: integers, arrays of different shapes, or values in units of another data range.

    >>> round(float(psnr(jnp.zeros((1, 4)), jnp.full((1, 4), 0.02))[0]), 4)
    40.0
    """
    xp, a, b = _checked(a, b, data_range=data_range)
    with np.errstate(divide="ignore"):
        return 20.0 * np.log10(data_range) - 10.0 * xp.log10(mse(a, b))


def ssim(a: Images, b: Images, *, data_range: float = 2.0) -> PerPair:
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
        ValueError: integers, arrays of different shapes, or values in units of another data range.
        UsageError: the images are smaller than a window.

    Reference:
        Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004, equation 13.

    >>> x = np.linspace(-1.0, 1.0, 256).reshape(1, 16, 16, 1)
    >>> round(float(ssim(x, x)[0]), 5), bool(ssim(x, -x)[0] < 0.9)
    (1.0, True)
    """
    xp, a, b = _checked(a, b, data_range=data_range, num_axes=4)
    if min(a.shape[1:3]) < WINDOW:
        raise UsageError(f"SSIM needs sides of at least {WINDOW}, got {a.shape[1]} x {a.shape[2]}: compare by mse")
    return xp.mean(_ssim_and_cs(a, b, data_range)[0], axis=(1, 2, 3))


def ms_ssim(a: Images, b: Images, *, data_range: float = 2.0) -> PerPair:
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
        ValueError: integers, arrays of different shapes, or values in units of another data range.
        UsageError: the images are too small for five scales.

    Reference:
        Wang, Simoncelli & Bovik, "Multi-Scale Structural Similarity for Image Quality Assessment", 2003, equation 7.

    >>> x = np.linspace(-1.0, 1.0, 161 * 161).reshape(1, 161, 161, 1)
    >>> round(float(ms_ssim(x, x)[0]), 5)
    1.0
    """
    xp, a, b = _checked(a, b, data_range=data_range, num_axes=4)
    if min(a.shape[1:3]) < MIN_SIDE:
        raise UsageError(
            f"MS-SSIM needs sides of at least {MIN_SIDE}, got {a.shape[1]} x {a.shape[2]}: use SSIM, or larger images"
        )
    product = xp.ones((), a.dtype)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            a, b = _halved(xp, a), _halved(xp, b)
        similarity, cs = _ssim_and_cs(a, b, data_range)
        factor = similarity if scale == len(SCALE_WEIGHTS) - 1 else cs
        product = product * xp.maximum(xp.mean(factor, axis=(1, 2)), 0.0) ** weight
    return xp.mean(product, axis=1)


def _checked(a: Any, b: Any, *, data_range: float = np.inf, num_axes: int | None = None) -> tuple[Any, Any, Any]:
    """NumPy or JAX, and both arrays in at least single precision, once they fit each other."""
    xp = jnp if isinstance(a, jax.Array) or isinstance(b, jax.Array) else np
    a, b = xp.asarray(a), xp.asarray(b)
    if not all(jnp.issubdtype(each.dtype, jnp.floating) for each in (a, b)):
        raise ValueError(
            f"expected floating-point arrays, got {a.dtype} and {b.dtype}: convert both with astype(np.float32), and "
            "pass data_range=255 for bytes"
        )
    if a.shape != b.shape or a.ndim != (num_axes or max(a.ndim, 1)):
        axes = "[batch, height, width, channel]" if num_axes else "[batch, ...]"
        raise ValueError(f"expected pairs {axes} of one shape, got {a.shape} and {b.shape}: compare one by one")
    if not isinstance(a, Tracer) and not isinstance(b, Tracer) and a.size:
        # Both, as a broken reconstruction may leave the range by itself; twice, as models overshoot.
        spans = [float(np.ptp(np.asarray(each, np.float64))) for each in (a, b)]
        if min(spans) > 2 * data_range:
            raise ValueError(
                f"expected values within a span of data_range = {data_range:g}, got spans of {spans[0]:g} and "
                f"{spans[1]:g}: pass data_range=255 for values in 0 ... 255"
            )
    dtype = np.float64 if xp is np or np.float64 in (a.dtype, b.dtype) else np.float32
    return xp, a.astype(dtype), b.astype(dtype)


def _ssim_and_cs(a: Any, b: Any, data_range: float) -> tuple[Any, Any]:
    """SSIM of each window and channel [batch, height2, width2, channel], and its contrast-structure part."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_a, mean_b = _windowed(a), _windowed(b)
    var_a = _windowed(a * a) - mean_a**2
    var_b = _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    cs = (2.0 * covariance + c2) / (var_a + var_b + c2)
    luminance = (2.0 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance * cs, cs


def _windowed(x: Any) -> Any:
    """Gaussian-weighted means of all windows inside of the image, as two products with banded matrices."""
    down, across = (_bands(size) for size in x.shape[1:3])
    if isinstance(x, np.ndarray):
        return np.einsum("bhwc,ih,jw->bijc", x, down, across, optimize=True)
    # Highest precision: the variance is a difference of two such means, of which TF32 would leave nothing.
    down, across = jnp.asarray(down, x.dtype), jnp.asarray(across, x.dtype)
    return jnp.einsum("bhwc,ih,jw->bijc", x, down, across, precision=jax.lax.Precision.HIGHEST)


def _bands(size: int) -> Float[np.ndarray, "windows size"]:
    """Row i holds the weights of the window that begins at pixel i."""
    weight = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    bands = np.zeros((size - WINDOW + 1, size))
    for row, band in enumerate(bands):
        band[row : row + WINDOW] = weight / weight.sum()
    return bands


def _halved(xp: Any, x: Any) -> Any:
    x = xp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), mode="edge")
    batch, height, width, channels = x.shape
    return xp.mean(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))
