"""Hallucination of a model whose probability of every possible statement is known, and the bound of calibrated models.

A model g states each possible statement with a probability, the world p likewise, false ones never. All figures are
sums over statements: none is estimated from samples. Texts that are no statement are false, and have the rest of g.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from aigc_jax.types import UsageError

TRAINING_COUNTS = {"never": (0, 0), "once": (1, 1), "2 to 5 times": (2, 5), "6 times or more": (6, None)}
"""Groups of questions by how many training statements answer them: least and greatest number."""


class HallucinationBound(NamedTuple):
    """The hallucination rate of a model and its lower bound, see :func:`hallucination_bound`."""

    hallucination_rate: float
    monofact_rate: float
    missing_mass: float
    miscalibration: float
    error: float

    @property
    def floor(self) -> float:
        """Monofact rate less miscalibration: the bound without its error term."""
        return self.monofact_rate - self.miscalibration

    @property
    def bound(self) -> float:
        """The lower bound of the hallucination rate."""
        return self.floor - self.error


class CountGroup(NamedTuple):
    """The questions of one group of :data:`TRAINING_COUNTS`."""

    title: str
    num_questions: int
    share: float
    """Share of the model's statements that are about them."""
    hallucination_rate: float
    """Share of these that are false."""
    accuracy: float
    """Share of the questions of which the model's most probable answer is true."""


def monofact_rate(counts: Int[np.ndarray, " statement"]) -> float:
    """Share of training examples that are the only one of their statement: the Good-Turing estimate of missing mass.

    Args:
        counts: how often each statement occurs in training.

    Raises:
        UsageError: none occurs.

    Reference:
        Good, "The Population Frequencies of Species and the Estimation of Population Parameters", 1953; Kalai, Vempala,
        "Calibrated Language Models Must Hallucinate", 2024 (monofacts).

    >>> monofact_rate(np.array([3, 1, 0, 1]))
    0.4
    """
    if not counts.sum():
        raise UsageError("expected training statements to count, got none: name the data that the model learned from")
    return float(np.sum(counts == 1) / counts.sum())


def bins_of(g: Float[np.ndarray, " statement"], num_bins: int | None = None) -> Int[np.ndarray, " statement"]:
    """The bin of each statement: those of one probability together, or bins of about equal mass.

    Args:
        g: the model's probability of each statement.
        num_bins: number of bins, filled in the order of g; statements of equal probability are in one bin. None for a
            bin of each probability.

    >>> bins_of(np.array([0.1, 0.3, 0.1, 0.5])).tolist()
    [0, 1, 0, 2]
    """
    levels, level = np.unique(g, return_inverse=True)
    if num_bins is None:
        return level.reshape(-1)
    mass = np.bincount(level.reshape(-1), weights=g, minlength=len(levels))
    middle = np.cumsum(mass) - mass / 2
    number = np.minimum((middle / max(mass.sum(), 1e-300) * num_bins).astype(np.int64), num_bins - 1)
    return np.unique(number, return_inverse=True)[1][level.reshape(-1)]


def miscalibration(
    g: Float[np.ndarray, " statement"], p: Float[np.ndarray, " statement"], *, num_bins: int | None = None
) -> float:
    """Half the sum over bins of the difference of the bin's probability by the model and by the world.

    Args:
        g: the model's probability of each statement; the rest, of texts that are none, is a bin of its own.
        p: the world's.
        num_bins: see :func:`bins_of`; a network gives no two statements the same probability, so it needs bins.

    Returns:
        A number in [0, 1]: 0 for a calibrated model. More bins give more, up to the total variation distance.

    Reference:
        Kalai, Vempala, "Calibrated Language Models Must Hallucinate", 2024 (miscalibration of generators).

    >>> g, p = np.array([0.25, 0.25, 0.5]), np.array([0.5, 0.0, 0.5])
    >>> miscalibration(g, p), miscalibration(np.array([1.0, 0.0, 0.0]), p)
    (0.0, 0.5)
    """
    bins = bins_of(g, num_bins)
    return float(np.abs(np.bincount(bins, weights=p - g)).sum() + abs(1.0 - g.sum())) / 2


def hallucination_bound(
    g: Float[np.ndarray, " statement"],
    p: Float[np.ndarray, " statement"],
    counts: Int[np.ndarray, " statement"],
    *,
    num_bins: int | None = None,
    is_true: Bool[np.ndarray, " statement"] | None = None,
) -> HallucinationBound:
    r"""The hallucination rate, 1 - g(true statements), and its lower bound by monofact rate and miscalibration.

    A calibrated model hallucinates about as often as its training set holds statements once. The leading terms are
    those of Kalai and Vempala; their error term holds for worlds at random, this one for the given world, exactly.
    Let N be what training never states, true or not, U the true statements in N, and q(N) = sum_B p(B) |N and B| / |B|
    and r(N), likewise of g, the probabilities of N when each bin B spreads its own evenly. Then

    1. g(false) = g(N) - g(U), as training states no false statement;
    2. r(N) >= q(N) - Mis, as Mis is the total variation distance of the two spread distributions;
    3. so g(false) >= p(N) - Mis - [g(U) + (p(N) - q(N)) + (r(N) - g(N))], and p(N) is the missing mass, of which the
       monofact rate is the Good-Turing estimate.

    Args:
        g: the model's probability of each statement.
        p: the world's, 0 of false ones.
        counts: how often training states each; of false ones never.
        num_bins: see :func:`bins_of`.
        is_true: whether each statement is true, those too that the world never makes; None for all that it makes.

    Returns:
        The rate and the terms; ``bound`` never exceeds the rate. ``error`` is the bracket of 3, and how far the
        monofact rate is above the missing mass.

    Raises:
        UsageError: training states nothing, or what is false.

    Reference:
        Kalai, Vempala, "Calibrated Language Models Must Hallucinate", 2024, theorem 1.

    >>> g, p = np.array([0.25, 0.25, 0.5]), np.array([0.5, 0.0, 0.5])
    >>> found = hallucination_bound(g, p, np.array([0, 0, 1]))
    >>> found.hallucination_rate, found.missing_mass, found.bound
    (0.25, 0.5, 0.25)
    """
    is_true = p > 0 if is_true is None else is_true
    if np.any(counts[~is_true] > 0):
        raise UsageError("training statements must be true in the world: name the data of the same world")
    is_new = counts == 0
    bins = bins_of(g, num_bins)
    share_new = np.bincount(bins, weights=is_new) / np.bincount(bins)
    mass = {name: np.bincount(bins, weights=values) for name, values in (("g", g), ("p", p))}
    missing = float(p[is_new].sum())
    spread = {name: float(values @ share_new) for name, values in mass.items()}
    monofacts = monofact_rate(counts)
    error = float(g[is_new & is_true].sum()) + (missing - spread["p"]) + (spread["g"] - float(g[is_new].sum()))
    return HallucinationBound(
        float(1.0 - g[is_true].sum()),
        monofacts,
        missing,
        miscalibration(g, p, num_bins=num_bins),
        error + monofacts - missing,
    )


def is_ahead(
    g: Float[np.ndarray, "question answer"], is_true: Bool[np.ndarray, "question answer"]
) -> Bool[np.ndarray, "question answer"]:
    """Whether each statement is true, and more probable than every false answer to its question.

    >>> is_ahead(np.array([[0.3, 0.1, 0.2]]), np.array([[True, True, False]])).tolist()
    [[True, False, False]]
    """
    return is_true & (g > np.where(is_true, -1.0, g).max(axis=1, keepdims=True))


def by_training_count(
    g: Float[np.ndarray, "question answer"],
    is_true: Bool[np.ndarray, "question answer"],
    counts: Int[np.ndarray, "question answer"],
) -> list[CountGroup]:
    """Statements and closed-book answers of a model, by how often training answers each question.

    Args:
        g: the model's probability of each statement.
        is_true: whether each is true.
        counts: how often training states each.

    Returns:
        The groups of :data:`TRAINING_COUNTS` that have a question; their shares add up to the sum of g.

    >>> g, is_true = np.array([[0.1, 0.3], [0.5, 0.1]]), np.array([[True, False], [True, False]])
    >>> [(each.title, each.accuracy) for each in by_training_count(g, is_true, np.array([[0, 0], [4, 0]]))]
    [('never', 0.0), ('2 to 5 times', 1.0)]
    """
    number = counts.sum(axis=1)
    is_right = np.take_along_axis(is_true, g.argmax(axis=1)[:, None], axis=1)[:, 0]
    groups = []
    for title, (low, high) in TRAINING_COUNTS.items():
        chosen = (number >= low) & (number <= (np.inf if high is None else high))
        if chosen.any():
            share, false = float(g[chosen].sum()), float(g[chosen][~is_true[chosen]].sum())
            rate = false / share if share else float("nan")
            groups.append(CountGroup(title, int(chosen.sum()), share, rate, float(is_right[chosen].mean())))
    return groups
