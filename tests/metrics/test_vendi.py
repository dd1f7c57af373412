"""The Vendi score against vendi-score and closed forms, of sets and batch by batch."""

import json
from pathlib import Path

import numpy as np
import pytest

from aigc_jax.metrics.vendi import vendi_score, vendi_statistics
from aigc_jax.types import UsageError
from tests.metrics.feature_examples import example_features

GOLDEN = json.loads((Path(__file__).parent / "golden_features.json").read_text())


def streamed(features, sizes=()):
    metric = vendi_statistics(features.shape[1])
    state = metric.init()
    for part in np.split(features, np.cumsum(sizes)[:-1].astype(int)) if sizes else [features]:
        state = metric.merge(metric.update(metric.init(), part), state)
    return metric.compute(state)


@pytest.mark.parametrize(("name", "num"), [("tall", 260), ("wide", 5)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_vendi_score_agrees_by_either_matrix(name, num, dtype):
    features = example_features()[1][:num].astype(dtype)
    for golden in (f"vendi_{name}", f"vendi_{name}_kernel"):
        for value in (vendi_score(features), streamed(features)["vendi"]):
            assert value == pytest.approx(GOLDEN[golden], rel=1e-9 if dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("sizes", [(260,), (1, 259), (100, 0, 97, 63), (1,) * 260])
def test_batches_and_merges_change_nothing(sizes):
    features = example_features()[1]
    result = streamed(features, sizes)
    assert result["num_samples"] == 260
    assert result["vendi"] == pytest.approx(vendi_score(features), rel=1e-12)


@pytest.mark.parametrize("score", [vendi_score, lambda features: streamed(features)["vendi"]])
def test_closed_forms(score):
    orthonormal = np.linalg.qr(np.random.default_rng(1).normal(size=(30, 30)))[0][:20]
    assert score(orthonormal) == pytest.approx(20.0, rel=1e-12)
    assert score(orthonormal * np.arange(1, 21)[:, None]) == pytest.approx(20.0, rel=1e-12)
    assert score(np.repeat(orthonormal[:1], 20, axis=0)) == pytest.approx(1.0, rel=1e-12)
    # Modes with weights 1/2, 1/4, 1/4: the exponential of 1.5 bits.
    modes = np.repeat(orthonormal[:3], [20, 10, 10], axis=0)
    assert score(modes) == pytest.approx(2.0**1.5, rel=1e-12)
    # What has no direction is like none; of nothing else there is one.
    assert score(np.concatenate([modes, np.zeros((7, 30))])) == pytest.approx(2.0**1.5, rel=1e-12)
    assert score(np.zeros((7, 30))) == 1.0


def test_no_samples_and_wrong_ones():
    metric = vendi_statistics(3)
    assert np.isnan(metric.compute(metric.init())["vendi"])
    with pytest.raises(ValueError, match=r"\[B, 3\]"):
        metric.update(metric.init(), np.ones((2, 4)))
    for score in (vendi_score, streamed):
        with pytest.raises(UsageError, match="NaN"):
            score(np.full((2, 3), np.nan))
    with pytest.raises(UsageError, match="at least one"):
        vendi_score(np.zeros((0, 3)))
