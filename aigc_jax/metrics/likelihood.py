"""Likelihood of examples under a model: bits per dimension, perplexity, bits per byte, with intervals."""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.stats import norm

from aigc_jax.metrics.checks import checked
from aigc_jax.types import Metric, UsageError


class LikelihoodState(NamedTuple):
    """Moments of the negative log-likelihoods of examples, in nats."""

    num_examples: int
    mean: float
    scatter: float
    """Sum of the squared deviations from the mean."""


def mean_likelihood(num_dims: int) -> Metric:
    """Mean negative log-likelihood of discrete examples, in nats and in bits per dimension.

    ``update`` takes nats per example [B]: of discrete values, or a bound on them. The log density p of dequantised
    values is not that: with a distance ``h`` between two levels the nats are ``-log p - D log h``; of bytes in [-1, 1]
    (:func:`aigc_jax.data.images.to_float`) ``-log p + D log 127.5``. ``compute`` gives ``nll``, ``bits_per_dim`` with
    the ends ``low`` and ``high`` of its 95 % interval (normal, over examples; NaN for fewer than two) and ``n``.

    Args:
        num_dims: D, the numbers in an example: H W C of an image.

    Returns:
        A metric whose state is :class:`LikelihoodState`. ``update`` raises a ValueError for other than [B] numbers.

    Reference:
        Theis, van den Oord & Bethge, "A note on the evaluation of generative models", 2016, section 3.1.

    >>> metric = mean_likelihood(784)
    >>> uniform = 784 * math.log(256) * np.ones(5)
    >>> round(metric.compute(metric.update(metric.init(), uniform))["bits_per_dim"], 6)
    8.0
    """

    def update(state: LikelihoodState, nll: Float[np.ndarray, " batch"] | Float[Array, " batch"]) -> LikelihoodState:
        (values,) = checked(nll=(nll, float, "batch"))
        values = values.astype(np.float64)
        if not len(values):
            return state
        return _merge(
            state, LikelihoodState(len(values), float(values.mean()), float(np.sum((values - values.mean()) ** 2)))
        )

    def compute(state: LikelihoodState) -> dict[str, Any]:
        n, unit = state.num_examples, num_dims * math.log(2)
        deviation = math.sqrt(state.scatter / (n - 1) / n) if n > 1 else math.nan
        value, reach = (state.mean if n else math.nan) / unit, float(norm.ppf(0.975)) * deviation / unit
        return {"nll": value * unit, "bits_per_dim": value, "low": value - reach, "high": value + reach, "n": n}

    return Metric(lambda: LikelihoodState(0, 0.0, 0.0), update, _merge, compute)


def _merge(a: LikelihoodState, b: LikelihoodState) -> LikelihoodState:
    if not a.num_examples or not b.num_examples:
        return a if a.num_examples else b
    total, delta = a.num_examples + b.num_examples, b.mean - a.mean
    scatter = a.scatter + b.scatter + delta * delta * a.num_examples * b.num_examples / total
    return LikelihoodState(total, float(a.mean + delta * b.num_examples / total), float(scatter))


class PerplexityState(NamedTuple):
    """Sums over sequences; those of squares and products serve the interval."""

    num_sequences: int
    num_bytes: float
    """NaN once a sequence came without."""
    nll: float
    num_tokens: int
    nll_squared: float
    nll_tokens: float
    tokens_squared: int


def perplexity() -> Metric:
    """Perplexity of sequences, ``exp`` of the mean nats per token, and bits per byte.

    ``update`` takes the nats of each sequence [B], its number of tokens int [B] (without pads), and, for bits per byte,
    its number of bytes int [B]. A tokeniser with longer tokens has a higher perplexity for the same text: compare bits
    per byte across tokenisers. ``compute`` gives ``perplexity`` with the ends ``low`` and ``high`` of its 95 % interval
    (sequences are independent, the tokens of one are not; NaN for fewer than two), ``nll`` per token, ``bits_per_byte``
    (NaN where bytes were not given), ``num_tokens``, and ``n`` sequences.

    Returns:
        A metric whose state is :class:`PerplexityState`. ``update`` raises a ValueError for other than [B] numbers.

    Reference:
        Jelinek et al., "Perplexity - a measure of the difficulty of speech recognition tasks", 1977; Cochran, "Sampling
        Techniques", 1977, equation 6.13, for the deviation of a ratio.

    >>> metric = perplexity()
    >>> state = metric.update(metric.init(), math.log(50) * np.array([3.0, 5.0]), np.array([3, 5]))
    >>> round(metric.compute(state)["perplexity"], 6)
    50.0
    """

    def update(
        state: PerplexityState,
        nll: Float[np.ndarray, " batch"] | Float[Array, " batch"],
        num_tokens: Int[np.ndarray, " batch"] | Int[Array, " batch"],
        num_bytes: Int[np.ndarray, " batch"] | Int[Array, " batch"] | None = None,
    ) -> PerplexityState:
        sizes = {"num_tokens": num_tokens, **({} if num_bytes is None else {"num_bytes": num_bytes})}
        nats, tokens, *given = checked(
            nll=(nll, float, "batch"), **{name: (size, int, "batch") for name, size in sizes.items()}
        )
        nats, tokens = nats.astype(np.float64), tokens.astype(np.int64)
        total_bytes = float(given[0].sum()) if given else math.nan if len(nats) else 0.0
        products = float(nats @ nats), float(nats @ tokens), int(tokens @ tokens)
        sums = float(nats.sum()), int(tokens.sum()), *products
        return merge(state, PerplexityState(len(nats), total_bytes, *sums))

    def merge(a: PerplexityState, b: PerplexityState) -> PerplexityState:
        return jax.tree.map(operator.add, a, b)

    return Metric(lambda: PerplexityState(0, 0.0, 0.0, 0, 0.0, 0.0, 0), update, merge, _compute_perplexity)


def _compute_perplexity(state: PerplexityState) -> dict[str, Any]:
    n = state.num_sequences
    if not state.num_tokens:
        raise UsageError("expected tokens to measure, got none: ask for at least one sequence")
    mean = state.nll / state.num_tokens
    # Sum over sequences of (nats - mean * tokens)^2; rounding may leave a sum of zeros slightly negative.
    residual = max(state.nll_squared - 2 * mean * state.nll_tokens + mean**2 * state.tokens_squared, 0.0)
    deviation = math.sqrt(residual * n / (n - 1)) / state.num_tokens if n > 1 else math.nan
    reach = float(norm.ppf(0.975)) * deviation
    return {
        "perplexity": _exp(mean),
        "low": _exp(mean - reach),
        "high": _exp(mean + reach),
        "nll": mean,
        "bits_per_byte": state.nll / (math.log(2) * state.num_bytes) if state.num_bytes else math.nan,
        "num_tokens": state.num_tokens,
        "n": n,
    }


def _exp(nats: float) -> float:
    """Infinite, not an error, where the model rules a token out."""
    with np.errstate(over="ignore"):
        return float(np.exp(nats))
