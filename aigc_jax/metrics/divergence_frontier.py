"""The divergence frontier of two distributions over clusters of features: the area under it is MAUVE."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from aigc_jax.metrics.checks import checked_features

SCALE = 5.0
"""How fast a divergence in nats lowers a coordinate of the frontier, c of the paper."""

NUM_MIXTURES = 100
"""Mixtures of the two distributions along the frontier."""


def mauve(
    real: Float[np.ndarray, "num feature"],
    fake: Float[np.ndarray, "other feature"],
    *,
    num_clusters: int,
    seed: int = 0,
) -> float:
    """The area in (0, 1] under the divergence frontier of two sets of features, 1 for equal distributions.

    Both sets together are clustered by k-means, and their shares of the clusters are compared. The score depends on the
    number of clusters and falls with fewer examples: compare it with that of real data of the same number.

    Args:
        real: features of real examples.
        fake: features of generated ones.
        num_clusters: a tenth of the examples of one set is usual.
        seed: of k-means.

    Raises:
        ValueError: arrays that are no features of one encoder, or fewer examples than clusters.

    Reference:
        Pillutla et al., "MAUVE: Measuring the Gap Between Neural Text and Human Text using Divergence Frontiers", 2021,
        equations 2 and 3; the quantisation of section 3.

    >>> features = np.random.default_rng(0).normal(size=(200, 2))
    >>> [round(mauve(features, features + shift, num_clusters=10), 2) for shift in (0, 9)]
    [1.0, 0.0]
    """
    from sklearn.cluster import KMeans

    real, fake = checked_features(real=real, fake=fake)
    if not 2 <= num_clusters <= min(len(real), len(fake)):
        raise ValueError(
            f"expected 2 to {min(len(real), len(fake))} clusters of {len(real)} and {len(fake)} examples, got "
            f"{num_clusters}: give more examples or take fewer clusters"
        )
    # A number of starts, which the stubs of scikit-learn do not know.
    clusters = KMeans(num_clusters, n_init=3, random_state=seed)  # pyright: ignore[reportArgumentType]
    found = np.asarray(clusters.fit_predict(np.concatenate([real, fake])))
    p, q = (np.bincount(part, minlength=num_clusters) / len(part) for part in np.split(found, [len(real)]))
    return frontier_area(p, q)


def frontier_area(p: Float[np.ndarray, " cluster"], q: Float[np.ndarray, " cluster"]) -> float:
    """The area under the divergence frontier of two distributions of the same clusters.

    With mixtures r = w p + (1 - w) q the frontier is exp(-c KL(q | r)), exp(-c KL(p | r)), from (1, 0) to (0, 1).

    Reference:
        Pillutla et al. 2021, equation 2.
    """
    weights = np.linspace(0.0, 1.0, NUM_MIXTURES + 2)[1:-1, None]
    mixtures = weights * p + (1.0 - weights) * q
    x, y = (np.exp(-SCALE * _divergences(side, mixtures)) for side in (q, p))
    # The ends: at w = 0 the mixture is q itself, at w = 1 it is p; the other divergence there counts as infinite.
    x, y = np.concatenate([[1.0], x, [0.0]]), np.concatenate([[0.0], y, [1.0]])
    return float(np.trapezoid(x, y))


def _divergences(p: np.ndarray, mixtures: np.ndarray) -> np.ndarray:
    """KL(p | r) in nats for each mixture r that holds p."""
    is_held = p > 0
    return np.sum(p[is_held] * (np.log(p[is_held]) - np.log(mixtures[:, is_held])), axis=1)
