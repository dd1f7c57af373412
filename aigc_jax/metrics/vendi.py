"""Vendi score: the effective number of different samples."""

from __future__ import annotations

import numpy as np

from aigc_jax.metrics.checks import Features, checked_features


def vendi_score(features: Features) -> float:
    """Exponential of the entropy of the eigenvalues of K / n, K [n, n] the cosines between features.

    It does not depend on real examples: compare it with theirs at the same n. Centre features that have one sign (after
    a ReLU), or all of them look alike.

    Args:
        features: [N, d]; divided by their lengths. Those of length 0 count as equal to none.

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
    values = values.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit = np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
    gram = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    num = np.trace(gram)
    if not num:
        return 1.0  # without a direction all samples are one
    shares = np.linalg.eigvalsh(gram) / num
    # 0 log 0 = 0, and rounding makes some zeros negative.
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))
