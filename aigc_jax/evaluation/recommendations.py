"""Recommendations: rules from measurements to remedies, as printed at the end of a report.

They are rules of thumb from measured effects (docs/results): measure again after each. A rule whose measurements are
missing recommends nothing; a command is printed only where one command does it.
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


Rule = Callable[[Findings], Recommendation | None]


def recommendations(findings: Findings) -> list[Recommendation]:
    """Remedies to try next, most urgent first."""
    return [found for rule in RULES if (found := rule(findings)) is not None]


def _consistency(findings: Findings) -> Recommendation | None:
    if not findings.has_failed("consistent"):
        return None
    distinct = findings.value("distinct_samples")
    reason = "the same keys do not give the same samples, or different keys do"
    reason += "" if distinct is None else f": {distinct:.1%} of the samples are distinct"
    return Recommendation("Look for a key that is used twice, or for state outside of the function", reason)


def _copying(findings: Findings) -> Recommendation | None:
    if not findings.has_failed("not_copied"):
        return None
    copied = findings.value("copied_samples")
    reason = "samples lie nearer to training examples than held-out examples do"
    reason += "" if copied is None else f": {copied:.1%} of them by the calibrated distance"
    return Recommendation("Remove duplicates from the data, augment, or stop earlier", reason)


def _sampler(findings: Findings) -> Recommendation | None:
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
        return Recommendation(f"Draw with {best}", reason, findings.commands.evaluate(sampler=best))
    if ends[own] > 2 * floor:
        reason = f"every sampler has more violations than the floor of {floor:.1%}: the network errs, not the sampler"
        return Recommendation("Train longer, on more data, or a larger network", reason, findings.commands.train_longer)
    return None


def _last_interval(series: Any) -> tuple[float, float]:
    """The interval of a curve's last point; without one, the point itself."""
    last = float(series.y[-1] or 0.0)
    return (series.low[-1], series.high[-1]) if series.low and series.high else (last, last)


def _adherence(findings: Findings) -> Recommendation | None:
    if not findings.has_failed("follows_condition"):
        return None
    agreement, worst = findings.value("class_agreement"), findings.report.find("worst_class")
    reason = f"class agreement is {agreement:.1%}" if agreement is not None else "conditions are not followed"
    reason += "" if worst is None else f", {worst.title} {worst.value:.1%}"
    second = findings.value("second_opinion")
    reason += "" if second is None else f", by a second classifier {second:.1%}"
    best = _better_weight(findings, "class agreement")
    if best is None:
        return Recommendation("Train longer", reason, findings.commands.train_longer)
    weight, value = best
    reason += f"; {value:.1%} at guidance weight {weight:g}"
    command = findings.commands.evaluate(guidance=weight)
    return Recommendation("Another guidance weight; watch precision and recall", reason, command)


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


def _over_guided(findings: Findings) -> Recommendation | None:
    """Precision is better at a smaller weight than the run's own: guidance moves samples off the data."""
    best, own = _better_weight(findings, "precision"), getattr(findings.sampling, "guidance", None)
    if not findings.has_failed("valid") or best is None or own is None or not best[0] < own:
        return None
    reason = f"precision is {best[1]:.1%} at guidance weight {best[0]:g}, significantly higher than at {own:g}"
    if hasattr(findings.sampling, "guidance_rescale"):
        command = findings.commands.evaluate(guidance_rescale=0.7, guidance_interval=(0.3, 5.0))
        return Recommendation(
            "Guide at middle noise levels alone, rescale guided predictions, or guide less", reason, command
        )
    return Recommendation("Guide less", reason, findings.commands.evaluate(guidance=best[0]))


def _coverage(findings: Findings) -> Recommendation | None:
    if not findings.has_failed("diverse"):
        return None
    row = findings.report.find("coverage")
    reason = "parts of the data are not covered"
    if row is not None and row.reference is not None:
        reason = f"coverage is {row.value:.1%}, that of real examples {row.reference:.1%}"
    if findings.has_failed("not_copied"):
        return Recommendation("More data before more training", reason + ", and samples are copied")
    own = getattr(findings.sampling, "guidance", None)
    if own is not None and own > 1:
        return Recommendation("Guide less", reason, findings.commands.evaluate(guidance=1.0))
    return Recommendation("Train longer, or a larger network", reason, findings.commands.train_longer)


def _filter(findings: Findings) -> Recommendation | None:
    auc, acceptance = findings.facts.get("best_auc", 0.0), findings.facts.get("acceptance")
    if auc < MIN_AUC:
        return None
    reason = f"a detector separates violations from good samples with an AUC of {auc:.3f}"
    if acceptance is not None:
        reason += f"; its calibrated threshold accepts {acceptance:.1%}"
        return Recommendation("Filter with the calibrated detector", reason)
    reason += ", but too few judged samples certify a threshold"
    command = findings.commands.evaluate(num_samples=10_000, detector_samples=10_000)
    return Recommendation("Judge more samples for the filter, or allow more risk", reason, command)


def _reproducible(findings: Findings) -> Recommendation | None:
    row = findings.report.find("model_consistency")
    if row is None or row.reference is None or not row.value - row.reference <= 0.3:
        return None
    reason = f"two models agree on {row.value:.1%} of the noises, by chance on {row.reference:.1%}"
    return Recommendation("More data, a weight average, or a deterministic sampler, for models that agree", reason)


RULES: Sequence[Rule] = (_consistency, _copying, _sampler, _adherence, _over_guided, _coverage, _filter, _reproducible)
"""The rules, most urgent first."""
