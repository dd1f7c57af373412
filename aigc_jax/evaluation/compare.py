"""Comparison of reports: every measurement of every run, and paired differences with their intervals.

Sample i of two runs of one seed and size has the same noise and condition: differences of shares are paired, with
narrower intervals than those of two separate shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from aigc_jax.evaluation.judge import NO_JUDGE
from aigc_jax.evaluation.sections.paired_noise import pair_similarity
from aigc_jax.metrics.intervals import paired_difference
from aigc_jax.report.figures import Gallery, Table
from aigc_jax.report.files import FIRST_SAMPLES
from aigc_jax.report.formatting import format_interval, format_reference, format_share, format_unit, format_value
from aigc_jax.report.measurements import CRITERION_TITLES, MEASUREMENTS
from aigc_jax.report.schema import Report
from aigc_jax.types import UsageError


class ComparedRun(NamedTuple):
    """One run of a comparison."""

    name: str
    report: Report
    per_sample: Mapping[str, np.ndarray]
    """As :class:`aigc_jax.evaluation.evaluate.Evaluation` has it."""


class Difference(NamedTuple):
    """A share of one run less that of the first."""

    title: str
    """Which share."""
    run: str
    value: float
    """In [-1, 1]; negative where the run has less."""
    low: float
    """Lower end of its 95 % interval, see :func:`aigc_jax.metrics.intervals.paired_difference`."""
    high: float
    n: int
    """Number of pairs."""
    p_value: float
    """Of no difference, by McNemar's exact test over the pairs that differ."""


def compare(runs: Sequence[ComparedRun]) -> tuple[list[Table], list[Difference]]:
    """Compare two runs or more with the first one: tables for people, and the paired differences.

    Raises UsageError for runs of other data, judge, seed or number of samples.

    Reference:
        McNemar, "Note on the sampling error of the difference between correlated proportions", 1947.
    """
    if len(runs) < 2:
        raise UsageError("expected two runs or more to compare: aigc-jax compare RUN RUN")
    first = runs[0]
    for other in runs[1:]:
        _check_paired(first, other)
    differences = [each for other in runs[1:] for each in _differences(first, other)]
    tables = [_criteria(runs), _measurements(runs), _paired(first, differences)]
    if all({"shown", "features"} & run.per_sample.keys() for run in runs):
        tables.append(_common_noise(runs))
    return tables, differences


def first_samples(runs: Sequence[ComparedRun]) -> list[Gallery]:
    """The first samples of each run, of the same noises and conditions; none where examples have no picture."""
    shown = [run for run in runs if FIRST_SAMPLES in run.per_sample]
    if not shown:
        return []
    groups, labels = [run.per_sample[FIRST_SAMPLES] for run in shown], []
    for run in shown:
        condition = run.per_sample.get("condition", np.zeros(0, int))[: len(run.per_sample[FIRST_SAMPLES])]
        labels.append([str(each) for each in condition] or [""] * len(run.per_sample[FIRST_SAMPLES]))
    caption = "Not selected; each column of one seed. Below each the number of its condition."
    return [Gallery("first_samples", "The first samples", caption, groups, labels, [run.name for run in shown])]


def _check_paired(first: ComparedRun, other: ComparedRun) -> None:
    reports = first.report, other.report
    pairs = {name: [getattr(report, name) for report in reports] for name in ("data", "judge", "num_samples")}
    pairs["--seed"] = [report.facts.get("seed") for report in reports]
    for name, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise UsageError(
                f"{first.name} was evaluated with {name} {ours}, {other.name} with {theirs}: evaluate both alike"
            )
    ours, theirs = (report.facts.get("data checksum") for report in reports)
    if ours and theirs and ours != theirs:
        raise UsageError(
            f"{first.name} and {other.name} were evaluated on different data that are both called {first.report.data}: "
            "evaluate both on the same"
        )
    for each in (first, other):
        _check_per_sample(each)
    ours, theirs = (each.per_sample.get("condition", np.zeros(0)) for each in (first, other))
    if not np.array_equal(ours, theirs):
        raise UsageError(f"{first.name} and {other.name} have different target classes: compare runs of the same")


def _check_per_sample(run: ComparedRun) -> None:
    """The table of samples has a row for each sample of the report."""
    is_complete = "violates" in run.per_sample or run.report.judge == NO_JUDGE
    problem, num = "" if is_complete else "no violates", run.report.num_samples
    pictures = run.per_sample.get(FIRST_SAMPLES)
    if pictures is not None and (pictures.ndim != 4 or pictures.shape[-1] not in (1, 3) or pictures.dtype != np.uint8):
        problem = f"{FIRST_SAMPLES} is {pictures.dtype} {list(pictures.shape)}"
    for name, values in run.per_sample.items():
        if name == FIRST_SAMPLES:
            continue
        num_axes = {"features": 2, "violates": 1, "condition": 1, "observed": 1, "second": 1}.get(name, values.ndim)
        if values.shape[:1] != (num,) or values.ndim != num_axes or values.dtype.kind not in "biuf":
            problem = f"{name} is {values.dtype} {list(values.shape)} for {num} samples"
    if problem:
        raise UsageError(f"the table of samples of {run.name} is broken ({problem}): evaluate the run again")


def _shares(run: ComparedRun) -> dict[str, np.ndarray]:
    """The properties that each sample has or has not."""
    table = run.per_sample
    shares = {"violations": np.asarray(table["violates"], bool)} if "violates" in table else {}
    if "condition" in table and "observed" in table:
        shares["class agreement"] = table["observed"] == table["condition"]
    if "condition" in table and "second" in table:
        shares["second opinion"] = table["second"] == table["condition"]
    return shares


def _differences(first: ComparedRun, other: ComparedRun) -> list[Difference]:
    ours, theirs = _shares(first), _shares(other)
    found = []
    for title in ours.keys() & theirs.keys():
        value, low, high = paired_difference(theirs[title], ours[title])
        more, fewer = int(np.sum(theirs[title] & ~ours[title])), int(np.sum(ours[title] & ~theirs[title]))
        p_value = float(binomtest(more, more + fewer).pvalue) if more + fewer else 1.0
        found.append(Difference(title, other.name, value, low, high, len(ours[title]), p_value))
    return sorted(found)


def _criteria(runs: Sequence[ComparedRun]) -> Table:
    rows = []
    for name, title in CRITERION_TITLES.items():
        criteria = [run.report.criterion(name) for run in runs]
        rows.append([title, *((each and each.state) or "not measured" for each in criteria)])
    caption = "Each criterion compares a run's samples with held-out real examples; see its own report."
    return Table("criteria", "Criteria", caption, ["", *(each.name for each in runs)], rows)


def _measurements(runs: Sequence[ComparedRun]) -> Table:
    measured = {row.name: row for run in runs for row in run.report.measurements}
    rows = []
    for name in dict.fromkeys([*(name for name in MEASUREMENTS if name in measured), *measured]):
        found = [run.report.find(name) for run in runs]
        # Worst classes and the like differ between runs: then each cell has its own.
        is_alike = len({row.title for row in found if row is not None}) == 1
        title = measured[name].title if is_alike or name not in MEASUREMENTS else MEASUREMENTS[name].title
        title += " \N{DOWNWARDS ARROW}" if measured[name].lower_is_better else ""
        references = [format_reference(row) for row in found if row is not None]
        cells = []
        for row in found:
            if row is None:
                cells.append("left out")
                continue
            ends = format_interval(row).removesuffix(" %")
            detail = "" if is_alike or not row.detail else f"{row.detail}: "
            cells.append(f"{detail}{format_value(row)}{format_unit(row)}" + (f" ({ends})" if ends else ""))
        rows.append([title, *cells, next(filter(None, references), "")])
    caption = (
        "With 95 % intervals; \N{DOWNWARDS ARROW}: lower is better. "
        "Intervals that overlap may still hide a difference: the paired ones below decide. The "
        "last column is the reference of the first run, in most rows the same measurement of held-out real examples."
    )
    columns = ["", *(each.name for each in runs), "real data"]
    return Table("measurements", "Measurements", caption, columns, rows)


def _paired(first: ComparedRun, differences: Sequence[Difference]) -> Table:
    rows = []
    for each in differences:
        ends, is_sure = f"{100 * each.low:+.2f} to {100 * each.high:+.2f}", "yes" if each.p_value < 0.05 else "no"
        rows.append([each.title, each.run, f"{100 * each.value:+.2f} points", ends, is_sure, str(each.n)])
    caption = (
        f"Share of each run less that of {first.name}, sample by sample; 95 % intervals of Newcombe, and "
        "McNemar's exact test, each for itself: of twenty equal pairs one is found different by chance."
    )
    columns = ["measurement", "run", f"less {first.name}", "95 % interval", "beyond chance", "pairs"]
    return Table("differences", "Paired differences", caption, columns, rows)


def _common_noise(runs: Sequence[ComparedRun]) -> Table:
    """C2: how similar the samples of two runs are for the same noise."""
    rows = []
    for place, ours in enumerate(runs):
        for theirs in runs[place + 1 :]:
            tables = ours.per_sample, theirs.per_sample
            result = pair_similarity(*tables, tables[0].get("condition"))
            interval = f"{format_share(result.low)} to {format_share(result.high)}"
            alike, chance = format_share(result.value), format_share(result.chance)
            excess = f"{result.excess:.1%} ({result.excess_low:.1%} to {result.excess_high:.1%})"
            rows.append([f"{ours.name}, {theirs.name}", alike, interval, chance, excess])
    caption = (
        "Share of samples that are similar to the other run's sample of the same noise (C2): features less the mean of "
        "their condition with a cosine above 0.6; in synthetic data sets the same mode where no condition decides it, "
        "else nearness. Chance: shuffled pairs of the same condition. Only runs with latents of one shape share noise."
    )
    columns = ["runs", "similar", "95 % interval", "chance", "beyond chance"]
    return Table("model_consistency", "Samples of the same noise", caption, columns, rows)
