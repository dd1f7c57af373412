"""Calibration of a run's detectors on labelled samples: the best one, its threshold, and what is guaranteed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence
from aigc_jax.guards.assess import Assessment, assess, choose
from aigc_jax.guards.calibration import DESIGN, Threshold, calibrate, design_part, min_accepted, samples_needed
from aigc_jax.guards.conformal import MeanLossThreshold, control_mean_loss
from aigc_jax.metrics.intervals import upper_bound
from aigc_jax.runs import settings_of
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import UsageError


class Calibrated(NamedTuple):
    """A detector that was chosen and calibrated on labelled samples."""

    detector: str
    threshold: Threshold | MeanLossThreshold
    assessed: Mapping[str, Assessment]
    """Of the detector, on the samples that chose neither it nor the threshold; of the others, on those that did."""


def distribution(config: TrainConfig, condition: str | None) -> dict[str, Any]:
    """All that the distribution of samples depends on beside the weights, by name, as JSON has it."""
    settings = settings_of(config, "sampling")
    values = {} if settings is None else dataclasses.asdict(settings)
    return json.loads(json.dumps({"condition": "in turn" if condition is None else condition, **values}))


def unreliable(evidence: Evidence) -> Bool[np.ndarray, " num"]:
    """Which samples violate: as the report counts them, and in worlds those of another mode than requested as well.

    Where a classifier judges, its verdict is the definition: a bound of its own errors would need them to be as
    frequent on samples as on held-out data, which nothing guarantees.
    """
    samples = evidence.samples
    truth = evidence.violates(samples)
    return truth | ~samples.is_right if _has_modes(evidence, samples) else truth


def title_of_unreliable(evidence: Evidence) -> str:
    """The samples that :func:`unreliable` counts, in words."""
    title = evidence.violation_title
    return f"{title}, or of another condition" if _has_modes(evidence, evidence.samples) else title


def _has_modes(evidence: Evidence, samples: Examples) -> bool:
    """Whether the conditions of the samples are the modes of a world, which it reads in them."""
    is_read = samples.condition is not None and samples.predictions.predicted is not None
    return (
        is_read and evidence.judge.world is not None and evidence.model.num_classes == len(evidence.judge.class_names)
    )


def calibrated(
    scores: Mapping[str, Float64[np.ndarray, " num"]],
    grades: Float[np.ndarray, " num"],
    *,
    detector: str | None,
    risk: float,
    delta: float,
) -> Calibrated:
    """Choose the best detector on one part of the labelled samples and certify its threshold on the other.

    ``grades`` are 0 and 1 (unreliable), or between: then the detector is to find those above the mean, and the expected
    grade is controlled, of samples that are left out 0.

    Raises:
        UsageError: there are samples of one kind only, no such detector, one that is no better than chance, or too few
            samples to certify the risk.
    """
    if detector is not None and detector not in scores:
        raise UsageError(f"this run has no detector {detector!r}: name one of {', '.join(scores) or 'none at all'}")
    if not scores:
        raise UsageError("this run has no detector: calibrate the run of a denoising model, a GAN or a VAE, say")
    is_graded = not np.isin(grades, (0, 1)).all()
    truth, is_design = grades > (grades.mean() if is_graded else 0.5), design_part(len(grades))
    if is_graded and np.ptp(grades) == 0:
        raise UsageError(f"all of the {len(grades)} labelled samples have the grade {grades[0]:g}: label differences")
    _check_both_kinds(truth, is_design, risk, delta)
    name = detector or choose({each: values[is_design] for each, values in scores.items()}, truth[is_design])
    # The others as the design part sees them: who read their figures on the certifying part would choose by these.
    parts = {each: ~is_design if each == name else is_design for each in scores}
    assessed = {each: assess(values[parts[each]], truth[parts[each]]) for each, values in scores.items()}
    found = assessed[name]
    if found.verdict != "useful":
        area = f"AUC {found.auc.value:.3f}, {found.auc.low:.3f} to {found.auc.high:.3f}"
        chosen = "" if detector else ", the best of this run"
        raise UsageError(
            f"the detector {name}{chosen}, is no better than chance on {int((~is_design).sum())} labelled samples "
            f"({area}): name another --detector, or label more with --num, with another --seed"
        )
    if is_graded:
        controlled = control_mean_loss(scores[name][~is_design], grades[~is_design], risk)
        if not controlled.is_certified:
            raise UsageError(
                f"{controlled.guarantee} {len(truth)} do not suffice with {name}: label more with another --seed, or "
                "raise --risk"
            )
        return Calibrated(name, controlled, assessed)
    threshold = calibrate(scores[name], truth, risk, delta)
    if not threshold.is_certified:
        raise UsageError(_why_uncertified(name, scores[name], truth, risk, delta))
    return Calibrated(name, threshold, assessed)


def _check_both_kinds(truth: np.ndarray, is_design: np.ndarray, risk: float, delta: float) -> None:
    """Refuse labelled samples of one kind, in either part."""
    num, num_bad = len(truth), int(truth.sum())
    if num_bad == num:
        raise UsageError(f"all of the {num} labelled samples are unreliable: no filter keeps any, train longer")
    if not num_bad:
        bound = float(upper_bound(np.array(0), np.array(num), delta))
        enough = (
            "without a guard the risk is as small as that"
            if bound <= risk
            else "raise --num to see any, with another --seed"
        )
        raise UsageError(
            f"none of the {num} labelled samples is unreliable, at most {100 * bound:.2g} % with probability "
            f"{100 * (1 - delta):g} %: there is nothing to calibrate by, {enough}"
        )
    for part in (is_design, ~is_design):
        if not 0 < truth[part].sum() < part.sum():
            raise UsageError(
                f"{num_bad} of the {num} labelled samples are unreliable, too few of one kind to choose a detector and "
                f"to certify it: pass --num {4 * num}"
            )


def _why_uncertified(name: str, scores: np.ndarray, truth: np.ndarray, risk: float, delta: float) -> str:
    """Why no threshold is certified, and how many samples would probably do."""
    least = math.ceil(min_accepted(risk, delta) / (1 - DESIGN))
    text = (
        f"{len(truth)} labelled samples do not certify a risk of {100 * risk:g} % by {name} with probability "
        f"{100 * (1 - delta):g} %"
    )
    needed = samples_needed(scores, truth, risk, delta)
    if needed is None and least <= len(truth):
        return f"{text}, and more may not either, for no threshold keeps so few unreliable ones: raise --risk"
    return f"{text}: about {max(needed or 0, least)} would do: pass --num with another --seed, or raise --risk"
