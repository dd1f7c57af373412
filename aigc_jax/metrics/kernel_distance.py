"""Kernel distances between two sets of features: KID and CMMD.

With another encoder than Inception (KID) or CLIP (CMMD) no published number is comparable: name it by its encoder.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from aigc_jax.metrics.checks import Features, checked, checked_features
from aigc_jax.metrics.neighbors import tiles
from aigc_jax.progress import Progress
from aigc_jax.types import UsageError

CMMD_SCALE = 1000.0
"""By which the authors multiply it, for readable numbers."""


class KernelDistance(NamedTuple):
    """Unbiased squared distance, from random subsets."""

    value: float
    """Mean over subsets; below 0 for about half of all pairs of sets of one distribution: not to be clamped."""
    std: float
    """Standard deviation over subsets. Not the error of ``value``: subsets share examples."""


def kid(
    real: Features, fake: Features, *, num_subsets: int = 100, subset_size: int | None = None, seed: int = 0
) -> KernelDistance:
    """Kernel distance of Inception features: unbiased MMD² with the kernel ``(x.y / d + 1)^3``.

    Args:
        real: features [N, d].
        fake: features [M, d].
        num_subsets: random subsets of each set, drawn without replacement within a subset.
        subset_size: examples of a subset, in 2 ... min(N, M); None for the published 1000, or all of fewer.
        seed: of the subsets.

    Returns:
        The distance.

    Raises:
        UsageError: fewer examples than a subset has, or features that are not finite.

    Reference:
        Bińkowski et al., "Demystifying MMD GANs", 2018, section 4; Gretton et al., "A Kernel Two-Sample Test", 2012,
        equation 3.

    >>> real = np.array([[1.0], [-1.0]])
    >>> kid(real, 2 * real, num_subsets=1, subset_size=2).value
    -53.0
    """
    real, fake = checked_features(real=real, fake=fake)
    if subset_size is None:
        subset_size = min(1000, len(real), len(fake))
    if not 2 <= subset_size <= min(len(real), len(fake)):
        raise UsageError(
            f"subsets of {subset_size} need as many examples, got {len(real)} real and {len(fake)} fake: "
            "take more, or a smaller subset_size (>= 2)"
        )
    rng, values = np.random.default_rng(seed), np.empty(num_subsets)
    with Progress(num_subsets, "KID", "subset") as bar:
        for number in range(num_subsets):
            x, y = (s[rng.choice(len(s), subset_size, replace=False)].astype(np.float64) for s in (real, fake))
            values[number] = _others_mean(x) + _others_mean(y) - 2.0 * _cubic(x, y).mean()
            bar.update()
    return KernelDistance(float(values.mean()), float(values.std()))


def cmmd(real: Features, fake: Features, *, sigma: float = 10.0) -> float:
    """CLIP maximum mean discrepancy: 1000 times the biased MMD² with a Gaussian kernel, of normalised embeddings.

    Embeddings are divided by their length, so that all kernel values lie between 0.98 and 1 for ``sigma`` = 10: only
    their distance from 1 is summed, in float64.

    Args:
        real: embeddings [N, d].
        fake: embeddings [M, d].
        sigma: width of the kernel ``exp(-|x - y|^2 / (2 sigma^2))``.

    Returns:
        The distance, >= 0 but for rounding. Biased upwards: on average by ``1000 (1 - E k) (1 / N + 1 / M)`` for sets
        of one distribution with the mean kernel value E k.

    Raises:
        ValueError: no [N, d] of numbers, or embeddings of different sizes.
        UsageError: an embedding of length 0, or not finite.

    Reference:
        Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image Generation", 2024, section 4.

    >>> round(cmmd(np.array([[3.0, 0.0]]), np.array([[0.0, 0.1]])), 6)
    19.900333
    """
    x, y = (normalized(features) for features in checked_features(real=real, fake=fake))
    sums = [0.0, 0.0]
    for number, points in enumerate((x, y)):
        for tile in tiles(points, title="CMMD"):
            sums[number] += (1.0 if tile.rows == tile.columns else 2.0) * _below_one(tile.squares, sigma)
    between = sum(_below_one(tile.squares, sigma) for tile in tiles(x, y, title="CMMD"))
    mmd = sums[0] / len(x) ** 2 + sums[1] / len(y) ** 2 - 2.0 * between / (len(x) * len(y))
    return CMMD_SCALE * mmd


def normalized(features: Features) -> Float64[np.ndarray, "num num_features"]:
    """Features of length 1, in float64; a UsageError for one of length 0, which has no direction."""
    (values,) = checked(features=(features, float, "num num_features"))
    values = values.astype(np.float64)
    lengths = np.sqrt(np.einsum("nd,nd->n", values, values))
    if not lengths.all():
        raise UsageError(
            f"expected features of length > 0, got {int((lengths == 0).sum())} of {len(values)} that are all 0: "
            "they have no direction; use another layer of the encoder"
        )
    values /= lengths[:, None]
    return values


def _cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x @ y.T / x.shape[1] + 1.0
    # Ten times as fast as base**3, which numpy computes by logarithms.
    return base * base * base


def _others_mean(x: np.ndarray) -> float:
    """Mean kernel value of two different examples: without the diagonal, which would bias it."""
    kernel = _cubic(x, x)
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))


def _below_one(squares: np.ndarray, sigma: float) -> float:
    """Sum of k - 1: the ones of the three terms of MMD² cancel, and with them would go half of the digits."""
    return float(np.expm1(squares * (-0.5 / sigma**2)).sum())
