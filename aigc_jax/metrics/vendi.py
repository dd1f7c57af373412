"""The Vendi score: how many different samples there are, in effect."""

from __future__ import annotations

import numpy as np

from aigc_jax.metrics.neighbors import Features
from aigc_jax.types import UsageError


def vendi_score(features: Features) -> float:
    """Exp of the entropy of the eigenvalues of K / n, K the cosine similarities.

    Args:
        features: [N, F]; their length is taken out, a feature of length 0 is like none.

    Returns:
        A number in [1, N]: N for orthogonal features, 1 for equal ones. The eigenvalues are those of the F x F matrix
        where that is the smaller one: they are the same but for zeros.

    Raises:
        UsageError: no features.

    Reference:
        Friedman & Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning", 2023, definition 3.1.

    >>> round(vendi_score(np.eye(20)), 6), round(vendi_score(np.ones((7, 3))), 6)
    (20.0, 1.0)
    """
    if not len(features):
        raise UsageError("a Vendi score needs at least one sample, got none")
    values = features.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit = np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
    gram = (unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit) / len(unit)
    eigenvalues = np.linalg.eigvalsh(gram)
    kept = eigenvalues[eigenvalues > 1e-12]
    return float(np.exp(-np.sum(kept * np.log(kept))))
