"""Recommendations: rules from measurements to remedies, as printed at the end of a report.

Each rule names the measurements that call for it; a rule whose measurements are missing recommends nothing. They are
rules of thumb from measured effects (docs/results), not promises: measure again after each. Each is one command, with
the run's own path and options that it takes; of two that change the same setting, the more urgent one is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aigc_jax.report.figures import Lines
from aigc_jax.report.measurements import CriterionName
from aigc_jax.report.schema import Recommendation, Report

EXACT = ", exact denoiser"
"""How the name of a curve ends that is no sampler to choose: the world's own denoiser drew it."""

MIN_AUC = 0.85
"""Area under the ROC curve from which a detector is worth a filter."""

CommandFn = Callable[..., str]
"""``(**options) -> command line`` with these options changed; "" for a model that no command evaluates."""


class Commands(NamedTuple):
    """The command lines of a run."""

    evaluate: CommandFn = lambda **options: ""
    train_longer: str = ""
    earlier_checkpoint: int | None = None
    """A step before the one that is evaluated, of which the weights are kept."""


class Findings(NamedTuple):
    """The results that rules depend on."""

    report: Report
    facts: Mapping[str, float] = {}
    """See :attr:`aigc_jax.evaluation.section.Section.facts`."""
    sampling: Any = None
    """The settings of the run's sampler."""
    commands: Commands = Commands()

    def value(self, name: str) -> float | None:
        """A measured value; None where there is none."""
        row = self.report.find(name)
        return None if row is None else row.value

    def has_failed(self, *names: CriterionName) -> bool:
        """Whether some of these criteria failed."""
        found = [self.report.criterion(name) for name in names]
        return any(criterion is not None and criterion.state == "fail" for criterion in found)

    def curves(self, name: str) -> dict[str, Any]:
        """The series of a figure by name; {} where there is no such figure."""
        figure = next((each for each in self.report.figures if each.name == name and isinstance(each, Lines)), None)
        return {series.name: series for series in figure.series} if isinstance(figure, Lines) else {}


class Remedy(NamedTuple):
    """A recommendation, and the setting that it changes."""

    setting: str
    title: str
    reason: str
    effect: str
    command: str


Rule = Callable[[Findings], Remedy | None]


def recommendations(findings: Findings) -> list[Recommendation]:
    """Remedies to try next, most urgent first: at most one for each setting, and only those that a command does."""
    chosen: dict[str, Remedy] = {}
    for rule in RULES:
        remedy = rule(findings)
        if remedy is not None and remedy.command:
            chosen.setdefault(remedy.setting, remedy)
    return [Recommendation(*remedy[1:]) for remedy in chosen.values()]


def _consistency(findings: Findings) -> Remedy | None:
    if not findings.has_failed("consistent"):
        return None
    distinct = findings.value("distinct_samples")
    reason = "the same keys do not give the same samples, or different keys do"
    reason += "" if distinct is None else f": {distinct:.1%} of the samples are distinct"
    command = findings.commands.evaluate(num_samples=64, detector_samples=0, sweep_samples=0)
    effect = "the table of repeats names the way of computation that differs: look there for state, or a key used twice"
    return Remedy("", "Repeat the first samples alone", reason, effect, command)


def _copying(findings: Findings) -> Remedy | None:
    step = findings.commands.earlier_checkpoint
    if not findings.has_failed("not_copied") or step is None:
        return None
    copied = findings.value("copied_samples")
    reason = "samples lie nearer to training examples than held-out examples do"
    reason += "" if copied is None else f": {copied:.1%} of them by the calibrated distance"
    effect = "fewer copies, if they came with long training; else remove duplicates from the data"
    command = findings.commands.evaluate(checkpoint=str(step))
    return Remedy("steps", "Evaluate an earlier checkpoint", reason, effect, command)


def _sampler(findings: Findings) -> Remedy | None:
    """Another sampler with fewer violations: the sampler alone can change their rate by orders of magnitude."""
    curves = findings.curves("sampler_sweep")
    if not findings.has_failed("valid", "follows_condition") or not curves:
        return None
    figure = next(each for each in findings.report.figures if each.name == "sampler_sweep")
    # The last point of each curve: the most evaluations.
    ends = {name: float(series.y[-1] or 0.0) for name, series in curves.items()}
    exact = [rate for name, rate in ends.items() if name.endswith(EXACT)]
    ends = {name: rate for name, rate in ends.items() if not name.endswith(EXACT)}
    best, own = min(ends, key=lambda name: ends[name]), next(iter(ends))
    floor = max([*exact, *getattr(figure, "floors", {}).values()], default=0.0)
    is_sure = _last_interval(curves[best])[1] < _last_interval(curves[own])[0]
    if best != own and ends[own] > 1.5 * max(ends[best], floor) and is_sure:
        reason = f"{ends[own]:.1%} violations by {own}, {ends[best]:.1%} by {best}, at the most steps tried"
        effect = f"violations near {ends[best]:.1%}, as the sweep of samplers shows"
        return Remedy("sampler", f"Draw with {best}", reason, effect, findings.commands.evaluate(sampler=best))
    if ends[own] > 2 * floor:
        reason = f"every sampler has more violations than the floor of {floor:.1%}: the network errs, not the sampler"
        return _train_longer(findings, reason)
    return None


def _train_longer(findings: Findings, reason: str) -> Remedy:
    effect = "fewer errors of the network, unless it has converged: see the curves in metrics.jsonl"
    return Remedy("steps", "Train longer", reason, effect, findings.commands.train_longer)


def _last_interval(series: Any) -> tuple[float, float]:
    """The interval of a curve's last point; without one, the point itself."""
    last = float(series.y[-1] or 0.0)
    return (series.low[-1], series.high[-1]) if series.low and series.high else (last, last)


def _adherence(findings: Findings) -> Remedy | None:
    if not findings.has_failed("follows_condition"):
        return None
    agreement, worst = findings.value("class_agreement"), findings.report.find("worst_class")
    reason = f"class agreement is {agreement:.1%}" if agreement is not None else "conditions are not followed"
    reason += "" if worst is None else f", {worst.title} {worst.value:.1%}"
    second = findings.value("second_opinion")
    reason += "" if second is None else f", by a second classifier {second:.1%}"
    best = _better_weight(findings, "class agreement")
    if best is None:
        return _train_longer(findings, reason)
    weight, value = best
    effect = f"class agreement near {value:.1%}, as the sweep of guidance shows; precision and recall may fall"
    command = findings.commands.evaluate(guidance=weight)
    return Remedy("guidance", f"Guide with weight {weight:g}", reason, effect, command)


def _better_weight(findings: Findings, name: str) -> tuple[float, float] | None:
    """The guidance weight of a curve's best value, and the value, if significantly better than at the run's own."""
    curve, own = findings.curves("guidance_sweep").get(name), getattr(findings.sampling, "guidance", None)
    if curve is None or own is None or own not in curve.x or not curve.low:
        return None
    values = [value or 0.0 for value in curve.y]
    best, place = max(range(len(values)), key=values.__getitem__), list(curve.x).index(own)
    # Disjoint intervals: the best of several points is a little too good by chance.
    is_sure = (curve.low[best] or 0.0) > (curve.high[place] or 1.0)
    return (curve.x[best], values[best]) if is_sure else None


def _over_guided(findings: Findings) -> Remedy | None:
    """Precision is better at a smaller weight than the run's own: guidance moves samples off the data."""
    best, own = _better_weight(findings, "precision"), getattr(findings.sampling, "guidance", None)
    if not findings.has_failed("valid") or best is None or own is None or not best[0] < own:
        return None
    reason = f"precision is {best[1]:.1%} at guidance weight {best[0]:g}, significantly higher than at {own:g}"
    if hasattr(findings.sampling, "guidance_rescale"):
        command = findings.commands.evaluate(guidance_rescale=0.7, guidance_interval=(0.3, 5.0))
        effect = "samples nearer to the data, with most of the guidance (docs/results)"
        return Remedy("guidance", "Guide at middle noise levels alone, and rescale", reason, effect, command)
    effect = f"precision near {best[1]:.1%}, as the sweep of guidance shows; class agreement may fall"
    return Remedy("guidance", "Guide less", reason, effect, findings.commands.evaluate(guidance=best[0]))


def _coverage(findings: Findings) -> Remedy | None:
    if not findings.has_failed("diverse"):
        return None
    row = findings.report.find("coverage")
    reason = "parts of the data are not covered"
    if row is not None and row.reference is not None:
        reason = f"coverage is {row.value:.1%}, that of real examples {row.reference:.1%}"
    own = getattr(findings.sampling, "guidance", None)
    if own is not None and own > 1:
        effect = "more of the data covered; class agreement may fall"
        return Remedy("guidance", "Guide less", reason, effect, findings.commands.evaluate(guidance=1.0))
    return _train_longer(findings, reason)


def _filter(findings: Findings) -> Remedy | None:
    auc = findings.facts.get("best_auc", 0.0)
    if auc < MIN_AUC or "acceptance" in findings.facts:
        return None
    reason = f"a detector separates violations from good samples with an AUC of {auc:.3f}"
    effect = "enough judged samples to certify a threshold for a filter"
    command = findings.commands.evaluate(num_samples=10_000, detector_samples=10_000)
    return Remedy("num_samples", "Judge more samples for the filter", reason, effect, command)


def _undecided(findings: Findings) -> Remedy | None:
    """As many samples as decide the undecided comparisons that samples can decide."""
    needed = [
        check.num_needed
        for criterion in findings.report.criteria
        for check in criterion.checks
        if check.state == "undecided" and check.num_needed is not None
    ]
    if not needed:
        return None
    num = min(max(needed), MAX_RECOMMENDED)
    reason = f"undecided at n = {findings.report.num_samples}: {len(needed)} of the comparisons with real data"
    effect = "narrower intervals: each comparison then passes or fails, if its difference stays as it is"
    return Remedy("num_samples", "Measure more samples", reason, effect, findings.commands.evaluate(num_samples=num))


MAX_RECOMMENDED = 50_000
"""Samples that a command draws at most."""

RULES: Sequence[Rule] = (
    _consistency,
    _copying,
    _sampler,
    _adherence,
    _over_guided,
    _coverage,
    _undecided,
    _filter,
)
"""The rules, most urgent first."""
