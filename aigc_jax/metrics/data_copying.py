"""C_T: whether samples are closer to the training set than held-out real examples are, cell by cell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.stats import norm, rankdata

from aigc_jax.metrics.kmeans import cell_of, kmeans
from aigc_jax.metrics.memorization import Memorization
from aigc_jax.metrics.neighbors import Features
from aigc_jax.types import UsageError

MIN_PER_CELL = 20
"""Samples, and held-out examples, that a cell must have to be judged: as the authors ask of samples."""


class DataCopying(NamedTuple):
    """The test of each cell and their average.

    Attributes:
        value: C_T, the mean of z over the judged cells by their share of held-out examples: << 0 copying, >> 0
            underfitting. An average: copies in one place hide behind underfitting in another.
        z: of each cell; NaN where there are too few examples to judge it. Standard normal where samples are fresh.
        num_samples: number of samples in each cell.
        num_held_out: number of held-out examples in each cell.
        cells: the cell of each sample.
    """

    value: float
    z: Float64[np.ndarray, " num_cells"]
    num_samples: Int64[np.ndarray, " num_cells"]
    num_held_out: Int64[np.ndarray, " num_cells"]
    cells: Int64[np.ndarray, " num_samples"]

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
        """Probability that the least z of as many cells of fresh samples were as low (Šidák)."""
        num_judged = int(np.isfinite(self.z).sum())
        # 1 - (1 - p)^n without the loss of a small p.
        return float(-np.expm1(num_judged * norm.logsf(self.min_z)))


def data_copying(
    train: Features,
    held_out: Features,
    samples: Features,
    result: Memorization,
    *,
    num_cells: int = 10,
    seed: int = 0,
) -> DataCopying:
    """The three-sample test of data copying, in cells around k means of the training set.

    Args:
        train: features of the training set [N, d].
        held_out: features of real examples that were not trained on [H, d].
        samples: features of samples [M, d].
        result: what :func:`aigc_jax.metrics.memorization.memorization` says of the three.
        num_cells: number of cells; fewer where there are fewer distinct training examples.
        seed: of the cells.

    Returns:
        z of each cell, and their average.

    Raises:
        UsageError: no cell has 20 samples and 20 held-out examples, or more cells than training examples.

    Reference:
        Meehan, Chaudhuri & Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models", 2020,
        section 4. Distances are to the whole training set, not to its part in the cell as in the authors' code.

    >>> from aigc_jax.metrics.memorization import memorization
    >>> train, held_out, fresh = np.random.default_rng(0).normal(size=(3, 500, 2))
    >>> copying = data_copying(train, held_out, train, memorization(train, held_out, train), num_cells=3)
    >>> copying.value < -10, copying.p_value < 1e-6
    (True, True)
    >>> -3 < data_copying(train, held_out, fresh, memorization(train, held_out, fresh), num_cells=3).value < 3
    True
    """
    centers = kmeans(train, num_cells, seed=seed)
    cells, held_out_cells = cell_of(samples, centers), cell_of(held_out, centers)
    num, num_held_out = (np.bincount(c, minlength=len(centers)) for c in (cells, held_out_cells))
    is_judged = (num >= MIN_PER_CELL) & (num_held_out >= MIN_PER_CELL)
    if not is_judged.any():
        raise UsageError(
            f"no cell has {MIN_PER_CELL} samples and {MIN_PER_CELL} held-out examples, of {len(samples)} and "
            f"{len(held_out)} in {len(centers)} cells: take more examples or fewer cells"
        )
    z = np.full(len(centers), np.nan)
    for cell in np.flatnonzero(is_judged):
        far, near = result.samples.distances[cells == cell], result.held_out.distances[held_out_cells == cell]
        z[cell] = mann_whitney_z(far, near)
    value = float(np.average(z[is_judged], weights=num_held_out[is_judged]))
    return DataCopying(value, z, num, num_held_out, cells)


def mann_whitney_z(a: Float[np.ndarray, " num_a"], b: Float[np.ndarray, " num_b"]) -> float:
    """Standardised number of pairs in which the first set has the larger value, a tie counting one half.

    Args:
        a: values of the one set.
        b: values of the other.

    Returns:
        ``(U - E U) / sd U`` under one law, with the variance that is left by ties (which the authors of C_T leave
        out: beside them, exact copies come out farther from 0); 0 where all values are equal.

    Reference:
        Mann & Whitney, 1947; for ties, Lehmann, "Nonparametrics", 1975, section 1.4.

    >>> round(mann_whitney_z(np.arange(3.0), np.arange(3.0) + 3.0), 4)
    -1.964
    """
    num_a, num_b = len(a), len(b)
    total = num_a + num_b
    ranks = rankdata(np.concatenate([a, b]))
    excess = ranks[:num_a].sum() - num_a * (total + 1) / 2
    ties = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    variance = num_a * num_b / 12 * (total + 1 - (ties**3 - ties).sum() / (total * (total - 1)))
    return float(excess / np.sqrt(variance)) if len(ties) > 1 else 0.0
