"""Memorization of training examples: authenticity, calibrated distances, and the test C_T, against held-out examples.

Averages can hide copies behind samples that underfit, so each number comes per sample, compared with held-out real
examples: a fresh sample of the true distribution is no farther from the training set than they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy.stats import betabinom, norm, rankdata

from aigc_jax.metrics.checks import Features, checked, checked_features
from aigc_jax.metrics.neighbors import BLOCK_SIZE, nearest, nearest_others
from aigc_jax.types import UsageError

MIN_PER_CELL = 20
"""Samples, and held-out examples, that a cell needs to be tested: the number that the authors require of samples."""

NUM_ITERATIONS = 30
"""Of Lloyd's algorithm: cells need not be optimal to be cells."""


class TrainingDistances(NamedTuple):
    """Distances of a set of examples to the training set."""

    nearest: Int64[np.ndarray, " num"]
    """Index of the nearest training example."""
    distances: Float64[np.ndarray, " num"]
    ratios: Float64[np.ndarray, " num"]
    """Distance over alpha times the mean distance to the nearest few; near 0 for a copy."""
    is_authentic: Bool[np.ndarray, " num"]
    """Whether it is farther from its nearest training example than that one is from its own nearest."""


class Memorization(NamedTuple):
    """Distances to the training set, of samples and of held-out real examples."""

    samples: TrainingDistances
    held_out: TrainingDistances

    @property
    def authenticity(self) -> float:
        """Share of authentic samples. Fresh samples do not have one half: 0.38 in 2 dimensions, 0.58 in 8."""
        return float(self.samples.is_authentic.mean())

    @property
    def held_out_authenticity(self) -> float:
        """The same share of held-out real examples, to compare with."""
        return float(self.held_out.is_authentic.mean())

    @property
    def relative_distances(self) -> Float64[np.ndarray, " num_samples"]:
        """Distances of samples over the median distance of held-out ones. Its left tail shows copies, however few."""
        median = float(np.median(self.held_out.distances))
        distances = self.samples.distances
        # Held-out examples that are in the training set themselves give no scale.
        return distances / median if median else np.where(distances > 0, np.inf, 1.0)


class Copies(NamedTuple):
    """Samples that are closer to training examples than almost all held-out real examples."""

    is_flagged: Bool[np.ndarray, " num_samples"]
    threshold: float
    """Ratio below which a sample is flagged."""
    rate: float
    """Share of fresh samples that is flagged on average, at most the requested rate."""
    share: float
    """Share of flagged samples."""
    p_value: float
    """Probability that as many of as many fresh samples are flagged."""


def memorization(
    train: Features, held_out: Features, samples: Features, *, num_neighbors: int = 50, alpha: float = 0.5
) -> Memorization:
    """Distances to the training set, authenticity, and calibrated distances, of samples and of held-out examples.

    Args:
        train: features of the training set [N, d].
        held_out: features of real examples that were not trained on [H, d].
        samples: features of samples [M, d].
        num_neighbors: n, nearest training examples whose mean distance calibrates a distance, in 1 ... N.
        alpha: factor of their mean distance. It does not change which samples :func:`flag_copies` flags.

    Returns:
        The distances of each sample and each held-out example.

    Raises:
        UsageError: fewer than n training examples, or features that are not finite.

    Reference:
        Alaa et al., "How Faithful is your Synthetic Data?", 2022, section 3.3 (authenticity); Carlini et al.,
        "Extracting Training Data from Diffusion Models", 2023, section 5.1 (calibrated distance).

    >>> train, held_out = np.array([[0.0], [1.0], [3.0]]), np.array([[2.25], [-0.5]])
    >>> result = memorization(train, held_out, np.array([[1.0], [7.0]]), num_neighbors=3)
    >>> result.samples.nearest.tolist(), result.authenticity, result.held_out_authenticity
    ([1, 2], 0.5, 0.0)
    """
    train, held_out, samples = checked_features(train=train, held_out=held_out, samples=samples)
    gaps = nearest_others(train, 1, title="train-train").distances[:, 0]

    def closeness(queries: np.ndarray, title: str) -> TrainingDistances:
        found = nearest(queries, train, num_neighbors, title=title)
        first, distances = found.indices[:, 0], found.distances[:, 0]
        # 0 where even the last of the neighbours coincides: a copy of a duplicate.
        mean = alpha * found.distances.mean(axis=1)
        ratios = np.divide(distances, mean, out=np.zeros(len(mean)), where=mean > 0)
        return TrainingDistances(first, distances, ratios, gaps[first] < distances)

    return Memorization(closeness(samples, "samples-train"), closeness(held_out, "held out-train"))


def flag_copies(result: Memorization, *, rate: float = 0.01) -> Copies:
    """Flag samples whose calibrated distance is below all but a share of those of held-out real examples.

    Args:
        result: as of :func:`memorization`.
        rate: share of fresh samples that may be flagged, in (0, 1).

    Returns:
        The flagged samples, and the p-value of so many.

    Raises:
        UsageError: fewer than 1 / rate - 1 held-out examples, so that no threshold keeps the rate.

    Reference:
        Vovk, Gammerman & Shafer, "Algorithmic Learning in a Random World", 2005, section 2.3, for the rank of the
        threshold: j = floor(rate (H + 1)) flags j / (H + 1) of fresh samples, whatever the distribution.

    >>> rng = np.random.default_rng(0)
    >>> train, held_out, fresh = rng.normal(size=(3, 300, 2))
    >>> copies = flag_copies(memorization(train, held_out, np.concatenate([train[:30], fresh])), rate=0.05)
    >>> copies.is_flagged[:30].all(), copies.is_flagged[30:].mean() < 0.1, copies.p_value < 0.01
    (np.True_, np.True_, True)
    """
    held_out, ratios = np.sort(result.held_out.ratios), result.samples.ratios
    # 0.05 * 20 counts as 1, whatever the last bit says.
    rank = int(np.floor(rate * (len(held_out) + 1) + 1e-9))
    if rank < 1 or rate >= 1:
        raise UsageError(
            f"a rate of {rate:g} needs {max(int(np.ceil(1 / rate)) - 1, 1) if rate > 0 else 'infinitely many'} "
            f"held-out examples, got {len(held_out)}: hold out more, or ask for another rate in (0, 1)"
        )
    threshold = float(held_out[rank - 1])
    is_flagged = ratios < threshold
    num_flagged, num = int(is_flagged.sum()), len(ratios)
    # The probability below the j-th of H is Beta(j, H + 1 - j); a tie with it is not flagged, which is safe.
    p_value = float(betabinom.sf(num_flagged - 1, num, rank, len(held_out) + 1 - rank))
    return Copies(is_flagged, threshold, rank / (len(held_out) + 1), num_flagged / num, p_value)


class DataCopying(NamedTuple):
    """The test of each cell and their average."""

    value: float
    """C_T, the mean of z by the cells' held-out examples: << 0 copying, >> 0 underfitting; both can cancel out."""
    z: Float64[np.ndarray, " num_cells"]
    """NaN where there are too few examples to test a cell. Standard normal where samples are fresh."""
    num_samples: Int64[np.ndarray, " num_cells"]
    num_held_out: Int64[np.ndarray, " num_cells"]

    @property
    def worst_cell(self) -> int:
        """The cell that looks most copied."""
        return int(np.nanargmin(self.z))

    @property
    def min_z(self) -> float:
        """Its z. The least of ten fresh cells is about -1.5: see ``p_value``."""
        return float(self.z[self.worst_cell])

    @property
    def p_value(self) -> float:
        """Probability that the least z of as many cells of fresh samples is as low (Šidák)."""
        num_tested = int(np.isfinite(self.z).sum())
        # 1 - (1 - p)^n without the loss of a small p.
        return float(-np.expm1(num_tested * norm.logsf(self.min_z)))


def data_copying(
    train: Features, held_out: Features, samples: Features, result: Memorization, *, num_cells: int = 10, seed: int = 0
) -> DataCopying:
    """Three-sample test of data copying, in cells around k means of the training set.

    Args:
        train: features of the training set [N, d].
        held_out: features of real examples that were not trained on [H, d].
        samples: features of samples [M, d].
        result: of :func:`memorization` of the three.
        num_cells: number of cells, in 1 ... N; fewer where there are fewer distinct training examples.
        seed: of the first centres.

    Returns:
        z of each cell, and their average.

    Raises:
        ValueError: no [N, d] of numbers, features of different lengths, or a result of other sets.
        UsageError: no cell has 20 samples and 20 held-out examples, or more cells than training examples.

    Reference:
        Meehan, Chaudhuri & Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models", 2020,
        section 4. Distances are to the whole training set, not to its part in the cell as in the authors' code.
        Arthur & Vassilvitskii, "k-means++: the advantages of careful seeding", 2007, for the first centres.

    >>> train, held_out, fresh = np.random.default_rng(0).normal(size=(3, 500, 2))
    >>> copying = data_copying(train, held_out, train, memorization(train, held_out, train), num_cells=3)
    >>> copying.value < -10, copying.p_value < 1e-6
    (True, True)
    >>> -3 < data_copying(train, held_out, fresh, memorization(train, held_out, fresh), num_cells=3).value < 3
    True
    """
    train, held_out, samples = checked_features(train=train, held_out=held_out, samples=samples)
    if (len(result.samples.distances), len(result.held_out.distances)) != (len(samples), len(held_out)):
        raise ValueError("expected the memorization of the same samples and held-out examples, got one of other sets")
    centers = _k_means(train, num_cells, seed)
    cells, held_out_cells = (nearest(each, centers, 1, title="cells").indices[:, 0] for each in (samples, held_out))
    num, num_held_out = (np.bincount(c, minlength=len(centers)) for c in (cells, held_out_cells))
    is_tested = (num >= MIN_PER_CELL) & (num_held_out >= MIN_PER_CELL)
    if not is_tested.any():
        raise UsageError(
            f"no cell has {MIN_PER_CELL} samples and {MIN_PER_CELL} held-out examples, of {len(samples)} and "
            f"{len(held_out)} in {len(centers)} cells: take more examples or fewer cells"
        )
    z = np.full(len(centers), np.nan)
    for cell in np.flatnonzero(is_tested):
        far, near = result.samples.distances[cells == cell], result.held_out.distances[held_out_cells == cell]
        z[cell] = mann_whitney_z(far, near)
    value = float(np.average(z[is_tested], weights=num_held_out[is_tested]))
    return DataCopying(value, z, num, num_held_out)


def _k_means(features: np.ndarray, num: int, seed: int) -> Float64[np.ndarray, "num_cells num_features"]:
    """K means from a k-means++ start; fewer than ``num`` where there are fewer distinct examples."""
    if not 1 <= num <= len(features):
        raise UsageError(f"expected 1 <= number of cells <= {len(features)} examples, got {num}: ask for fewer")
    # scikit-learn and scipy would copy all examples to float64, or add up in float32.
    rng, squares = np.random.default_rng(seed), np.full(len(features), np.inf)
    centers = features[rng.integers(len(features), size=1)].astype(np.float64)
    while len(centers) < num:
        last = centers[-1]
        distances = _by_block(lambda x: np.einsum("nd,nd->n", x - last, x - last), features)  # noqa: B023
        squares = np.minimum(squares, distances)
        if not squares.any():
            break
        chosen = rng.choice(len(features), size=1, p=squares / squares.sum())
        centers = np.concatenate([centers, features[chosen].astype(np.float64)])
    before = np.full(len(features), -1)
    for _ in range(NUM_ITERATIONS):
        origin = centers.mean(axis=0)
        moved = centers - origin
        halves = 0.5 * np.einsum("kd,kd->k", moved, moved)
        cells = _by_block(lambda x: np.argmin(halves - (x - origin) @ moved.T, axis=1), features)  # noqa: B023
        if np.array_equal(cells, before):
            break
        for cell in np.unique(cells):  # an empty one keeps its centre
            centers[cell] = features[cells == cell].mean(axis=0, dtype=np.float64)
        before = cells
    return centers


def _by_block(function: Callable[[np.ndarray], np.ndarray], features: np.ndarray) -> np.ndarray:
    """A function of each example, in float64: of a block at a time, since a whole copy may be too large."""
    starts = range(0, len(features), BLOCK_SIZE)
    return np.concatenate([function(features[i : i + BLOCK_SIZE].astype(np.float64)) for i in starts])


def mann_whitney_z(a: Float[np.ndarray, " num_a"], b: Float[np.ndarray, " num_b"]) -> float:
    """Mann-Whitney statistic ``(U - E U) / sd U``: how often a is larger than b, a tie counting half.

    The variance is corrected for ties (the authors of C_T do not correct it); 0 where all values are equal.

    Reference:
        Mann & Whitney, 1947; for ties, Lehmann, "Nonparametrics", 1975, section 1.4.
    """
    a, b = checked(a=(a, float, "num_a"), b=(b, float, "num_b"))
    num_a, num_b = len(a), len(b)
    total = num_a + num_b
    ranks = rankdata(np.concatenate([a, b]))
    excess = ranks[:num_a].sum() - num_a * (total + 1) / 2
    ties = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    variance = num_a * num_b / 12 * (total + 1 - (ties**3 - ties).sum() / (total * (total - 1)))
    return float(excess / np.sqrt(variance)) if len(ties) > 1 else 0.0
