"""Collected features: batching changes nothing, and they stay as they were."""

import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.metrics.feature_set import feature_set


@pytest.mark.parametrize("sizes", [(40,), (1, 39), (13, 0, 20, 7), (1,) * 40])
def test_batches_and_merges_change_nothing(sizes):
    features = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    metric = feature_set(4)
    updated, merged = metric.init(), metric.init()
    for part in np.split(features, np.cumsum(sizes)[:-1]):
        updated = metric.update(updated, part)
        merged = metric.merge(merged, metric.update(metric.init(), part))
    for state in (updated, merged, metric.merge(metric.init(), merged), metric.merge(merged, metric.init())):
        results = metric.compute(state)
        assert results["num_samples"] == 40
        np.testing.assert_array_equal(results["features"], features)


def test_features_are_kept_as_they_were():
    metric, batch = feature_set(3), np.ones((2, 3), np.float32)
    state = metric.update(metric.init(), batch)
    batch[:] = 7.0
    kept = metric.compute(metric.update(state, jnp.zeros((1, 3))))["features"]
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, [[1, 1, 1], [1, 1, 1], [0, 0, 0]])


def test_nothing_collected():
    assert feature_set(3).compute(feature_set(3).init())["features"].shape == (0, 3)


def test_wrong_features_are_refused():
    with pytest.raises(ValueError, match=r"\[B, 3\]"):
        feature_set(3).update(feature_set(3).init(), np.ones((2, 4)))
