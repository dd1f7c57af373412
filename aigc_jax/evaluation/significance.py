"""Hypothesis tests of samples against real data, and the five criteria that they decide.

A criterion fails where a one-sided test finds the samples worse than real examples, judged by the same judge at the
same size. All tests of a report together are wrong with probability :data:`FAMILY_ERROR` at most (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from aigc_jax.evaluation.section import Section
from aigc_jax.metrics.intervals import standardized_share
from aigc_jax.report.measurements import CRITERION_TITLES
from aigc_jax.report.schema import Check, Criterion

MAX_EXACT = 100.0
"""Variance of a count up to which its distribution is computed exactly."""

MIN_EXPECTED, NUM_TABLES = 25.0, 9_999
"""Expected counts below which Pearson's asymptotic distribution is too inexact that far out in its tail (the customary
5 is for 5 % tests: at 0.07 % it is wrong by a factor of 2); tables that are then drawn in its place, of which the
smallest p-value is 1e-4: below :data:`FAMILY_ERROR` for up to 99 checks in a report, so that a criterion can fail."""

FAMILY_ERROR = 0.01
"""Probability that a perfect sampler fails any criterion at all."""


def fisher_test(title: str, count: int, n: int, real_count: int, real_n: int) -> Check:
    """Fisher's exact test: whether a defect occurs more often in samples than in real examples.

    Reference:
        Fisher, "The logic of inductive inference", Journal of the Royal Statistical Society 1935.
    """
    table = [[count, n - count], [real_count, real_n - real_count]]
    p_value = float(np.asarray(stats.fisher_exact(table, alternative="greater")[1]))
    return Check(title, count / max(n, 1), real_count / max(real_n, 1), p_value, False)


def mantel_haenszel_test(
    title: str, is_bad: np.ndarray, stratum: np.ndarray, is_real_bad: np.ndarray, real_stratum: np.ndarray
) -> Check:
    """Mantel-Haenszel test: whether a defect occurs more often in samples than in real examples of the same class.

    Classes differ in how often it occurs in real examples; their shares among the samples are the matter of another
    criterion. The distribution of the count given all others is exact where its variance is small, else normal.

    Reference:
        Mantel & Haenszel, "Statistical aspects of the analysis of data from retrospective studies of disease", Journal
        of the National Cancer Institute 1959, equation 1.
    """
    num_bad, distribution, mean, variance = 0, np.ones(1), 0.0, 0.0
    for each in np.unique(stratum):
        ours, theirs = is_bad[stratum == each], is_real_bad[real_stratum == each]
        n, bad = len(ours) + len(theirs), int(ours.sum() + theirs.sum())
        num_bad += int(ours.sum())
        mean += bad * len(ours) / n
        variance += len(ours) * len(theirs) * bad * (n - bad) / (n * n * max(n - 1, 1))
        if variance <= MAX_EXACT:
            counts = stats.hypergeom.pmf(np.arange(min(bad, len(ours)) + 1), n, bad, len(ours))
            distribution = np.convolve(distribution, counts)
    if variance <= MAX_EXACT:
        p_value = min(float(distribution[num_bad:].sum()), 1.0)
    else:
        p_value = float(stats.norm.sf((num_bad - mean) / np.sqrt(variance)))
    reference = standardized_share(is_real_bad, real_stratum, stratum)
    # Without a class in common there is nothing to compare with: the plain share, and a p-value of 1.
    reference = float(is_real_bad.mean()) if np.isnan(reference) else reference
    return Check(title, float(is_bad.mean()), reference, p_value, False)


def duplicate_test(title: str, num_repeats: int, n: int, *, real_pairs: int, num_real: int) -> Check:
    """Whether samples equal earlier ones more often than independent draws of the data do.

    Pairs of independent draws are equal with one probability, of which ``real_pairs``, the pairs of equal examples
    among ``num_real``, give an upper bound (99 %, the check's reference); the pairs among n are then nearly Poisson.
    """
    bound = float(stats.chi2.ppf(0.99, 2 * (real_pairs + 1))) / 2 / max(num_real * (num_real - 1) / 2, 1)
    expected = n * (n - 1) / 2 * bound
    p_value = float(stats.poisson.sf(num_repeats - 1, expected)) if num_repeats else 1.0
    return Check(title, num_repeats / n, min(expected / n, 1.0), p_value, False)


def homogeneity_test(title: str, counts: Int[np.ndarray, " kind"], real_counts: Int[np.ndarray, " kind"]) -> Check:
    """Pearson's chi-squared test of homogeneity: whether kinds have other shares than among real examples.

    Where some kind is expected fewer than :data:`MIN_EXPECTED` times, the distribution is that over tables of the same
    totals, by Monte Carlo with a fixed seed. The value is the total variation distance of the shares, the reference the
    one that chance alone gives at these sizes.

    Reference:
        Besag & Clifford, "Generalized Monte Carlo significance tests", Biometrika 1989: p = (1 + more) / (1 + draws).
    """
    occurs = counts + real_counts > 0
    table = np.stack([counts[occurs], real_counts[occurs]])
    expected = table.sum(axis=1)[:, None] * table.sum(axis=0)[None] / table.sum()
    value = float(_distances(table[None])[0])
    if occurs.sum() > 1 and expected.min() < MIN_EXPECTED:
        return Check(title, value, *_monte_carlo(table, expected), False)
    p_value = float(np.asarray(stats.chi2_contingency(table, correction=False)[1])) if occurs.sum() > 1 else 1.0
    pooled = table.sum(axis=0) / table.sum()
    # The mean absolute value of a normal difference of two shares.
    spread = np.sqrt(pooled * (1 - pooled) * (1 / table.sum(axis=1)).sum())
    return Check(title, value, 0.5 * float((spread * 0.8).sum()), p_value, False)


def _distances(tables: Int[np.ndarray, "num 2 kind"]) -> Float[np.ndarray, " num"]:
    """Total variation distance between the shares of both rows."""
    shares = tables / tables.sum(axis=-1, keepdims=True)
    return 0.5 * np.abs(shares[:, 0] - shares[:, 1]).sum(axis=1)


def _monte_carlo(table: Int[np.ndarray, "2 kind"], expected: Float[np.ndarray, "2 kind"]) -> tuple[float, float]:
    """The mean distance of tables of the same totals, and the share of them as far from the expected counts."""
    tables, rng = stats.random_table(table.sum(axis=1), table.sum(axis=0)), np.random.default_rng(0)
    # Rounding must not set equal tables apart.
    statistic, num_extreme, distances = np.sum((table - expected) ** 2 / expected) * (1 - 1e-9), 0, []
    for num in np.diff(np.linspace(0, NUM_TABLES, 10, dtype=int)).tolist():
        drawn = tables.rvs(num, random_state=rng).astype(np.int64)
        num_extreme += int(np.sum(((drawn - expected) ** 2 / expected).sum(axis=(1, 2)) >= statistic))
        distances.append(_distances(drawn))
    return float(np.concatenate(distances).mean()), (1 + num_extreme) / (1 + NUM_TABLES)


def zero_tolerance_check(title: str, count: int, n: int) -> Check:
    """A defect of which one case is too many."""
    return Check(title, count / max(n, 1), 0.0, None, count > 0)


def judge_criteria(sections: Sequence[Section]) -> list[Criterion]:
    """The five criteria, in the order of the page, by all checks of all sections together."""
    num_tests = sum(check.p_value is not None for section in sections for check in section.checks)
    limit = FAMILY_ERROR / max(num_tests, 1)
    criteria = []
    for name in CRITERION_TITLES:
        own = [section for section in sections if section.criterion == name]
        checks = [
            check if check.p_value is None else check._replace(is_worse=check.p_value < limit)
            for section in own
            for check in section.checks
        ]
        has_failed = any(check.is_worse for check in checks) if checks else None
        # What was not compared has a reason and no number, which would read as a grade.
        headline = next((section.headline for section in own if section.headline), "") if checks else ""
        reasons = [reason for section in own for reason in section.left_out.values()]
        why_not = "" if checks else next(iter(reasons), "nothing was compared")
        criteria.append(Criterion(name, has_failed, headline, checks, why_not=why_not))
    return criteria
