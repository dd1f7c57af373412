"""The Vendi score against the package vendi-score and closed forms."""

import json
from pathlib import Path

import numpy as np
import pytest

from aigc_jax.metrics.vendi import vendi_score
from aigc_jax.types import UsageError
from tests.metrics.feature_examples import example_features

GOLDEN = json.loads((Path(__file__).parent / "golden_features.json").read_text())


@pytest.mark.parametrize(("name", "num"), [("tall", 260), ("wide", 5)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_vendi_score_agrees_with_its_package_by_either_matrix(name, num, dtype):
    value = vendi_score(example_features()[1][:num].astype(dtype))
    for golden in (f"vendi_{name}", f"vendi_{name}_kernel"):
        assert value == pytest.approx(GOLDEN[golden], rel=1e-9 if dtype == np.float64 else 1e-6)


def test_vendi_score_closed_forms():
    orthonormal = np.linalg.qr(np.random.default_rng(1).normal(size=(30, 30)))[0][:20]
    assert vendi_score(orthonormal) == pytest.approx(20.0, rel=1e-12)
    assert vendi_score(orthonormal * np.arange(1, 21)[:, None]) == pytest.approx(20.0, rel=1e-12)
    assert vendi_score(np.repeat(orthonormal[:1], 20, axis=0)) == pytest.approx(1.0, rel=1e-12)
    # Modes with weights 1/2, 1/4, 1/4: the exponential of 1.5 bits.
    modes = np.repeat(orthonormal[:3], [20, 10, 10], axis=0)
    assert vendi_score(modes) == pytest.approx(2.0**1.5, rel=1e-12)
    # Features of length 0 do not count; a set of nothing else is of one kind.
    assert vendi_score(np.concatenate([modes, np.zeros((7, 30))])) == pytest.approx(2.0**1.5, rel=1e-12)
    assert vendi_score(np.zeros((7, 30))) == 1.0


def test_vendi_score_refuses_nan_and_no_samples():
    with pytest.raises(UsageError, match="NaN"):
        vendi_score(np.full((2, 3), np.nan))
    with pytest.raises(UsageError, match="at least one"):
        vendi_score(np.zeros((0, 3)))
