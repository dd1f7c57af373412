"""Stability of outputs: repeated (C0), across time (C3: drift), and under a small change (C4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped
from scipy.stats import chi2

from aigc_jax.metrics.bootstrap import NUM_RESAMPLES, bootstrap_interval
from aigc_jax.types import UsageError

Examples = Shaped[np.ndarray, "..."]
"""Any arrays whose first axis counts the samples."""


class Determinism(NamedTuple):
    """C0: two runs that should have been one.

    Attributes:
        is_equal: whether all outputs are equal, bit for bit.
        num_different: samples with any difference.
        n: number of samples.
        max_ulp: the largest difference in units in the last place; 0 and -0 are 0 apart; None for other types than
            floating point.
    """

    is_equal: bool
    num_different: int
    n: int
    max_ulp: int | None


def determinism(a: Examples, b: Examples) -> Determinism:
    """C0: whether the same parameters, key and condition gave the same output.

    Args:
        a: outputs of the one run: process, batch size, device count or compilation.
        b: of the other; same shape and type.

    Returns:
        Equality, and how far from it.

    Raises:
        UsageError: there are no outputs, or their shapes or types differ.

    >>> a = np.ones((2, 3), np.float32)
    >>> determinism(a, a).is_equal, determinism(a, np.nextafter(a, np.float32(2))).max_ulp
    (True, 1)
    """
    if not len(a):
        raise UsageError("expected outputs to compare, got none: ask for at least one")
    if a.shape != b.shape or a.dtype != b.dtype:
        raise UsageError(f"expected outputs of one shape and type, got {a.shape} {a.dtype} and {b.shape} {b.dtype}")
    rows = [np.ascontiguousarray(x).reshape(len(x), -1).view(f"u{x.dtype.itemsize}") for x in (a, b)]
    num_different = int((rows[0] != rows[1]).any(axis=1).sum())
    max_ulp = _max_ulp(*rows, bits=8 * a.dtype.itemsize) if jnp.issubdtype(a.dtype, jnp.floating) else None
    return Determinism(num_different == 0, num_different, len(a), max_ulp)


class Drift(NamedTuple):
    """C3: how far shares have moved from one release to the next.

    Attributes:
        psi: population stability index.
        limit: what it stays below 95 times in 100 where nothing has moved, at these numbers of samples.
        n_before: number of samples before.
        n_after: number of samples after.
    """

    psi: float
    limit: float
    n_before: int
    n_after: int


def drift(before: Int[np.ndarray, " num_values"], after: Int[np.ndarray, " num_values"]) -> Drift:
    """C3: ``sum (q - p) ln(q / p)`` of the shares p before and q after.

    The customary thresholds, 0.1 and 0.25, know nothing of the number of samples; with few, noise alone exceeds them.
    Half a count is added to each value that occurs at all, so that one that has come or gone leaves a finite index.

    Args:
        before: how many samples showed each value of an attribute, or were of each class.
        after: the same of another checkpoint or release, from as many keys or not.

    Returns:
        The index, and the limit to judge it by.

    Raises:
        UsageError: no samples on a side.

    Reference:
        Yurdakul, "Statistical Properties of Population Stability Index", 2018, section 3: (1 / n + 1 / m) chi^2.

    >>> result = drift(np.array([500, 500]), np.array([300, 700]))
    >>> round(result.psi, 3), round(result.limit, 3)
    (0.169, 0.008)
    """
    n, m = int(before.sum()), int(after.sum())
    if not n or not m:
        raise UsageError(f"expected samples on both sides, got {n} and {m}: ask for at least one of each")
    occurs = before + after > 0
    p, q = ((counts[occurs] + 0.5) / (counts[occurs] + 0.5).sum() for counts in (before, after))
    freedom = max(int(occurs.sum()) - 1, 1)
    return Drift(float(np.sum((q - p) * np.log(q / p))), float(chi2.ppf(0.95, freedom) * (1 / n + 1 / m)), n, m)


class Sensitivity(NamedTuple):
    """C4: size of the change of an output for each unit of change that caused it.

    Attributes:
        median: over the samples.
        low: lower end of its 95 % interval.
        high: upper end.
        quantile_95: what 95 of 100 samples stay below.
        largest: the worst sample; it grows with ``n``.
        n: number of samples.
    """

    median: float
    low: float
    high: float
    quantile_95: float
    largest: float
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
        UsageError: there are no samples, not as many of each, or a reference of size 0.

    >>> a, delta = np.zeros((4, 2)), np.full((4, 2), 0.1)
    >>> round(sensitivity(a, a + 3 * delta, delta, num_resamples=10).median, 6)
    3.0
    """
    if a.shape != b.shape or len(reference) != len(a) or not len(a):
        raise UsageError(f"expected as many of each, got shapes {a.shape}, {b.shape} and {reference.shape}")
    change, size = _lengths(b.astype(np.float64) - a.astype(np.float64)), _lengths(reference.astype(np.float64))
    if not size.all():
        raise UsageError(f"{int((size == 0).sum())} of {len(size)} references are 0: pass what was changed")
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
    Lipschitz constant at z is smaller than ``|J_G(z) u|``. Where G clips, rounds or draws its values by steps, their
    derivative is 0, however far a step may carry them. The example of
    a latent must depend on that latent alone.

    Args:
        decode_fn: G, latents -> examples; differentiable.
        latents: where each derivative is taken.
        directions: of any length but 0.

    Returns:
        The change of each example per unit of its latent. Hand those of all batches to :func:`sensitivity`, beside 0
        and with references of length 1.

    >>> unit_change(lambda z: 3.0 * z, jnp.zeros((1, 2)), jnp.array([[0.0, 7.0]])).tolist()
    [[0.0, 3.0]]
    """
    axes = tuple(range(1, directions.ndim))
    lengths = jnp.sqrt(jnp.sum(jnp.square(directions), axis=axes, keepdims=True))
    return jax.jvp(decode_fn, (latents,), (directions / lengths,))[1]


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows.reshape(len(rows), -1), axis=1)


def _max_ulp(a: np.ndarray, b: np.ndarray, *, bits: int) -> int:
    """The largest distance of two floating-point numbers, given as their bits, in steps to the next one."""
    half = np.uint64(1 << (bits - 1))

    def position(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.uint64)
        return np.where(x >= half, half - (x - half), half + x)

    at_a, at_b = position(a), position(b)
    return int(np.max(np.maximum(at_a, at_b) - np.minimum(at_a, at_b)))
