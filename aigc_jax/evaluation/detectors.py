"""Detectors of a model's samples: all scores at once, or one score of any samples of its sequence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.model import EvaluatedModel, NamedDetector, Scorer
from aigc_jax.evaluation.section import Evidence
from aigc_jax.guards.neighbors import inverse_realism, neighbor_distance
from aigc_jax.guards.typicality import Typical, typical
from aigc_jax.types import UsageError

NUM_REAL = 500
"""Real examples that a typical score is taken from."""

NEIGHBORS: dict[str, Callable[[Evidence, Examples], np.ndarray]] = {
    "realism": lambda evidence, samples: inverse_realism(
        evidence.inside if samples is evidence.samples else evidence.overlap(samples)
    ),
    "neighbor_distance": lambda evidence, samples: neighbor_distance(
        evidence.features(evidence.train), evidence.features(samples)
    ),
}
"""Detectors by the nearest real examples in the features of the judge."""


def all_scores(evidence: Evidence, num: int) -> dict[str, Float64[np.ndarray, " num"]]:
    """``{detector: score [num]}`` of the first samples; higher is less reliable."""
    model, samples = evidence.model, evidence.samples
    scores: dict[str, np.ndarray] = {}
    # Where being off the data is the truth itself, neighbours in the same features would only repeat it.
    if evidence.judge.world is not None or samples.condition is not None:
        try:
            scores = {name: score(evidence, samples)[:num] for name, score in NEIGHBORS.items()}
        except UsageError:  # too few examples, or no features
            scores.clear()
    samples = samples.select(slice(0, num))
    for detector in model.detectors:
        values = np.asarray(detector.score_fn(samples.loaded(), samples.condition, 0), np.float64)
        middle = typical_of(evidence, detector)
        scores[detector.name] = values if middle is None else middle.distance(values)
    if model.trace_fn is not None:
        _, traced = model.trace_fn(0, samples.condition, num)
        scores |= {name: np.asarray(values, np.float64) for name, values in traced.items()}
    return scores


def typical_of(evidence: Evidence, detector: NamedDetector) -> Typical | None:
    """The typical scores of real examples, where typical is best; None otherwise."""
    if not detector.is_typical_best:
        return None
    real = evidence.held_out.select(slice(0, NUM_REAL))
    return typical(np.asarray(detector.score_fn(real.loaded(), real.condition, 0)))


def make_scorer(name: str, middle: Typical | None, model: EvaluatedModel, evidence: Callable[[], Evidence]) -> Scorer:
    """The detector of that name as a function of samples as the model draws them, their conditions, and their start.

    ``evidence`` is called only for a detector that compares samples with real examples.
    """
    modality = model.modality
    if name in NEIGHBORS:
        known = evidence()
        is_same = known.judge.modality.load is modality.load

        def by_neighbors(samples: np.ndarray, condition: np.ndarray | None, start: int) -> np.ndarray:
            stored = modality.store(samples)
            predictions = known.judge.predict(samples if is_same else known.judge.modality.load(stored))
            return NEIGHBORS[name](known, Examples(stored, condition, predictions, modality))

        return by_neighbors
    detector = next((each for each in model.detectors if each.name == name), None)
    if detector is not None:
        score_fn = detector.score_fn

        def by_model(samples: np.ndarray, condition: np.ndarray | None, start: int) -> np.ndarray:
            values = np.asarray(score_fn(modality.load(modality.store(samples)), condition, start), np.float64)
            return values if middle is None else middle.distance(values)

        return by_model
    trace_fn = model.trace_fn

    def by_trace(samples: np.ndarray, condition: np.ndarray | None, start: int) -> np.ndarray:
        drawn, traced = (samples, {}) if trace_fn is None else trace_fn(start, condition, len(samples))
        if name not in traced:
            known = [*NEIGHBORS, *(each.name for each in model.detectors), *traced]
            raise UsageError(f"this run has no detector {name!r}, it has {', '.join(known)}: name one of them")
        # As with --rule-guidance, which draws others: the trajectory would be that of another sample.
        if np.abs(np.asarray(drawn) - samples).mean() > 0.1 * max(float(np.std(samples)), 1e-6):
            raise UsageError(f"the samples are not those of the run's own trajectories, that {name} scores: leave it")
        return np.asarray(traced[name], np.float64)

    return by_trace
