"""What to try next, and why: rules from figures to remedies, as printed at the end of a report.

Each rule names the figures that call for it; a rule whose figures are missing says nothing. They are rules of thumb
from measured effects (docs/results.md), not promises: measure again after each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from aigc_jax.report.figures import Figure, Lines
from aigc_jax.report.schema import Criterion, CriterionName, Measurement, Recommendation

IDEAL = ", exact denoiser"
"""How the name of a curve ends that is no sampler to choose: the world's own denoiser drew it."""


_MORE_LABELS = "aigc-jax evaluate RUN --num-samples 10000 --detector-samples 10000"


class Findings(NamedTuple):
    """What the rules look at.

    Attributes:
        measurements: by name.
        criteria: by name.
        figures: by name.
        best_auc: the largest area under the ROC curve of any detector, or None.
        acceptance: share of the samples that the calibrated filter accepts, or None where none is certified.
        guidance: the weight that the samples were drawn with, None for a model without guidance.
        takes_rescaling: whether guidance can be rescaled, and kept to an interval.
    """

    measurements: dict[str, Measurement]
    criteria: dict[CriterionName, Criterion]
    figures: dict[str, Figure]
    best_auc: float | None = None
    acceptance: float | None = None
    guidance: float | None = None
    takes_rescaling: bool = False

    def value(self, name: str) -> float | None:
        """A measured figure, None where there is none."""
        row = self.measurements.get(name)
        return None if row is None else row.value

    def has_failed(self, name: CriterionName) -> bool:
        """Whether a light says that the samples are worse than real data."""
        criterion = self.criteria.get(name)
        return bool(criterion and criterion.has_failed)


Rule = Callable[[Findings], Recommendation | None]


def recommendations(findings: Findings) -> list[Recommendation]:
    """What to try next.

    Args:
        findings: what was measured.

    Returns:
        The most urgent first; [] where nothing calls for any.

    >>> recommendations(Findings({}, {}, {}))
    []
    """
    return [action for rule in RULES if (action := rule(findings)) is not None]


def _sampler(findings: Findings) -> Recommendation | None:
    """High rate, and a sampler that errs less: the sampler alone moves the rate by orders of magnitude."""
    sweep = findings.figures.get("sampler_sweep")
    if (not findings.has_failed("valid") and not findings.has_failed("follows_condition")) or not isinstance(
        sweep, Lines
    ):
        return None
    # The last point of each curve: the most evaluations.
    ends = {series.name: float(series.y[-1] or 0.0) for series in sweep.series}
    exact = [rate for name, rate in ends.items() if name.endswith(IDEAL)]
    ends = {name: rate for name, rate in ends.items() if not name.endswith(IDEAL)}
    best, own = min(ends, key=lambda name: ends[name]), next(iter(ends))
    floor = max([*exact, *sweep.floors.values()], default=0.0)
    is_sure = _ends(sweep, best)[1] < _ends(sweep, own)[0]
    if best != own and ends[own] > 1.5 * max(ends[best], floor) and is_sure:
        reason = f"{own} errs in {ends[own]:.1%}, {best} in {ends[best]:.1%} of the samples at the most steps tried"
        return Recommendation(f"Draw with {best}", reason, f"aigc-jax evaluate RUN --sampler {best}")
    if ends[own] > 2 * floor:
        reason = f"every sampler errs above the floor of {floor:.1%}: the network is what is wrong, not the sampler"
        return Recommendation(
            "Train longer, on more data, or a larger network", reason, "aigc-jax train CONFIG --steps ..."
        )
    return None


def _ends(sweep: Lines, name: str) -> tuple[float, float]:
    """Both ends of the interval of a curve's last point; no interval is none to overlap with."""
    series = next(series for series in sweep.series if series.name == name)
    last = float(series.y[-1] or 0.0)
    return (series.low[-1], series.high[-1]) if series.low and series.high else (last, last)


def _filter(findings: Findings) -> Recommendation | None:
    if findings.best_auc is None or findings.best_auc < 0.9:
        return None
    reason = f"a detector tells violations from good samples with an AUC of {findings.best_auc:.3f}"
    if findings.acceptance is None:
        reason += ", but so few labelled samples certify no threshold"
        return Recommendation("Label more samples for the filter, or allow more risk", reason, _MORE_LABELS)
    reason += f"; the calibrated threshold accepts {findings.acceptance:.1%}"
    return Recommendation("Filter with the calibrated detector", reason)


def _adherence(findings: Findings) -> Recommendation | None:
    if not findings.has_failed("follows_condition"):
        return None
    agreement, worst = findings.value("class_agreement"), findings.measurements.get("worst_class")
    reason = f"class agreement is {agreement:.1%}" if agreement is not None else "conditions are not followed"
    reason += "" if worst is None else f", {worst.title} {worst.value:.1%}"
    second = findings.value("second_opinion")
    reason += "" if second is None else f", by a second classifier {second:.1%}"
    best = _better_weight(findings, "class agreement")
    if best is not None:
        weight, value = best
        reason += f"; {value:.1%} at guidance weight {weight:g}"
        command = f"aigc-jax evaluate RUN --guidance {weight:g}"
        return Recommendation("Another guidance weight; watch precision and recall", reason, command)
    return Recommendation("Train longer, or weigh the worst class more", reason)


def _better_weight(findings: Findings, name: str) -> tuple[float, float] | None:
    """The guidance weight of the best value of a curve, and that value, if beyond chance better than the run's own."""
    sweep = findings.figures.get("guidance_sweep")
    curves = {series.name: series for series in sweep.series} if isinstance(sweep, Lines) else {}
    curve, own = curves.get(name), findings.guidance
    if curve is None or own is None or own not in curve.x or not curve.low:
        return None
    values = [value or 0.0 for value in curve.y]
    best, place = max(range(len(values)), key=values.__getitem__), list(curve.x).index(own)
    # Intervals that do not meet: the best of several points is a little too good by chance.
    is_sure = (curve.low[best] or 0.0) > (curve.high[place] or 1.0)
    return (curve.x[best], values[best]) if is_sure else None


def _over_guided(findings: Findings) -> Recommendation | None:
    """Validity is better at a smaller weight than the run's own: it is guidance that pushes samples off the data."""
    best, own = _better_weight(findings, "precision"), findings.guidance
    if not findings.has_failed("valid") or best is None or own is None or not best[0] < own:
        return None
    reason = f"precision is {best[1]:.1%} at guidance weight {best[0]:g}, beyond chance above that at {own:g}"
    if findings.takes_rescaling:
        command = "aigc-jax evaluate RUN --guidance-rescale 0.7 --guidance-interval 0.3 5"
        return Recommendation(
            "Guide at middle noise levels alone, rescale what guidance gives, or guide less", reason, command
        )
    return Recommendation("Guide less", reason, f"aigc-jax evaluate RUN --guidance {best[0]:g}")


def _truncation(findings: Findings) -> Recommendation | None:
    if not findings.has_failed("valid") or "truncation_sweep" not in findings.figures:
        return None
    return Recommendation(
        "Truncate the latents",
        "samples off the data come from the tails of the latent; the truncation figure shows what recall it costs",
    )


def _copying(findings: Findings) -> Recommendation | None:
    if not findings.has_failed("not_copied"):
        return None
    copied = findings.value("copied_samples")
    reason = "samples lie nearer to training examples than held-out examples do"
    reason += "" if copied is None else f": {copied:.1%} of them by the calibrated distance"
    return Recommendation(
        "Remove duplicates from the data, augment, stop earlier", reason, "aigc-jax train CONFIG --steps ..."
    )


def _coverage(findings: Findings) -> Recommendation | None:
    if not findings.has_failed("diverse"):
        return None
    row = findings.measurements.get("coverage")
    reason = "parts of the data are not reached"
    if row is not None and row.reference is not None:
        reason = f"coverage is {row.value:.1%} where real examples reach {row.reference:.1%}"
    if findings.has_failed("not_copied"):
        return Recommendation("More data before more training", reason + ", and samples are copied")
    return Recommendation(
        "Less guidance or truncation; for a GAN, regularise the discriminator and train longer", reason
    )


def _consistency(findings: Findings) -> Recommendation | None:
    if not findings.has_failed("consistent"):
        return None
    distinct = findings.value("distinct_samples")
    reason = "the same keys do not give the same samples, or different keys do"
    reason += "" if distinct is None else f": {distinct:.1%} of the samples are distinct"
    return Recommendation("Look for a key that is used twice, or for state outside of the function", reason)


def _reproducible(findings: Findings) -> Recommendation | None:
    row = findings.measurements.get("model_consistency")
    if row is None or row.reference is None or not row.value - row.reference <= 0.3:
        return None
    reason = f"two models agree on {row.value:.1%} of the noises, chance is {row.reference:.1%}"
    return Recommendation("More data, a weight average, or a deterministic sampler, for models that agree", reason)


RULES: Sequence[Rule] = (
    _consistency,
    _copying,
    _sampler,
    _adherence,
    _over_guided,
    _truncation,
    _coverage,
    _filter,
    _reproducible,
)
"""The rules, most urgent first."""
