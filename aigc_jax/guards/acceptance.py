"""Filters: the first samples of a sequence that pass, by a rule or by scores, and bounds of the bad ones among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

from aigc_jax.guards.calibration import Threshold
from aigc_jax.guards.conformal import MeanLossThreshold
from aigc_jax.metrics.intervals import clopper_pearson, upper_bound
from aigc_jax.types import UsageError

SHARE_ERROR = 0.1
"""Probability that the share of one filter among several is bounded in error, in units of its guard's delta."""

SampleFn = Callable[[int, np.ndarray | None, int], np.ndarray]
"""``(start, condition [num] or None, num) -> samples start ... start + num - 1`` of an endless sequence."""

ScoreFn = Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]
"""``(samples, condition [num] or None, start) -> score [num]``; higher is less reliable."""


class Accepted(NamedTuple):
    """The samples that a filter kept."""

    samples: Shaped[np.ndarray, "num ..."]
    places: Int[np.ndarray, " num"]
    """Of each in the sequence of candidates."""
    num_passed: int
    """Candidates that pass among all that were drawn, kept or not."""
    num_drawn: int

    @property
    def acceptance(self) -> tuple[float, float, float]:
        """The share of candidates that pass, with its 95 % interval."""
        return self.num_passed / self.num_drawn, *clopper_pearson(self.num_passed, self.num_drawn)


def first_accepted(
    draw: Callable[[int, int], np.ndarray],
    accept: Callable[[np.ndarray, int], Bool[np.ndarray, " num"]],
    num: int,
    *,
    max_draws: int,
    block_size: int = 64,
) -> Accepted:
    """The first ``num`` samples of a sequence that pass, or those among the first ``max_draws``.

    So the i-th of them depends on the sequence alone, however many are asked for.

    Args:
        draw: ``(start, num) -> samples`` of the sequence.
        accept: ``(samples, start) -> whether each passes``.
        num: samples to keep, >= 1.
        max_draws: candidates at most.
        block_size: candidates that are drawn at a time.

    >>> even = first_accepted(lambda start, num: np.arange(start, start + num), lambda x, _: x % 2 == 0, 3, max_draws=8)
    >>> even.samples.tolist(), even.num_passed, even.num_drawn
    ([0, 2, 4], 4, 8)
    """
    kept, places, num_passed, num_drawn = list[np.ndarray](), list[np.ndarray](), 0, 0
    while num_passed < num and num_drawn < max_draws:
        size = min(block_size, max_draws - num_drawn)
        samples = draw(num_drawn, size)
        is_passed = accept(samples, num_drawn)
        kept.append(samples[is_passed])
        places.append(num_drawn + np.flatnonzero(is_passed))
        num_passed, num_drawn = num_passed + int(is_passed.sum()), num_drawn + size
    return Accepted(np.concatenate(kept)[:num], np.concatenate(places)[:num], num_passed, num_drawn)


def violation_bound(num_false: int, num_broken: int, accepted: Accepted, *, delta: float = 0.05) -> float:
    """Upper bound (1 - delta) of the share of violations among the samples that a fallible filter keeps.

    Of all candidates, at most the share a breaks the rule and passes, where a is the filter's share of false passes;
    of those that pass, a over the acceptance. Both ends are exact (Clopper and Pearson 1934), each with half of delta.
    It holds if candidates that break the rule pass as often as the labelled examples that do.

    Args:
        num_false: labelled examples that break the rule and pass.
        num_broken: labelled examples that break the rule.
        accepted: the filtered samples.
        delta: probability that the bound fails, in (0, 1).

    >>> kept = Accepted(np.zeros(500), np.arange(500), 500, 1000)
    >>> round(violation_bound(0, 1000, kept), 4), violation_bound(0, 0, kept)
    (0.0079, 1.0)
    """
    false = float(upper_bound(np.array(num_false), np.array(num_broken), delta / 2))
    least = _least_share(len(accepted.places), accepted.num_drawn, delta / 2)
    return min(1.0, false / least) if least > 0 else 1.0


def _least_share(num_kept: int, num: int, error: float) -> float:
    """One-sided exact lower bound of the share of candidates that are kept, where drawing ends once enough are.

    Whatever passes besides is not counted: the number of draws until so many are kept, and the number that is kept of
    so many, are small alike.
    """
    return clopper_pearson(num_kept, num, confidence=1 - 2 * error)[0]


class Guard(NamedTuple):
    """A calibrated filter of samples by a score."""

    score_fn: ScoreFn
    threshold: Threshold | MeanLossThreshold


class Guarded(NamedTuple):
    """Samples that passed one guard or several, and what is guaranteed of them."""

    accepted: Accepted
    bound: float
    """The largest share of unreliable samples among those that pass, of all guards together; NaN where all of them
    control a mean loss, which no other filter can raise."""
    delta: float
    """The probability that the bound fails, over the draw of the labelled samples of all guards."""
    scores: tuple[Float64[np.ndarray, " drawn"], ...]
    """Of each guard, of all candidates."""


GuardedSampler = Callable[[int, np.ndarray | None], Guarded]
"""``(num, condition of the candidates or None) -> the first num of them that pass``."""


def guarded(
    sample_fn: SampleFn,
    score_fn: ScoreFn,
    threshold: Threshold | MeanLossThreshold,
    *,
    budget: int = 50,
    block_size: int = 64,
) -> GuardedSampler:
    """A sampler whose samples pass a calibrated filter: the i-th is the i-th of ``sample_fn`` that does.

    So it depends on (checkpoint, seed, i, condition) alone. Candidates are drawn in blocks of a fixed size, until there
    are enough.

    Args:
        sample_fn: the sampler of candidates.
        score_fn: their score, as it was calibrated.
        threshold: of :func:`aigc_jax.guards.calibration.calibrate`, from labelled samples of another seed: those that
            chose the threshold are no evidence for it.
        budget: candidates for each sample, at most.
        block_size: candidates that are drawn at a time.

    Returns:
        The sampler. It needs the conditions of ``budget * num`` candidates, and raises a UsageError where fewer than
        ``num`` of them pass.

    Raises:
        UsageError: the threshold is not certified.

    >>> import math
    >>> threshold = Threshold(4.0, 0.5, 0.0, alpha=0.01, delta=0.05, n=4000, num_tested=3000)
    >>> draw = guarded(lambda start, condition, num: np.arange(start, start + num), lambda x, *_: x % 10.0, threshold)
    >>> found = draw(7, None)
    >>> found.accepted.samples.tolist(), found.bound, found.delta
    ([0, 1, 2, 3, 4, 10, 11], 0.01, 0.05)
    """
    return guarded_by_all(sample_fn, [Guard(score_fn, threshold)], budget=budget, block_size=block_size)


def guarded_by_all(
    sample_fn: SampleFn,
    guards: Sequence[Guard],
    *,
    accept: Callable[[np.ndarray], Bool[np.ndarray, " num"]] | None = None,
    on_passed: Callable[[int], object] = lambda num: None,
    budget: int = 50,
    block_size: int = 64,
) -> GuardedSampler:
    """As :func:`guarded`, by several guards, and by ``accept``, a filter without a guarantee of its own, as a rule.

    The bounds add up (union bound). A guard bounds the unreliable among the samples that pass it; where others take a
    part of those out, the unreliable ones may be all in the rest: its bound is divided by the share of that rest, of
    which the lower end counts (Clopper and Pearson 1934).
    """
    if uncertified := [guard.threshold for guard in guards if not guard.threshold.is_certified]:
        raise UsageError(uncertified[0].guarantee)

    def draw(num: int, condition: np.ndarray | None) -> Guarded:
        scores: list[list[np.ndarray]] = [[] for _ in guards]

        def candidates(start: int, size: int) -> np.ndarray:
            return sample_fn(start, None if condition is None else condition[start : start + size], size)

        def passes(samples: np.ndarray, start: int) -> np.ndarray:
            is_passed = np.ones(len(samples), bool) if accept is None else accept(samples)
            given = None if condition is None else condition[start : start + len(samples)]
            for guard, found in zip(guards, scores, strict=True):
                found.append(np.asarray(guard.score_fn(samples, given, start), np.float64))
                is_passed = is_passed & guard.threshold.accepts(found[-1])
            on_passed(int(is_passed.sum()))
            return is_passed

        accepted = first_accepted(candidates, passes, num, max_draws=budget * num, block_size=block_size)
        if len(accepted.places) < num:
            raise UsageError(
                f"{accepted.num_passed} of {accepted.num_drawn} candidates pass, fewer than the {num} that are asked "
                f"for: raise the budget of {budget} candidates for each sample, or ask for fewer"
            )
        of_each = tuple(np.concatenate(found) for found in scores)
        bound, delta = _union_bound([guard.threshold for guard in guards], of_each, accepted, is_alone=accept is None)
        return Guarded(accepted, bound, delta, of_each)

    return draw


def _union_bound(
    thresholds: Sequence[Threshold | MeanLossThreshold],
    scores: Sequence[np.ndarray],
    accepted: Accepted,
    *,
    is_alone: bool,
) -> tuple[float, float]:
    """Bound of the share of samples that any guard is meant to keep out, and the probability that it fails."""
    # What others leave out besides has no loss: a mean loss of what is drawn stays as small.
    counted = [pair for pair in zip(thresholds, scores, strict=True) if isinstance(pair[0], Threshold)]
    if not counted:
        return math.nan, 0.0
    if is_alone and len(thresholds) == 1:
        return thresholds[0].alpha, thresholds[0].delta
    bound = delta = 0.0
    for each, values in counted:
        # As many as were drawn until the last one was kept: inverse sampling, of which the lower end is the same.
        num_passed = int(each.accepts(values[: accepted.places[-1] + 1]).sum())
        least = _least_share(len(accepted.places), num_passed, SHARE_ERROR * each.delta)
        bound += each.alpha / least if least > 0 else 1.0
        delta += (1 + SHARE_ERROR) * each.delta
    return min(bound, 1.0), min(delta, 1.0)
