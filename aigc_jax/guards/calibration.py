"""A filter with a guarantee: the largest threshold whose accepted samples are certified to be reliable enough."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.stats import beta, binom

from aigc_jax.guards.assess import Scores, Truth, accepted_by_threshold
from aigc_jax.metrics.checks import checked
from aigc_jax.metrics.intervals import upper_bound
from aigc_jax.types import UsageError

DESIGN = 0.25
"""Share of the labelled samples that choose which thresholds are tested, and in which order."""

MIN_SHARE = 0.1
"""Share of the samples that a filter of use accepts, at least."""

POWER = 0.9
"""Probability to certify a risk with as many samples as are said to be needed."""

SEARCH = 1.5
"""Labelled samples that are needed, in units of those at the best threshold: a part of them has to find it first."""

QUANTILES = 16
"""Values of an uncertain risk that a probability is averaged over."""


class Threshold(NamedTuple):
    """A calibrated filter."""

    value: float
    """The largest score that is accepted; -inf, which accepts nothing, where no threshold could be certified."""
    acceptance: float
    """Share of the testing samples that it accepts."""
    risk: float
    """Share of unreliable ones among those; NaN where none is accepted."""
    alpha: float
    """The largest risk that was allowed."""
    delta: float
    """The probability that the guarantee fails, over the draw of the labelled samples."""
    n: int
    """Number of labelled samples, of which ``num_tested`` did not choose the thresholds and certify."""
    num_tested: int

    @property
    def is_certified(self) -> bool:
        """Whether there is a guarantee; without one nothing is accepted."""
        return self.value > -math.inf

    @property
    def guarantee(self) -> str:
        """The guarantee in one sentence, or why there is none."""
        risk, confidence = f"{100 * self.alpha:g} %", f"{100 * (1 - self.delta):g} %"
        if self.is_certified:
            return (
                f"With probability {confidence} over the draw of the {self.n} labelled samples, at most {risk} of the "
                f"accepted samples are unreliable: those with a score of at most {self.value:.4g}, "
                f"{self.acceptance:.1%} of all."
            )
        return (
            f"No threshold could be certified with probability {confidence} to accept at most {risk} of unreliable "
            f"samples: nothing is accepted. Of the {self.n} labelled samples {self.num_tested} test, and "
            f"{min_accepted(self.alpha, self.delta)} accepted ones without a violation are the fewest that certify: "
            "label more samples or allow more risk."
        )

    def accepts(self, scores: Float[np.ndarray, " num"] | Float[Array, " num"]) -> Bool[np.ndarray, " num"]:
        """Which samples pass: those with a score of at most ``value``; never one whose score is NaN."""
        values = np.asarray(scores, np.float64)
        return (values <= self.value) & self.is_certified


def calibrate(scores: Scores, is_unreliable: Truth, alpha: float, delta: float = 0.05, *, seed: int = 0) -> Threshold:
    """Find the largest threshold that is certified to accept no more than a share ``alpha`` of unreliable samples.

    A quarter of the samples, drawn at random, proposes thresholds and the order of their tests. The others test them
    one after the other, each by the exact binomial test at level delta, until the first fails (fixed-sequence testing
    needs no correction for their number, and the split makes the sequence fixed). So the guarantee holds for every
    score, monotone in the risk or not, useful or not: a useless one merely accepts nothing, or everything where the
    risk is small anyway.

    Args:
        scores: one per labelled sample, higher = less reliable. Samples must be like those that will be filtered, and
            must not have chosen the detector.
        is_unreliable: the truth.
        alpha: the risk to be kept among the accepted samples, in (0, 1).
        delta: probability that the guarantee fails, in (0, 1).
        seed: of the split.

    Returns:
        The threshold. Where nothing can be certified it accepts nothing, and says so.

    Raises:
        UsageError: alpha or delta is out of range, or there are no samples.

    Reference:
        Angelopoulos et al., "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control", 2021, section
        2.3 (split fixed-sequence testing); Clopper and Pearson, "The use of confidence or fiducial limits", 1934.

    >>> rng = np.random.default_rng(0)
    >>> scores = rng.uniform(size=4000)
    >>> threshold = calibrate(scores, rng.uniform(size=4000) < 0.5 * (scores > 0.8), alpha=0.02)
    >>> bool(0.75 < threshold.value < 0.85), threshold.is_certified
    (True, True)
    """
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise UsageError(f"expected alpha and delta in (0, 1), got {alpha} and {delta}: 0.01 and 0.05 are usual")
    values, truth = checked(scores=(scores, float, "num"), is_unreliable=(is_unreliable, bool, "num"))
    values = values.astype(np.float64)
    if not len(values):
        raise UsageError("expected labelled samples to calibrate by, got none: label some")
    is_design = design_part(len(values), seed)
    design, test = np.flatnonzero(is_design), np.flatnonzero(~is_design)
    candidates = _sequence(values[design], truth[design], len(test), alpha, delta)
    num_accepted, num_bad = _counts(values[test], truth[test], candidates)
    # P(Binomial(n, alpha) <= k) <= delta, the test, says the same as this bound <= alpha.
    bounds = upper_bound(num_bad, num_accepted, delta)
    is_passed = np.cumprod(bounds <= alpha).astype(bool)
    if not is_passed.any():
        return Threshold(-math.inf, 0.0, math.nan, alpha, delta, len(values), len(test))
    best = int(np.flatnonzero(is_passed)[-1])
    n, k = int(num_accepted[best]), int(num_bad[best])
    return Threshold(float(candidates[best]), n / len(test), k / n, alpha, delta, len(values), len(test))


def design_part(n: int, seed: int = 0) -> Bool[np.ndarray, " n"]:
    """Which of n labelled samples choose the thresholds: they may choose the detector too, the others certify."""
    is_design = np.zeros(n, bool)
    is_design[np.random.default_rng(seed).permutation(n)[: int(DESIGN * n)]] = True
    return is_design


def min_accepted(alpha: float, delta: float) -> int:
    """The least n with (1 - alpha)^n <= delta: accepted samples, none of them unreliable, that certify a risk."""
    return math.ceil(math.log(delta) / math.log1p(-alpha))


def samples_needed(scores: Scores, is_unreliable: Truth, alpha: float, delta: float = 0.05) -> int | None:
    """About how many labelled samples like these would certify a risk, nine times in ten; None where none would.

    At the threshold for which fewest would do, as if its observed risk, with one violation more, were true; twice as
    many where these are too few to say.
    """
    values, truth = checked(scores=(scores, float, "num"), is_unreliable=(is_unreliable, bool, "num"))
    is_number = ~np.isnan(values)
    if not is_number.any():
        return None
    _, accepted, bad = accepted_by_threshold(values[is_number].astype(np.float64), truth[is_number])
    risk = (bad + 1.0) / (accepted + 1.0)
    share = accepted / len(values) * (1 - DESIGN)
    found = list[float]()
    for num in np.unique(np.geomspace(min_accepted(alpha, delta), 1e7, 200).astype(np.int64)):
        most = binom.ppf(delta, num, alpha) - 1.0
        if (is_enough := binom.cdf(most, num, risk) >= POWER).any():
            found.append(num / share[is_enough].max())
    is_open = (bad / accepted < alpha) & (accepted >= MIN_SHARE * len(values))
    return math.ceil(SEARCH * min(found)) if found else 2 * len(values) if is_open.any() else None


def _sequence(values: np.ndarray, truth: np.ndarray, num_test: int, alpha: float, delta: float) -> np.ndarray:
    """The thresholds in the order of their tests: from the one that is likeliest to pass, upwards; last of all, all."""
    is_number = ~np.isnan(values)
    if not is_number.any():
        return np.array([np.inf])
    thresholds, accepted, bad = accepted_by_threshold(values[is_number], truth[is_number])
    num = np.round(accepted * (num_test / len(values)))
    most = binom.ppf(delta, num, alpha) - 1.0  # the largest number of unreliable ones that may pass, -1 for none
    # The risk is as uncertain as the few proposing samples leave it: Jeffreys' posterior, at its quantiles.
    shares = (np.arange(QUANTILES)[:, None] + 0.5) / QUANTILES
    risk = beta.ppf(shares, bad[None] + 0.5, accepted[None] - bad[None] + 0.5)
    chance = binom.cdf(most[None], num[None], risk).mean(axis=0)
    return np.append(thresholds[np.argmax(chance) :], np.inf)


def _counts(values: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many samples, and how many unreliable ones, each threshold accepts."""
    is_number = ~np.isnan(values)
    rising = np.sort(values[is_number])
    bad = np.sort(values[is_number & truth])
    return np.searchsorted(rising, thresholds, side="right"), np.searchsorted(bad, thresholds, side="right")
