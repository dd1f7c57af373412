"""Calibrated filters by simulation: how often the guarantee is broken, and what it costs.

    python -m benchmarks guarantee                    scores of known distributions: the true risk has a closed form
    python -m benchmarks guarantee --run RUN          the same of a run's own samples and detectors

Of each row 200 sets of labelled samples are drawn and calibrated by. A set breaks the guarantee if its threshold
accepts a larger share of unreliable samples than the risk; that may happen in a share delta of the sets.
Below it is the same without a guarantee: the largest threshold whose observed risk is small enough.
Of a run, the samples that it draws are the population, from which the sets are drawn with replacement.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binom, norm

from aigc_jax.cli.arguments import Calibrate
from aigc_jax.cli.calibrate import labelled_evidence
from aigc_jax.evaluation.calibrating import unreliable
from aigc_jax.evaluation.detectors import all_scores
from aigc_jax.evaluation.from_run import load_for_evaluation
from aigc_jax.guards.assess import accepted_by_threshold
from aigc_jax.guards.calibration import calibrate
from aigc_jax.metrics.intervals import clopper_pearson
from benchmarks.common import positive

NUM_SETS = 200


class Source(NamedTuple):
    """A source of labelled samples whose true risk at a threshold is known."""

    name: str
    draw: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
    """``(generator, n) -> scores [n], whether each is unreliable [n]``."""
    risk: Callable[[float], float]
    """Of the samples with a score of at most so much."""
    acceptance: Callable[[float], float]


class Row(NamedTuple):
    """The outcome of many calibrations."""

    certified: int
    """Sets by which a threshold was certified."""
    broken: int
    """Sets whose threshold accepts more than the risk."""
    num: int
    acceptance: float
    """Mean over the certified ones."""
    risk: float
    """Likewise."""


def shifted(name: str, shift: float, share: float) -> Source:
    """Normal scores, of unreliable samples shifted: 0 says nothing."""

    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.uniform(size=n) < share
        return rng.normal(size=n) + shift * truth, truth

    def acceptance(value: float) -> float:
        return float((1 - share) * norm.cdf(value) + share * norm.cdf(value - shift))

    def risk(value: float) -> float:
        return float(share * norm.cdf(value - shift) / acceptance(value))

    return Source(f"{name}, {share:.1%} unreliable", draw, risk, acceptance)


def population(name: str, scores: np.ndarray, truth: np.ndarray) -> Source:
    """Labelled samples as a distribution of their own."""
    thresholds, accepted, bad = accepted_by_threshold(scores, truth)

    def place(value: float) -> int:
        return int(np.searchsorted(thresholds, value, side="right")) - 1

    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = rng.integers(len(scores), size=n)
        return scores[chosen], truth[chosen]

    return Source(
        f"{name}, {truth.mean():.2%} unreliable",
        draw,
        lambda value: float(bad[place(value)] / accepted[place(value)]),
        lambda value: float(accepted[place(value)] / len(scores)),
    )


def certified_threshold(scores: np.ndarray, truth: np.ndarray, alpha: float, delta: float, seed: int) -> float:
    """The threshold of a calibrated filter; -inf for none."""
    return calibrate(scores, truth, alpha, delta, seed=seed).value


def observed_threshold(scores: np.ndarray, truth: np.ndarray, alpha: float, delta: float, seed: int) -> float:
    """The largest threshold of an observed risk <= alpha: what one would choose by eye."""
    thresholds, accepted, bad = accepted_by_threshold(scores, truth)
    is_small = bad / accepted <= alpha
    return float(thresholds[is_small].max()) if is_small.any() else -math.inf


def simulate(
    source: Source, n: int, alpha: float, delta: float, choose: Callable[..., float], num_sets: int = NUM_SETS
) -> Row:
    """Calibrate by many sets of n labelled samples."""
    found = list[float]()
    for seed in range(num_sets):
        found.append(choose(*source.draw(np.random.default_rng([n, seed]), n), alpha, delta, seed))
    values = [value for value in found if value > -math.inf]
    risks = [source.risk(value) for value in values]
    means = [float(np.mean(each)) if each else math.nan for each in (list(map(source.acceptance, values)), risks)]
    return Row(len(values), sum(risk > alpha for risk in risks), num_sets, *means)


def register(commands: Any) -> None:
    """Add the command ``guarantee`` to a parser's subcommands."""
    command = commands.add_parser("guarantee", help="calibrated filters: how often their guarantee is broken")
    command.set_defaults(run=run)
    command.add_argument("--delta", type=float, default=0.05, help="stated probability of that (default 0.05)")
    command.add_argument(
        "--run", dest="path", default=None, help="a run whose samples are labelled; default: simulated"
    )
    command.add_argument("--risk", type=float, default=0.01, help="risk that is certified, of a run (default 0.01)")
    command.add_argument("--num-samples", type=positive, default=20_000, help="samples of the run (default 20,000)")
    command.add_argument(
        "--num-labelled", type=positive, nargs="+", default=[2000, 5000], help="labelled ones (default 2000 5000)"
    )
    command.add_argument("--detectors", nargs="+", default=None, help="detectors of the run (default all)")


def run(args: argparse.Namespace) -> int:
    """Print the table; returns 1 where a guarantee is broken more often than chance explains."""
    if args.path is None:
        cases = [
            (shifted("good detector", 3.5, 0.05), 2000, 0.01),
            (shifted("good detector", 3.5, 0.05), 600, 0.02),
            (shifted("fair detector", 2.0, 0.02), 5000, 0.01),
            (shifted("useless detector", 0.0, 0.051), 2000, 0.05),
            (shifted("hardly any violation", 3.5, 0.005), 5000, 0.004),
        ]
    else:
        cases = [(source, n, args.risk) for source in _sources(args) for n in args.num_labelled]
    print(f"| scores | n | risk | chosen | certified | broken (95 %), stated {args.delta:.0%} | accepted | true risk |")
    print("|---|---:|---:|---|---:|---|---:|---:|")
    is_broken = False
    for source, n, alpha in cases:
        for title, choose in (("calibrated", certified_threshold), ("by eye", observed_threshold)):
            row = simulate(source, n, alpha, args.delta, choose)
            low, high = clopper_pearson(row.broken, row.num)
            broken = f"{row.broken / row.num:.1%} ({low:.1%} to {high:.1%})"
            shares = f"{row.certified / row.num:.0%} | {broken} | {row.acceptance:.1%} | {row.risk:.3%}"
            print(f"| {source.name} | {n:,} | {alpha:.2%} | {title} | {shares} |", flush=True)
            is_broken |= choose is certified_threshold and row.broken > binom.ppf(0.999, row.num, args.delta)
    return int(is_broken)


def _sources(args: argparse.Namespace) -> list[Source]:
    """A run's own labelled samples, by each of the detectors."""
    arguments = Calibrate(run=Path(args.path), num=args.num_samples)
    evidence = labelled_evidence(arguments, load_for_evaluation(arguments.run, seed=arguments.seed), num=arguments.num)
    truth, scores = unreliable(evidence), all_scores(evidence, arguments.num)
    return [population(name, scores[name], truth) for name in args.detectors or scores]
