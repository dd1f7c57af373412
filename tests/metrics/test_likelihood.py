"""Likelihood figures of uniform distributions, against, a bootstrap and numpy."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.metrics.intervals import bootstrap_interval
from aigc_jax.metrics.likelihood import mean_likelihood, perplexity
from aigc_jax.types import UsageError


def parts_of(metric, arrays, sizes):
    """The state by updates and the state by merges of the same examples."""
    cuts = np.cumsum(sizes)[:-1]
    updated, merged = metric.init(), metric.init()
    for part in zip(*(np.split(array, cuts) for array in arrays), strict=True):
        updated = metric.update(updated, *part)
        merged = metric.merge(merged, metric.update(metric.init(), *part))
    return updated, merged


def test_mean_likelihood_of_uniform_bytes_is_8_bits():
    metric = mean_likelihood(28 * 28)
    results = metric.compute(metric.update(metric.init(), np.full(10, 28 * 28 * np.log(256), np.float32)))
    assert results["bits_per_dim"] == pytest.approx(8, rel=1e-6)
    assert (results["low"], results["high"]) == pytest.approx((8, 8), rel=1e-6)


def test_mean_likelihood_interval_agrees_with_a_bootstrap():
    nll = np.random.default_rng(0).gamma(5.0, 100.0, 300)
    metric = mean_likelihood(64)
    results = metric.compute(metric.update(metric.init(), jnp.asarray(nll, jnp.float32)))
    low, high = bootstrap_interval(lambda i: nll[i].mean() / (64 * np.log(2)), 300, num_resamples=4000)
    assert (results["low"], results["high"]) == pytest.approx((low, high), rel=0.01)
    assert results["nll"] == pytest.approx(nll.mean())
    assert results["n"] == 300


@pytest.mark.parametrize("sizes", [(20,), (1, 19), (7, 0, 13), (1,) * 20])
def test_likelihood_metrics_do_not_depend_on_batches_and_merges(sizes):
    rng = np.random.default_rng(1)
    nll, num_tokens = rng.gamma(2.0, 1.0, 20), rng.integers(1, 7, 20)
    for metric, arrays in ((mean_likelihood(3), (1e6 + nll,)), (perplexity(), (nll, num_tokens, 4 * num_tokens))):
        whole = metric.compute(metric.update(metric.init(), *arrays))
        for state in parts_of(metric, arrays, sizes):
            results = metric.compute(metric.merge(metric.init(), state))
            assert results == pytest.approx(whole, rel=1e-9)


def test_perplexity_of_uniform_tokens_is_the_vocabulary_size():
    metric = perplexity()
    num_tokens = np.array([2, 1])
    results = metric.compute(metric.update(metric.init(), np.log(50.0) * num_tokens, num_tokens, np.array([9, 3])))
    assert results["perplexity"] == pytest.approx(50)
    assert (results["low"], results["high"]) == pytest.approx((50, 50), rel=1e-6)
    assert (results["num_tokens"], results["n"]) == (3, 2)
    assert results["bits_per_byte"] == pytest.approx(3 * np.log2(50) / 12)


def test_bits_per_byte_does_not_depend_on_the_tokeniser():
    # The same eight bytes as eight tokens, or as four of two bytes each: twice the nats per token.
    metric, num_bytes = perplexity(), np.array([8])
    fine, coarse = (
        metric.compute(metric.update(metric.init(), np.array([12.0]), np.array([num]), num_bytes)) for num in (8, 4)
    )
    assert coarse["perplexity"] == pytest.approx(fine["perplexity"] ** 2)
    assert coarse["bits_per_byte"] == pytest.approx(fine["bits_per_byte"])


def test_perplexity_interval_counts_sequences():
    rng = np.random.default_rng(2)
    tokens = rng.integers(5, 40, 200)
    # A level of each sequence: 200 independent values, whatever the number of tokens.
    sums = tokens * (2.0 + 0.5 * rng.normal(size=200))
    metric = perplexity()
    results = metric.compute(metric.update(metric.init(), sums, tokens))
    low, high = bootstrap_interval(lambda i: math.exp(sums[i].sum() / tokens[i].sum()), 200, num_resamples=4000)
    assert (results["low"], results["high"]) == pytest.approx((low, high), rel=0.01)
    assert math.isnan(results["bits_per_byte"])


def test_likelihood_metrics_of_one_example_have_no_interval():
    metric = mean_likelihood(1)
    assert math.isnan(metric.compute(metric.update(metric.init(), np.ones(1)))["low"])
    metric = perplexity()
    assert math.isnan(metric.compute(metric.update(metric.init(), np.ones(1), np.array([2])))["high"])


def test_perplexity_of_an_impossible_token_is_infinite():
    metric = perplexity()
    for nll in (np.inf, 1000.0):
        state = metric.update(metric.init(), np.array([2 * nll]), np.array([2]))
        assert metric.compute(state)["perplexity"] == math.inf


def test_bits_per_byte_is_nan_where_a_sequence_has_no_bytes():
    metric, nll, num_tokens = perplexity(), np.ones(1), np.array([2])
    state = metric.update(metric.init(), nll, num_tokens, np.array([3]))
    assert not math.isnan(metric.compute(state)["bits_per_byte"])
    assert math.isnan(metric.compute(metric.update(state, nll, num_tokens))["bits_per_byte"])


def test_perplexity_refuses_no_tokens():
    metric = perplexity()
    with pytest.raises(UsageError, match="tokens"):
        metric.compute(metric.update(metric.init(), np.ones(2), np.zeros(2, int)))
