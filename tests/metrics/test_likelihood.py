"""Likelihood figures against uniform laws, a bootstrap and numpy."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.metrics.intervals import bootstrap_interval
from aigc_jax.metrics.likelihood import mean_likelihood, perplexity
from aigc_jax.types import UsageError


def parts_of(metric, arrays, sizes):
    """The state by updates and the state by merges of the same rows."""
    cuts = np.cumsum(sizes)[:-1]
    updated, merged = metric.init(), metric.init()
    for part in zip(*(np.split(array, cuts) for array in arrays), strict=True):
        updated = metric.update(updated, *part)
        merged = metric.merge(merged, metric.update(metric.init(), *part))
    return updated, merged


def test_a_uniform_pmf_is_eight_bits():
    metric = mean_likelihood(28 * 28)
    results = metric.compute(metric.update(metric.init(), np.full(10, 28 * 28 * np.log(256), np.float32)))
    assert results["bits_per_dim"] == pytest.approx(8, rel=1e-6)
    assert (results["low"], results["high"]) == pytest.approx((8, 8), rel=1e-6)


def test_interval_of_bits_is_that_of_a_bootstrap():
    nll = np.random.default_rng(0).gamma(5.0, 100.0, 300)
    metric = mean_likelihood(64)
    results = metric.compute(metric.update(metric.init(), jnp.asarray(nll, jnp.float32)))
    low, high = bootstrap_interval(lambda i: nll[i].mean() / (64 * np.log(2)), 300, num_resamples=4000)
    assert (results["low"], results["high"]) == pytest.approx((low, high), rel=0.01)
    assert results["nll"] == pytest.approx(nll.mean())
    assert results["n"] == 300


@pytest.mark.parametrize("sizes", [(20,), (1, 19), (7, 0, 13), (1,) * 20])
def test_batches_and_merges_change_nothing(sizes):
    rng = np.random.default_rng(1)
    nll, mask = rng.gamma(2.0, 1.0, (20, 6)), np.arange(6)[None] < rng.integers(1, 7, 20)[:, None]
    num_bytes = mask.sum(axis=1) * 4
    for metric, arrays in ((mean_likelihood(3), (1e6 + nll[:, 0],)), (perplexity(), (nll, mask, num_bytes))):
        whole = metric.compute(metric.update(metric.init(), *arrays))
        for state in parts_of(metric, arrays, sizes):
            results = metric.compute(metric.merge(metric.init(), state))
            assert results == pytest.approx(whole, rel=1e-9)


def test_uniform_tokens_have_the_perplexity_of_their_vocabulary():
    metric = perplexity()
    mask = np.array([[True, True, False], [True, False, False]])
    # Pads may hold anything, and are no tokens.
    nll = np.where(mask, np.log(50.0), np.nan)
    results = metric.compute(metric.update(metric.init(), nll, mask, np.array([9, 3])))
    assert results["perplexity"] == pytest.approx(50)
    assert (results["low"], results["high"]) == pytest.approx((50, 50), rel=1e-6)
    assert (results["num_tokens"], results["n"]) == (3, 2)
    assert results["bits_per_byte"] == pytest.approx(3 * np.log2(50) / 12)


def test_longer_tokens_leave_bits_per_byte_alone():
    # The same eight bytes as eight tokens, or as four of two bytes each: twice the nats per token.
    metric, num_bytes = perplexity(), np.array([8])
    fine = metric.compute(metric.update(metric.init(), np.full((1, 8), 1.5), np.ones((1, 8), bool), num_bytes))
    coarse = metric.compute(metric.update(metric.init(), np.full((1, 4), 3.0), np.ones((1, 4), bool), num_bytes))
    assert coarse["perplexity"] == pytest.approx(fine["perplexity"] ** 2)
    assert coarse["bits_per_byte"] == pytest.approx(fine["bits_per_byte"])


def test_interval_of_perplexity_counts_sequences_and_not_tokens():
    rng = np.random.default_rng(2)
    length = rng.integers(5, 40, 200)
    mask = np.arange(40)[None] < length[:, None]
    # A level of each sequence: 200 independent values, whatever the number of tokens.
    nll = np.where(mask, 2.0 + 0.5 * rng.normal(size=(200, 1)), 0.0)
    metric = perplexity()
    results = metric.compute(metric.update(metric.init(), nll, mask))
    sums, tokens = nll.sum(axis=1), mask.sum(axis=1)
    low, high = bootstrap_interval(lambda i: math.exp(sums[i].sum() / tokens[i].sum()), 200, num_resamples=4000)
    assert (results["low"], results["high"]) == pytest.approx((low, high), rel=0.01)
    assert math.isnan(results["bits_per_byte"])


def test_one_example_has_no_interval():
    metric = mean_likelihood(1)
    assert math.isnan(metric.compute(metric.update(metric.init(), np.ones(1)))["low"])
    metric = perplexity()
    assert math.isnan(metric.compute(metric.update(metric.init(), np.ones((1, 2)), np.ones((1, 2), bool)))["high"])


def test_a_token_that_the_model_rules_out_is_infinitely_perplexing():
    metric = perplexity()
    for nll in (np.inf, 1000.0):
        state = metric.update(metric.init(), np.full((1, 2), nll), np.ones((1, 2), bool))
        assert metric.compute(state)["perplexity"] == math.inf


def test_bytes_of_some_sequences_are_bytes_of_none():
    metric, mask = perplexity(), np.ones((1, 2), bool)
    state = metric.update(metric.init(), np.ones((1, 2)), mask, np.array([3]))
    assert not math.isnan(metric.compute(state)["bits_per_byte"])
    assert math.isnan(metric.compute(metric.update(state, np.ones((1, 2)), mask))["bits_per_byte"])


def test_nothing_but_pads_is_refused():
    metric = perplexity()
    with pytest.raises(UsageError, match="pads"):
        metric.compute(metric.update(metric.init(), np.ones((2, 3)), np.zeros((2, 3), bool)))
