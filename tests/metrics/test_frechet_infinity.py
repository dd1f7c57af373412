"""The extrapolated Fréchet distance: no bias where the plain one has one, and torch-fidelity on the plain one."""

import json
from pathlib import Path

import numpy as np
import pytest

from aigc_jax.metrics.frechet import frechet_distance, frechet_statistics
from aigc_jax.metrics.frechet_infinity import frechet_infinity
from aigc_jax.types import UsageError
from tests.metrics.feature_examples import example_features

GOLDEN = json.loads((Path(__file__).parent / "golden_features.json").read_text())


def distance(real, fake):
    metric = frechet_statistics(real.shape[1])
    return frechet_distance(*(metric.update(metric.init(), x) for x in (real, fake)))


def test_torch_fidelity_agrees_on_the_plain_distance():
    assert distance(*example_features()) == pytest.approx(GOLDEN["fid"], rel=1e-10)


def test_the_last_point_is_the_plain_distance():
    real, fake = example_features()
    result = frechet_infinity(real, fake)
    assert len(result.sizes) == len(result.distances) == 15
    assert result.sizes[-1] == 260
    assert result.sizes[0] == 40
    assert (np.diff(result.sizes) > 0).all()
    assert result.distances[-1] == pytest.approx(distance(real, fake), rel=1e-10)


@pytest.mark.parametrize(("num_real", "num_fake", "shift"), [(1500, 1500, 0.0), (3000, 1500, 0.0), (1500, 1500, 0.1)])
def test_bias_is_gone_and_the_slope_is_the_bias_law(num_real, num_fake, shift):
    rng, d, repeats = np.random.default_rng(0), 16, 30
    pairs = [(rng.normal(size=(num_real, d)), rng.normal(size=(num_fake, d)) + shift) for _ in range(repeats)]
    results = [frechet_infinity(*pair) for pair in pairs]
    values = np.array([result.value for result in results])
    error = values.std(ddof=1) / np.sqrt(repeats)
    law = (2 * d + d * (d + 1) / 2) / 2 * (1 + num_fake / num_real)
    assert error < 0.15 * law / num_fake
    assert values.mean() == pytest.approx(d * shift**2, abs=4 * error)
    assert np.mean([result.slope for result in results]) == pytest.approx(law, rel=0.2)
    # What the extrapolation is for.
    assert np.mean([result.distances[-1] for result in results]) > d * shift**2 + 0.8 * law / num_fake


def test_the_seed_decides():
    a, b, other = (frechet_infinity(*example_features(), seed=seed).value for seed in (0, 0, 1))
    assert a == b != other


def test_too_few_examples_are_refused():
    real, fake = example_features()
    with pytest.raises(UsageError, match="at least 30"):
        frechet_infinity(real, fake[:17])
    assert len(frechet_infinity(real[:30], fake[:30]).sizes) == 15
