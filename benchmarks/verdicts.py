"""Verdicts by the number of samples: how often a good, a slightly bad and a bad model pass, fail or stay undecided.

    python -m benchmarks.verdicts --out docs/verdicts.svg

Each model is evaluated many times at each number of samples: by a share (samples of another class than requested) and
by a distribution (coverage on blocks of samples, for a model that too seldom draws two of ten modes). Printed is the
table, plotted the share of *pass* and of *fail*; the last column is the rule without a margin, a significance test, for
comparison: it fails every model that differs from the data at all, once there are samples enough.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from aigc_jax.evaluation.blocks import BLOCK
from aigc_jax.evaluation.equivalence import FAMILY_ERROR, decide
from aigc_jax.metrics.differences import MIN_BLOCKS, mean_difference, share_difference
from aigc_jax.metrics.knn_manifold import overlap

SIZES = (60, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
NUM_CHECKS, NUM_REPETITIONS, NUM_HELD_OUT = 10, 1000, 10_000
ERROR = FAMILY_ERROR / NUM_CHECKS
"""One-sided error of a comparison in a report of ten."""
SHARE_MARGIN, COVERAGE_MARGIN = 0.03, 0.05
STATES = ("pass", "undecided", "fail")


class Simulated(NamedTuple):
    """A model: the outcome of one evaluation with n samples, and whether a significance test would fail it."""

    name: str
    difference: float
    """The true difference from real data."""
    margin: float
    evaluate: Callable[[int, np.random.Generator], tuple[str, bool]]


def by_share(name: str, difference: float, real_share: float = 0.015) -> Simulated:
    """A model whose samples are of another class ``difference`` more often than real examples."""

    def evaluate(n: int, rng: np.random.Generator) -> tuple[str, bool]:
        counts = rng.binomial(n, real_share + difference), rng.binomial(NUM_HELD_OUT, real_share)
        found = share_difference(counts[0], n, counts[1], NUM_HELD_OUT).interval(ERROR)
        pooled = sum(counts) / (n + NUM_HELD_OUT)
        spread = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / NUM_HELD_OUT))
        return decide(found, SHARE_MARGIN), bool(found.difference > stats.norm.isf(ERROR) * spread)

    return Simulated(name, difference, SHARE_MARGIN, evaluate)


def by_coverage(name: str, missing: float, real: np.ndarray, reference: np.ndarray) -> Simulated:
    """A model that leaves out a part ``missing`` of its draws from two of ten modes."""
    rng = np.random.default_rng(1)
    ours = coverages(draw(rng, 2000 * BLOCK, missing), reference)

    def evaluate(n: int, rng: np.random.Generator) -> tuple[str, bool]:
        if n < MIN_BLOCKS * BLOCK:
            return "undecided", False
        # Uncovered, so that worse is positive.
        blocks = 1 - rng.choice(ours, n // BLOCK), 1 - rng.choice(real, NUM_HELD_OUT // BLOCK)
        found = mean_difference(*blocks, BLOCK, is_positive=True).interval(ERROR)
        return decide(found, COVERAGE_MARGIN), found.low > 0

    return Simulated(name, float(real.mean() - ours.mean()), COVERAGE_MARGIN, evaluate)


def draw(rng: np.random.Generator, num: int, missing: float = 0.0) -> np.ndarray:
    """Points of a mixture of ten normal distributions in eight dimensions."""
    means = np.random.default_rng(3).normal(size=(10, 8)) * 3
    shares = np.where(np.arange(10) < 2, 1 - missing, 1.0)
    return means[rng.choice(10, num, p=shares / shares.sum())] + 0.5 * rng.normal(size=(num, 8))


def coverages(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The coverage of the reference by each block of points."""
    return np.array([overlap(reference, block).coverage for block in points.reshape(-1, BLOCK, points.shape[-1])])


def simulate(model: Simulated, n: int) -> tuple[np.ndarray, float]:
    """Shares of the outcomes, in the order of :data:`STATES`; share of evaluations that a significance test fails."""
    rng = np.random.default_rng(n)
    outcomes = [model.evaluate(n, rng) for _ in range(NUM_REPETITIONS)]
    shares = np.array([np.mean([state == each for state, _ in outcomes]) for each in STATES])
    return shares, float(np.mean([is_significant for _, is_significant in outcomes]))


def main() -> int:
    """Simulate, print, plot; returns 1 where a model is decided wrongly more often than stated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None, help="a picture, as docs/verdicts.svg")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    reference = draw(rng, BLOCK)
    real = coverages(draw(rng, 2000 * BLOCK), reference)
    models = [
        by_share("good", 0.0),
        by_share("slightly bad", 0.015),
        by_share("bad", 0.06),
        by_share("at the margin", SHARE_MARGIN),
        *(by_coverage(name, missing, real, reference) for name, missing in COVERAGE_MODELS.items()),
    ]
    print("| model | difference (margin) | n | pass | undecided | fail | fails a test without a margin |")
    print("|---|---|---|---|---|---|---|")
    found, worst = {}, 0.0
    for model in models:
        for n in SIZES:
            shares, significant = found[model, n] = simulate(model, n)
            wrong = shares[2] if model.difference <= model.margin else shares[0]
            worst = max(worst, float(wrong))
            cells = " | ".join(f"{share:.1%}" for share in (*shares, significant))
            print(f"| {_title(model)} | {model.difference:.1%} ({model.margin:.0%}) | {n:,} | {cells} |")
    print(f"\nLargest share of wrong decisions: {worst:.2%}; stated: {ERROR:.2%} for each of {NUM_CHECKS} comparisons.")
    if args.out is not None:
        plot(models, found, args.out)
    limit = stats.binom.isf(1e-4, NUM_REPETITIONS, ERROR) / NUM_REPETITIONS
    return int(worst > limit)


COVERAGE_MODELS = {"good": 0.0, "slightly bad": 0.7, "bad": 1.0}
"""Part of the draws from two modes of ten that a model leaves out."""


def _title(model: Simulated) -> str:
    kind = "class agreement" if model.margin == SHARE_MARGIN else "coverage"
    return f"{kind}: {model.name}"


def plot(models: list[Simulated], found: dict, path: Path) -> None:
    """Share of pass and fail by the number of samples, one panel per model."""
    figure, axes = plt.subplots(2, 4, figsize=(11, 4.6), sharex=True, sharey=True, layout="constrained")
    for axis, model in zip(axes.flat, models, strict=False):
        shares = np.array([found[model, n][0] for n in SIZES])
        significant = [found[model, n][1] for n in SIZES]
        axis.stackplot(SIZES, *shares.T, labels=STATES, colors=("#2e7d32", "#bdbdbd", "#c62828"))
        axis.plot(SIZES, 1 - np.array(significant), "k--", label="passes a test without a margin")
        axis.set_title(f"{_title(model)}\ndifference {model.difference:.1%}, margin {model.margin:.0%}", fontsize=9)
        axis.set_xscale("log")
    for axis in axes[-1]:
        axis.set_xlabel("samples")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of evaluations")
    for axis in list(axes.flat)[len(models) :]:
        axis.axis("off")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower right", fontsize=9)
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
