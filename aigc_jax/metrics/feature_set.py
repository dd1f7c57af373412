"""Features collected batch by batch, for the figures that need the set itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aigc_jax.metrics.neighbors import Features
from aigc_jax.types import Metric


class FeatureSetState(NamedTuple):
    """Features collected so far.

    Attributes:
        parts: one array [B, num_features] per batch.
    """

    parts: tuple[np.ndarray, ...]


def feature_set(num_features: int) -> Metric:
    """Collect features for the figures that need the set itself.

    Precision, recall, density, coverage, realism (:func:`aigc_jax.metrics.precision_recall.overlap`), copying
    (:func:`aigc_jax.metrics.memorization.memorization`), KID and CMMD (:mod:`aigc_jax.metrics.kernel_distance`) and
    FD_infinity are functions of all pairs or of random subsets: no state of fixed size has them. Fréchet distance and
    Vendi score are of moments, which stream: :func:`aigc_jax.metrics.frechet.frechet_statistics`,
    :func:`aigc_jax.metrics.vendi.vendi_statistics`.

    ``update`` takes features [B, num_features] and keeps a copy of them in their own precision; ``compute`` gives
    ``num_samples`` and ``features`` [num_samples, num_features] in the order in which they came.

    Args:
        num_features: length of a feature vector, >= 1.

    Returns:
        A metric whose state is :class:`FeatureSetState`; its size grows with the number of samples.

    >>> metric = feature_set(2)
    >>> state = metric.update(metric.update(metric.init(), np.ones((1, 2))), np.zeros((2, 2)))
    >>> metric.compute(state)["features"].tolist()
    [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    """

    def update(state: FeatureSetState, features: Features) -> FeatureSetState:
        # A copy: whoever made the batch may write the next one into the same memory.
        values = np.array(features)
        if values.shape[1] != num_features:
            raise ValueError(f"expected features [B, {num_features}], got shape {values.shape}")
        return FeatureSetState((*state.parts, values))

    def merge(a: FeatureSetState, b: FeatureSetState) -> FeatureSetState:
        return FeatureSetState((*a.parts, *b.parts))

    def compute(state: FeatureSetState) -> dict[str, Any]:
        features = np.concatenate(state.parts) if state.parts else np.zeros((0, num_features), np.float32)
        return {"num_samples": len(features), "features": features}

    return Metric(lambda: FeatureSetState(()), update, merge, compute)
