"""A filter by a rule: the first samples of a sequence that obey it, and a bound on those that obey it in error."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from aigc_jax.metrics.intervals import clopper_pearson, upper_bound


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
    accept: Callable[[np.ndarray], Bool[np.ndarray, " num"]],
    num: int,
    *,
    max_draws: int,
    block_size: int = 64,
) -> Accepted:
    """The first ``num`` samples of a sequence that pass, or those among the first ``max_draws``.

    So the i-th of them depends on the sequence alone, however many are asked for.

    Args:
        draw: ``(start, num) -> samples`` of the sequence.
        accept: ``samples -> whether each passes``.
        num: samples to keep, >= 1.
        max_draws: candidates at most.
        block_size: candidates that are drawn at a time.

    >>> even = first_accepted(lambda start, num: np.arange(start, start + num), lambda x: x % 2 == 0, 3, max_draws=8)
    >>> even.samples.tolist(), even.num_passed, even.num_drawn
    ([0, 2, 4], 4, 8)
    """
    kept, places, num_passed, num_drawn = list[np.ndarray](), list[np.ndarray](), 0, 0
    while num_passed < num and num_drawn < max_draws:
        size = min(block_size, max_draws - num_drawn)
        samples = draw(num_drawn, size)
        is_passed = accept(samples)
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
    # The lower end of an interval of 1 - delta fails with half of delta. Drawing ends once so many are kept, whatever
    # passes besides: the number of draws until then, and the number that pass of so many, are small alike.
    least = clopper_pearson(len(accepted.places), accepted.num_drawn, confidence=1 - delta)[0]
    return min(1.0, false / least) if least > 0 else 1.0
