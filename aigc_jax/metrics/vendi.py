"""The Vendi score: how many different samples there are, in effect. Of a set at hand, or batch by batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from aigc_jax.metrics.neighbors import Features, checked_features
from aigc_jax.types import Metric, UsageError


class VendiState(NamedTuple):
    """The second moment of normalised features.

    Attributes:
        num_samples: number of vectors, those of length 0 included.
        gram: sum of the outer products of the others, each divided by its length.
    """

    num_samples: int
    gram: Float64[np.ndarray, "num_features num_features"]


def vendi_score(features: Features) -> float:
    """Exp of the entropy of the eigenvalues of K / n, K [n, n] the cosines between features.

    It knows nothing of real examples: compare it with theirs at the same n. Centre features that have one sign (after
    a ReLU), or all of them look alike.

    Args:
        features: [N, d]; their length is taken out, a feature of length 0 is like none.

    Returns:
        A number in [1, min(N, d)]: N for orthogonal features, 1 for parallel ones. The eigenvalues are those of a
        d x d matrix where that is the smaller one: they are the same but for zeros.

    Raises:
        UsageError: no features, or features that are not finite.

    Reference:
        Friedman & Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning", 2023, definition 3.1.

    >>> round(vendi_score(np.eye(20)), 6), round(vendi_score(np.ones((7, 3))), 6)
    (20.0, 1.0)
    """
    (values,) = checked_features(features=features)
    unit = _directions(values)
    return _effective_number(unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit)


def vendi_statistics(num_features: int) -> Metric:
    """The same score, batch by batch: the d x d matrix is a sum over samples, so that it streams exactly.

    ``update`` takes features [B, num_features]; ``compute`` gives ``num_samples`` and ``vendi``, NaN without samples.

    Args:
        num_features: length d of a feature vector, >= 1.

    Returns:
        A metric whose state is :class:`VendiState`.

    >>> metric = vendi_statistics(2)
    >>> state = metric.update(metric.update(metric.init(), np.array([[2.0, 0.0]])), np.array([[0.0, 1.0]]))
    >>> round(metric.compute(state)["vendi"], 6)
    2.0
    """

    def init() -> VendiState:
        return VendiState(0, np.zeros((num_features, num_features)))

    def update(state: VendiState, features: Features) -> VendiState:
        values = np.asarray(features)
        if values.shape[1] != num_features:
            raise ValueError(f"expected features [B, {num_features}], got shape {values.shape}")
        if not np.isfinite(values).all():
            raise UsageError("expected finite features, got NaN or infinity: look at what was encoded")
        unit = _directions(values)
        return VendiState(state.num_samples + len(values), state.gram + unit.T @ unit)

    def merge(a: VendiState, b: VendiState) -> VendiState:
        return VendiState(a.num_samples + b.num_samples, a.gram + b.gram)

    def compute(state: VendiState) -> dict[str, Any]:
        vendi = _effective_number(state.gram) if state.num_samples else float("nan")
        return {"num_samples": state.num_samples, "vendi": vendi}

    return Metric(init, update, merge, compute)


def _directions(features: np.ndarray) -> np.ndarray:
    """Features divided by their lengths; 0 where there is no direction."""
    values = features.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)


def _effective_number(gram: np.ndarray) -> float:
    """Of a matrix whose trace is the number of directions: 1 where there are none, as all samples are then one."""
    num = np.trace(gram)
    if not num:
        return 1.0
    shares = np.linalg.eigvalsh(gram) / num
    # 0 log 0 = 0, and rounding makes some zeros negative.
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))
