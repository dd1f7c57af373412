"""The guard of a run, ``guard.json``: a detector, its threshold, and the samples that it was calibrated on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import fisher_exact, ks_2samp

from aigc_jax.data.arrays import evenly_spaced
from aigc_jax.data.files import read_json, visible, write_text
from aigc_jax.evaluation.certificate import is_digest
from aigc_jax.guards.calibration import Threshold
from aigc_jax.guards.conformal import MeanLossThreshold
from aigc_jax.guards.typicality import Typical
from aigc_jax.types import UsageError

FILE = "guard.json"
FORMAT = 1

MAX_QUANTILES = 1000
"""Scores of the calibrating samples that a guard keeps, evenly spaced in their order."""

DRIFT_LEVEL = 0.01
"""Probability of a false alarm that the scores have moved."""

_LARGEST = float(np.finfo(np.float64).max)
_ADVICE = "restore it from a copy, or make it anew: aigc-jax calibrate"


class GuardRecord(NamedTuple):
    """Content of ``guard.json``."""

    config: str  # the name of the run's configuration
    checkpoint: str  # its step, or best
    weights: str  # SHA-256 of its weights
    seed: int  # of the labelled samples
    sampling: dict[str, Any]  # all that their distribution depends on beside the weights, by name
    judge: str  # world, classifier or file
    by_classifier: bool  # whether a classifier judged in place of the data's world, and gave the features
    unreliable: str  # the samples that it keeps out, in words
    detector: str
    typical: Typical | None  # of a detector for which typical is best
    threshold: Threshold | MeanLossThreshold
    quantiles: np.ndarray  # of the scores of the labelled samples, float64

    @property
    def guarantee(self) -> str:
        """The guarantee, and what it rests on, in one line."""
        of = self.threshold
        if isinstance(of, MeanLossThreshold):
            return (
                f"the expected grade of a sample by {self.judge}, 0 if it is left out, is at most {of.alpha:g} over "
                f"the {of.n} labelled samples and the new one"
            )
        return (
            f"with probability {100 * (1 - of.delta):g} % over the {of.n} labelled samples, at most "
            f"{100 * of.alpha:g} % of those that pass are {self.unreliable}"
        )


RESTS_ON = {
    Threshold: "exact binomial tests in a fixed sequence (Clopper and Pearson 1934; Angelopoulos et al. 2021)",
    MeanLossThreshold: "conformal risk control (Angelopoulos et al. 2022)",
}
"""The theorem that a guarantee rests on, by the kind of threshold."""


class Drift(NamedTuple):
    """Comparison of scores with those of the calibration: of all, by Kolmogorov and Smirnov, and of those that pass."""

    distance: float
    """Largest difference of the two distribution functions."""
    acceptance: float
    """Share that passes now, to be compared with that of the threshold."""
    p_value: float
    """Twice the smaller of the p-values of the two tests."""
    num: int
    """Number of scores that are compared with those of the calibration."""

    @property
    def has_moved(self) -> bool:
        """Whether the scores are of another distribution, at :data:`DRIFT_LEVEL`."""
        return self.p_value < DRIFT_LEVEL


def quantiles(scores: Float[np.ndarray, " num"]) -> Float[np.ndarray, " kept"]:
    """At most :data:`MAX_QUANTILES` of the scores, in their order; those that are no number are the largest."""
    ordered = np.sort(_finite(scores))
    return ordered[evenly_spaced(len(ordered), MAX_QUANTILES)]


def drift(record: GuardRecord, scores: Float[np.ndarray, " num"]) -> Drift:
    """Whether scores are distributed as those that a guard was calibrated on.

    Evenly spaced ones stand for all of these: they vary less than so many drawn at random, so that a false alarm is no
    more frequent than the level says. That test hardly sees the largest scores, which are those that a guard leaves
    out: of them Fisher's exact test compares the share.
    """
    finite, of = _finite(scores), record.threshold
    found = ks_2samp(record.quantiles, finite)
    num_then, num_now = of.num_tested if isinstance(of, Threshold) else of.n, len(finite)
    then, now = round(of.acceptance * num_then), int(of.accepts(scores).sum())
    shares = fisher_exact([[then, num_then - then], [now, num_now - now]])
    p_value = 2 * min(float(found.pvalue), float(shares.pvalue))  # pyright: ignore[reportAttributeAccessIssue]
    return Drift(float(found.statistic), now / num_now, min(1.0, p_value), num_now)  # pyright: ignore[reportAttributeAccessIssue]


def _finite(scores: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(scores, np.float64), nan=_LARGEST, posinf=_LARGEST, neginf=-_LARGEST)


def write_guard(file: Path, record: GuardRecord) -> None:
    """Write a guard, whole or not at all."""
    threshold = record.threshold._asdict()
    # JSON has no infinity: a guard that accepts all has no limit.
    threshold["value"] = None if threshold["value"] == math.inf else threshold["value"]
    content = {
        "format": FORMAT,
        **record._asdict(),
        "typical": None if record.typical is None else record.typical._asdict(),
        "threshold": threshold,
        "guarantee": record.guarantee,
        "rests_on": RESTS_ON[type(record.threshold)],
        "quantiles": record.quantiles.tolist(),
    }
    write_text(file, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_guard(file: Path) -> GuardRecord:
    """Read a guard of unknown origin; UsageError where anything in it is not of its kind."""
    content = read_json(file, advice=_ADVICE)
    name, number = visible(str(file)), content.pop("format", None)
    if type(number) is not int or number < 1:
        raise UsageError(f"{name} is broken (no valid format): {_ADVICE}")
    if number > FORMAT:
        raise UsageError(f"{name} has format {number}, this library reads up to {FORMAT}: install a newer aigc-jax")
    for made_of_others in ("guarantee", "rests_on"):
        content.pop(made_of_others, None)
    if wrong := [key for key, is_valid in _CHECKS.items() if key not in content or not is_valid(content[key])]:
        raise UsageError(f"{name} is broken (no valid {wrong[0]}): {_ADVICE}")
    if unknown := sorted(content.keys() - _CHECKS.keys()):
        raise UsageError(f"{name} is broken (unknown entry {visible(unknown[0])[:40]}): {_ADVICE}")
    threshold = content["threshold"]
    value = math.inf if threshold["value"] is None else float(threshold["value"])
    texts = {key: visible(content[key])[:200] for key in ("config", "checkpoint", "judge", "unreliable", "detector")}
    return GuardRecord(
        **{
            **content,
            **texts,
            "sampling": {visible(key)[:100]: each for key, each in content["sampling"].items()},
            "typical": None if content["typical"] is None else Typical(**content["typical"]),
            "threshold": (Threshold if "delta" in threshold else MeanLossThreshold)(**{**threshold, "value": value}),
            "quantiles": np.array(content["quantiles"], np.float64),
        }
    )


def _is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and low <= value <= high


def _is_count(value: Any, high: float = 10**18) -> bool:
    return type(value) is int and 0 <= value <= high


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_typical(value: Any) -> bool:
    is_none = value is None
    return is_none or (_has(value, Typical._fields) and _is_number(value["middle"]) and _is_number(value["spread"], 0))


def _is_threshold(value: Any) -> bool:
    """Whether it is a threshold that is certified: no other is written."""
    return (
        (_has(value, Threshold._fields) or _has(value, MeanLossThreshold._fields))
        and (value["value"] is None or _is_number(value["value"]))
        and all(_is_number(value[key], 0, 1) for key in ("acceptance", "risk"))
        and all(0 < value[key] < 1 for key in ("alpha", "delta") if key in value and _is_number(value[key]))
        and all(_is_number(value[key]) for key in ("alpha", "delta") if key in value)
        and all(_is_count(value[key]) and value[key] > 0 for key in ("n", "num_tested") if key in value)
    )


def _is_quantiles(value: Any) -> bool:
    is_list = isinstance(value, list) and 0 < len(value) <= MAX_QUANTILES
    return is_list and all(map(_is_number, value))


def _has(value: Any, keys: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and value.keys() == set(keys)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "config": _is_text,
    "checkpoint": _is_text,
    "weights": is_digest,
    "seed": lambda value: _is_count(value, 2**32 - 1),
    "sampling": lambda value: isinstance(value, dict),
    "judge": _is_text,
    "by_classifier": lambda value: isinstance(value, bool),
    "unreliable": _is_text,
    "detector": _is_text,
    "typical": _is_typical,
    "threshold": _is_threshold,
    "quantiles": _is_quantiles,
}
