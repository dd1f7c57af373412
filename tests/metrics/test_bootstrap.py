"""The bootstrap against the normal theory that it must agree with."""

import numpy as np
import pytest
from scipy.stats import norm

from aigc_jax.metrics.bootstrap import bootstrap_interval, percentile_interval


def test_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(lambda index: values[index].mean(), 400, num_resamples=4000)
    reach = norm.ppf(0.975) * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.006)


def test_strata_are_resampled_each_by_itself():
    seen = []
    bootstrap_interval(lambda index: seen.append(index) or 0.0, (3, 5), num_resamples=20)
    for index in seen:
        assert index.shape == (8,)
        assert index[:3].max() < 3 <= index[3:].min()
        assert index.max() < 8
    assert len({tuple(index) for index in seen}) > 10


def test_same_seed_same_interval():
    values = np.random.default_rng(1).normal(size=50)
    first, again, other = (bootstrap_interval(lambda i: values[i].mean(), 50, seed=s) for s in (3, 3, 4))
    assert first == again != other


def test_undetermined_draws_widen_both_ends():
    draws = np.arange(100.0)
    assert percentile_interval(draws, 0.9) == pytest.approx((4.95, 94.05))
    draws[[40, 50]] = np.nan  # 2 % of the draws: still inside of both tails of 5 %
    assert percentile_interval(draws, 0.9) == (2.0, 97.0)
    draws[40:50] = np.nan
    assert percentile_interval(draws, 0.9) == (-np.inf, np.inf)
