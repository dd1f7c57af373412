"""Comparison of prompt templates by their right answers, without the optimism of a choice by the same answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from aigc_jax.metrics.checks import checked
from aigc_jax.metrics.intervals import NUM_RESAMPLES, clopper_pearson, paired_difference, percentile_interval
from aigc_jax.types import UsageError

Figure = tuple[float, float, float]
"""A value and the ends of its 95 % interval."""


class TemplateComparison(NamedTuple):
    """Templates on the half of the cases that the winner was not chosen on.

    Attributes:
        winner: the number of the template with most right answers on the other half, the first of equal ones.
        shares: of right answers of each template, with Clopper-Pearson intervals.
        differences: to the winner, on the same cases; of the winner 0.
        sensitivity: the largest share minus the smallest, with a bootstrap interval over cases.
        num_cases: of this half.
    """

    winner: int
    shares: list[Figure]
    differences: list[Figure]
    sensitivity: Figure
    num_cases: int


def compare_templates(is_right: Bool[np.ndarray, "num_templates num_cases"], seed: int = 0) -> TemplateComparison:
    """Choose a template on one half of the cases, and measure all on the other.

    Args:
        is_right: whether the answer to each case was right, by template.
        seed: of the halves and of the bootstrap.

    Raises:
        UsageError: fewer than two cases.

    Reference:
        Sclar et al., "Quantifying Language Models' Sensitivity to Spurious Features in Prompt Design", 2024, section 3
        (the spread of the performance over formats).

    >>> found = compare_templates(np.array([[True] * 40, [False] * 40]))
    >>> found.winner, found.shares[0][0], found.sensitivity
    (0, 1.0, (1.0, 1.0, 1.0))
    """
    (is_right,) = checked(is_right=(is_right, bool, "num_templates num_cases"))
    num = is_right.shape[1]
    if num < 2:
        raise UsageError(f"expected at least 2 cases, a half to choose a template on and one to measure it, got {num}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(num)
    chosen_on, measured = is_right[:, order[: num // 2]], is_right[:, order[num // 2 :]]
    winner, size = int(chosen_on.sum(axis=1).argmax()), measured.shape[1]
    shares = [(float(row.mean()), *clopper_pearson(int(row.sum()), size)) for row in measured]
    pairs = [paired_difference(row, measured[winner]) for row in measured]
    differences = [(pair.value, pair.low, pair.high) for pair in pairs]
    differences[winner] = (0.0, 0.0, 0.0)
    means = np.array([measured[:, rng.integers(0, size, size)].mean(axis=1) for _ in range(NUM_RESAMPLES)])
    spread = float(np.ptp(measured.mean(axis=1)))
    return TemplateComparison(winner, shares, differences, (spread, *percentile_interval(np.ptp(means, axis=1))), size)
