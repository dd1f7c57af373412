"""Consistency of outputs: determinism (C0), across seeds (C1), models (C2), checkpoints (C3), under a change (C4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Shaped
from scipy.spatial.distance import cdist
from scipy.special import entr
from scipy.stats import chi2, mode, norm

from aigc_jax.metrics.checks import Features, check_range, checked, checked_features
from aigc_jax.metrics.intervals import NUM_RESAMPLES, bootstrap_interval, clopper_pearson
from aigc_jax.types import UsageError

Values = Int[np.ndarray, " _"] | Int[Array, " _"]
"""One value of an attribute per sample; -1 for unreadable, which counts as a value of its own."""

Conditions = Int[np.ndarray, " _"] | Int[Array, " _"] | None
"""Condition of each sample; None for an unconditional model."""

SAME_ABOVE = 0.6
"""Cosine similarity above which two images count as the same: Zhang et al. 2024, for SSCD features."""

MAX_BLOCK = 2**24
"""Numbers in a block of similarities."""

Examples = Shaped[np.ndarray, "..."]
"""Any arrays whose first axis counts the samples."""


class SeedConsistency(NamedTuple):
    """C1: agreement of an attribute across seeds, and the ends of its conservative 95 % interval."""

    value: float
    """Mean over conditions of ``1 - H / ln K``; 1 where all seeds show the same, 0 for equally likely values."""
    low: float
    high: float
    per_condition: Float64[np.ndarray, " num_conditions"]
    """Of each condition that occurs, rising."""
    n: int


def seed_consistency(attribute: Values, condition: Conditions, num_values: int) -> SeedConsistency:
    """C1: ``1 - H(attribute | condition) / ln K`` over the seeds of each condition.

    The entropy is Miller and Madow's: the plug-in one is too low by about (values seen - 1) / (2 n), which would make
    few seeds look consistent.

    The interval is conservative. Fano's inequality ``-ln p <= H <= h(p) + (1 - p) ln(K - 1)`` bounds H by functions of
    p, the share of one value, which are convex and concave in p: they hold for averages over conditions, whose average
    share has an exact interval (equally many samples of each condition, Hoeffding). For the lower end the value is
    chosen on other samples than it is counted in; for the upper end it is the most frequent, which only widens it.

    Args:
        attribute: value of each sample, -1 ... K - 1.
        condition: of each sample.
        num_values: K >= 2, the number of values of the attribute.

    Returns:
        The consistency with its interval.

    Raises:
        ValueError: no integers in -1 ... K - 1, or not as many conditions.
        UsageError: no samples, or an attribute of one value.

    Reference:
        Miller, "Note on the bias of information estimates", 1955; Cover & Thomas, "Elements of Information Theory",
        theorem 2.10.1, for Fano's inequality; Hoeffding, "On the distribution of the number of successes in independent
        trials", 1956.

    >>> result = seed_consistency(np.array([1, 1, 1, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 1]), 3)
    >>> result.per_condition.tolist()
    [1.0, 0.0]
    """
    (values,) = checked(attribute=(attribute, int, "num"))
    if num_values < 2 or not len(values):
        raise UsageError(f"expected samples of an attribute of 2 values or more, got {len(values)} of {num_values}")
    check_range("each value", values, -1, num_values - 1)
    groups = _groups(condition, len(values))
    parts = [values[group] for group in groups]
    entropy = np.array([miller_madow(part) for part in parts])
    per_condition = np.clip(1 - entropy / np.log(num_values), 0, 1)
    value = float(per_condition.mean())
    num = min(map(len, parts))
    # The most frequent value (the least of equals) of every other sample, counted in the samples between them.
    counted = [part[1:num:2] == mode(part[::2]).mode for part in parts]
    share, _ = clopper_pearson(int(np.sum(counted)), np.size(counted))
    share = max(share, 1 / num_values)
    low = 1 - (entr(share) + entr(1 - share) + (1 - share) * np.log(num_values - 1)) / np.log(num_values)
    counted = [part[:num] == mode(part[:num]).mode for part in parts]
    _, share = clopper_pearson(int(np.sum(counted)), np.size(counted))
    high = 1 + np.log(share) / np.log(num_values)
    return SeedConsistency(value, min(max(float(low), 0.0), value), max(float(high), value), per_condition, len(values))


def miller_madow(values: Values) -> float:
    """Miller-Madow entropy in nats: the plug-in entropy plus its bias, (distinct values - 1) / (2 n).

    Reference:
        Miller, "Note on the bias of information estimates", 1955.

    >>> round(miller_madow(np.array([0, 1, 0, 1])), 4) == round(float(np.log(2)) + 1 / 8, 4)
    True
    """
    share = np.unique(values, return_counts=True)[1] / len(values)
    return float(-np.sum(share * np.log(share)) + (len(share) - 1) / (2 * len(values)))


class PairedAgreement(NamedTuple):
    """C2 and C3: how often two models make the same sample from the same noise, with 95 % intervals."""

    value: float
    low: float
    high: float
    chance: float
    """The share among pairs of different noise and the same condition."""
    excess: float
    """value - chance, the agreement that shared noise accounts for."""
    excess_low: float
    excess_high: float
    n: int


def attribute_agreement(a: Values, b: Values, condition: Conditions = None) -> PairedAgreement:
    """C2, C3: share of pairs that show the same value of an attribute.

    Args:
        a: values of the samples of the one model.
        b: of those of the other, from the same noise and conditions, in the same order.
        condition: of each pair.

    Returns:
        The agreement, and that of shuffled pairs. Chance is the exact mean over all shuffles within the conditions; it
        is NaN, and the excess with it, where no condition has two pairs.

    Raises:
        ValueError: no integers [N], or not as many of each.
        UsageError: there are no pairs.

    >>> result = attribute_agreement(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0]))
    >>> result.value, round(result.chance, 4)
    (0.75, 0.0833)
    """
    values_a, values_b = checked(a=(a, int, "num"), b=(b, int, "num"))
    return _paired(lambda i, j: values_a[i][:, None] == values_b[j][None], len(values_a), condition)


def reproducibility(
    a: Features, b: Features, condition: Conditions = None, *, threshold: float = SAME_ABOVE
) -> PairedAgreement:
    """C2, C3: share of pairs whose features have a cosine similarity above a threshold, the RP score.

    The threshold was chosen for SSCD features. The cosines of others may all be near 1: compare with chance.

    Args:
        a: features of the samples of the one model.
        b: of those of the other, from the same noise and conditions, in the same order.
        condition: of each pair.
        threshold: similarity above which two samples are the same.

    Returns:
        As :func:`attribute_agreement`.

    Raises:
        ValueError: no numbers [N, d], or features of different shapes.
        UsageError: there are no pairs, or features that are not finite.

    Reference:
        Zhang et al., "The Emergence of Reproducibility and Consistency in Diffusion Models", 2024, equation 2.

    >>> features = np.eye(3)
    >>> result = reproducibility(features, 2.0 * features)
    >>> result.value, result.chance
    (1.0, 0.0)
    """
    checked(a=(a, float, "num feature"), b=(b, float, "num feature"))
    units = []
    for features in checked_features(a=a, b=b):
        # Of length 1 in float32; a feature of zeros stays, and is like no other.
        values = features.astype(np.float64)
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        units.append((values / np.where(lengths > 0, lengths, 1)).astype(np.float32))
    return _paired(lambda i, j: units[0][i] @ units[1][j].T > threshold, len(units[0]), condition)


def radius_agreement(
    a: Features, b: Features, radius: Float[np.ndarray, " _"], condition: Conditions = None
) -> PairedAgreement:
    """C2, C3: share of pairs that lie nearer to each other than a radius; for points, whose cosines mean little.

    Args:
        a: points of the one model.
        b: those of the other, from the same noise and conditions, in the same order.
        radius: of each pair.
        condition: of each pair.

    Returns:
        As :func:`attribute_agreement`.

    Raises:
        ValueError: no numbers [N, d], points of different shapes, or not as many radii.
        UsageError: there are no pairs, or points that are not finite.

    >>> result = radius_agreement(np.array([[0.0], [5.0]]), np.array([[0.1], [9.0]]), np.ones(2))
    >>> result.value, result.chance
    (0.5, 0.0)
    """
    _, _, radius = checked(a=(a, float, "num feature"), b=(b, float, "num feature"), radius=(radius, float, "num"))
    points = [features.astype(np.float64) for features in checked_features(a=a, b=b)]
    return _paired(lambda i, j: cdist(points[0][i], points[1][j]) < radius[i][:, None], len(radius), condition)


def _paired(is_same: Callable[[np.ndarray, np.ndarray], np.ndarray], n: int, condition: Conditions) -> PairedAgreement:
    """Agreement of n pairs, from a comparison of samples i of the one model with samples j of the other."""
    if not n:
        raise UsageError("expected pairs of samples, at least one, got none")
    own, by_row, by_column = np.zeros(n), np.full(n, np.nan), np.full(n, np.nan)
    groups = _groups(condition, n)
    for group in groups:
        own[group], others = _compared(is_same, group)
        if len(group) > 1:
            by_row[group], by_column[group] = (total / (len(group) - 1) for total in others)
    value, ends = float(own.mean()), clopper_pearson(int(own.sum()), n)
    has_others = ~np.isnan(by_row)
    if not has_others.any():
        nan = float("nan")
        return PairedAgreement(value, *ends, nan, nan, nan, nan, n)
    chance = float(by_row[has_others].mean())
    excess = float((own - by_row)[has_others].mean())
    # Influence of a pair: its own term, and its row and column in the chance line, a mean over pairs of pairs.
    influence = own - by_row - by_column
    squares = sum(len(group) * influence[group].var() for group in groups if len(group) > 1)
    num = int(has_others.sum())
    degrees = num - sum(len(group) > 1 for group in groups)
    reach = norm.ppf(0.975) * np.sqrt(squares / degrees / num)
    low, high = excess - reach, excess + reach
    if value in (0.0, 1.0):
        # Pairs that are all the same, or none, have no spread of their own: at least as far as their exact interval.
        low, high = min(low, ends[0] - chance), max(high, ends[1] - chance)
    return PairedAgreement(value, *ends, chance, excess, float(low), float(high), n)


def _compared(
    is_same: Callable[[np.ndarray, np.ndarray], np.ndarray], group: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """For each pair: whether it is the same, the number of other b that equal its a, of other a that equal its b."""
    own, rows, columns = (np.zeros(len(group)) for _ in range(3))
    height = max(1, MAX_BLOCK // len(group))
    for start in range(0, len(group), height):
        block = is_same(group[start : start + height], group)
        index = np.arange(start, start + len(block))
        own[index] = block[np.arange(len(block)), index]
        rows[index] = block.sum(axis=1)
        columns += block.sum(axis=0)
    return own, (rows - own, columns - own)


def _groups(condition: Conditions, n: int) -> list[np.ndarray]:
    """The samples of each condition."""
    if condition is None:
        return [np.arange(n)]
    values, _ = checked(condition=(condition, int, "num"), samples=(np.arange(n), int, "num"))
    return [np.flatnonzero(values == c) for c in np.unique(values)]


def max_ulp(a: Examples, b: Examples) -> int | None:
    """C0: the largest difference of repeated outputs, in units in the last place.

    Args:
        a: outputs of the one run: process, batch size, device count or compilation.
        b: of the other; same shape and type.

    Returns:
        0 for equal outputs; 0 and -0 are equal too. None for other types than floating point.

    Raises:
        ValueError: shapes or types differ.
        UsageError: there are no outputs.

    >>> a = np.ones((2, 3), np.float32)
    >>> max_ulp(a, a), max_ulp(a, np.nextafter(a, np.float32(2)))
    (0, 1)
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError(f"expected outputs of one shape and type, got {a.shape} {a.dtype} and {b.shape} {b.dtype}")
    if not a.size:
        raise UsageError("expected outputs to compare, got none: ask for at least one")
    if not jnp.issubdtype(a.dtype, jnp.floating):
        return None
    half = np.uint64(1 << (8 * a.dtype.itemsize - 1))

    def position(x: np.ndarray) -> np.ndarray:
        """Numbers in their order: the sign bit of a float turns the order of its other bits round."""
        bits = np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}").astype(np.uint64)
        return np.where(bits >= half, half - (bits - half), half + bits)

    at_a, at_b = position(a), position(b)
    return int(np.max(np.maximum(at_a, at_b) - np.minimum(at_a, at_b)))


class Drift(NamedTuple):
    """C3: change of shares from one release to the next."""

    psi: float
    """Population stability index."""
    limit: float
    """Its 95 % quantile if nothing has changed, at these numbers of samples."""


def drift(before: Int[np.ndarray, " num_values"], after: Int[np.ndarray, " num_values"]) -> Drift:
    """C3: population stability index, ``sum (q - p) ln(q / p)`` of the shares p before and q after.

    The customary thresholds, 0.1 and 0.25, do not depend on the number of samples; with few, noise alone exceeds them.
    Half a count is added to each value that occurs at all, so that one that appears or vanishes leaves a finite index.

    Args:
        before: number of samples of each value of an attribute, or of each class.
        after: the same of another checkpoint or release.

    Returns:
        The index, and its limit.

    Raises:
        ValueError: no counts [K], or not as many of each.
        UsageError: no samples on a side.

    Reference:
        Yurdakul, "Statistical Properties of Population Stability Index", 2018, section 3: (1 / n + 1 / m) chi^2.

    >>> result = drift(np.array([500, 500]), np.array([300, 700]))
    >>> round(result.psi, 3), round(result.limit, 3)
    (0.169, 0.008)
    """
    before, after = checked(before=(before, int, "num_values"), after=(after, int, "num_values"))
    for name, counts in (("counts before", before), ("counts after", after)):
        check_range(name, counts, 0, np.inf)
    n, m = int(before.sum()), int(after.sum())
    if not n or not m:
        raise UsageError(f"expected samples on both sides, got {n} and {m}: ask for at least one of each")
    occurs = before + after > 0
    p, q = ((counts[occurs] + 0.5) / (counts[occurs] + 0.5).sum() for counts in (before, after))
    freedom = max(int(occurs.sum()) - 1, 1)
    return Drift(float(np.sum((q - p) * np.log(q / p))), float(chi2.ppf(0.95, freedom) * (1 / n + 1 / m)))


class Sensitivity(NamedTuple):
    """C4: change of an output per unit of the change that caused it, over the samples."""

    median: float
    low: float
    """Lower end of the 95 % interval of the median."""
    high: float
    quantile_95: float
    largest: float
    """The worst sample; it grows with ``n``."""
    n: int


def sensitivity(
    a: Examples, b: Examples, reference: Examples, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Sensitivity:
    """C4: quantiles of ``|b - a| / |reference|`` over the samples.

    With the perturbation of the noise as reference, G(z + delta) - G(z) over delta, this is a local Lipschitz constant.
    Where the change has no size of its own (twice the steps, another precision, a paraphrase), pass ``a`` for the
    reference: the change relative to the output.

    Args:
        a: outputs.
        b: outputs of the same keys after the change.
        reference: one array per sample, of any shape.
        num_resamples: of the bootstrap for the interval of the median.
        seed: of the resamples.

    Returns:
        The quantiles.

    Raises:
        ValueError: outputs of different shapes, or not as many references.
        UsageError: there are no samples, or a reference is 0.

    >>> a, delta = np.zeros((4, 2)), np.full((4, 2), 0.1)
    >>> round(sensitivity(a, a + 3 * delta, delta, num_resamples=10).median, 6)
    3.0
    """
    a, b, reference = checked(a=(a, float, "num ..."), b=(b, float, "num ..."), reference=(reference, float, "num ..."))
    if a.shape != b.shape:
        raise ValueError(f"expected outputs of one shape, got {a.shape} and {b.shape}")
    if not len(a):
        raise UsageError("expected outputs to compare, got none: ask for at least one")
    change, size = (
        np.linalg.norm(each.astype(np.float64).reshape(len(each), -1), axis=1)
        for each in (b.astype(np.float64) - a, reference)
    )
    if not size.all():
        raise UsageError(
            f"{int((size == 0).sum())} of {len(size)} references are 0: pass the change itself, or the outputs"
        )
    ratio = change / size
    low, high = bootstrap_interval(
        lambda index: float(np.median(ratio[index])), len(ratio), num_resamples=num_resamples, seed=seed
    )
    median, quantile_95, largest = (float(x) for x in np.quantile(ratio, [0.5, 0.95, 1.0]))
    return Sensitivity(median, low, high, quantile_95, largest, len(ratio))


def unit_change(
    decode_fn: Callable[[Float[Array, "batch *latent"]], Float[Array, "batch *example"]],
    latents: Float[Array, "batch *latent"],
    directions: Float[Array, "batch *latent"],
) -> Float[Array, "batch *example"]:
    """C4 in the limit of a vanishing change: ``J_G(z) u`` along the unit vector u of each direction, exactly.

    A difference quotient has a step, which is too large for some samples and lost in rounding for others. No local
    Lipschitz constant at z is smaller than ``|J_G(z) u|``. Where G clips or rounds its values, or draws them from
    categories, their derivative is 0. The example of a latent must depend on that latent alone.

    Args:
        decode_fn: G, latents -> examples; differentiable.
        latents: where each derivative is taken.
        directions: of any length but 0.

    Returns:
        The change of each example per unit of its latent. Pass those of all batches to :func:`sensitivity` as ``b``,
        with zeros as ``a`` and references of length 1.

    Raises:
        ValueError: directions of another shape than latents.

    >>> unit_change(lambda z: 3.0 * z, jnp.zeros((1, 2)), jnp.array([[0.0, 7.0]])).tolist()
    [[0.0, 3.0]]
    """
    if directions.shape != latents.shape:
        raise ValueError(f"expected a direction for each latent, got shapes {directions.shape} and {latents.shape}")
    axes = tuple(range(1, directions.ndim))
    lengths = jnp.sqrt(jnp.sum(jnp.square(directions), axis=axes, keepdims=True))
    return jax.jvp(decode_fn, (latents,), (directions / lengths,))[1]
