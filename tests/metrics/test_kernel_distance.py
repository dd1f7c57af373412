"""KID and CMMD against torch-fidelity, exact moments and extended precision."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import aigc_jax.metrics.kernel_distance as module
from aigc_jax.metrics.kernel_distance import cmmd, kid, normalized
from aigc_jax.types import UsageError
from tests.metrics.feature_examples import example_features

GOLDEN = json.loads((Path(__file__).parent / "golden_features.json").read_text())


def test_kid_agrees_with_torch_fidelity():
    real, fake = example_features()
    # One subset of everything, in whatever order: nothing is drawn.
    result = kid(real[:260], fake, num_subsets=1, subset_size=260)
    assert result.value == pytest.approx(GOLDEN["kid"], rel=1e-12)
    assert result.std == 0.0


def test_kid_of_gaussians_follows_from_their_moments():
    # E (x y + 1)^3 by the moments 1, m, m^2 + 1, m^3 + 3 m of N(m, 1): 4, 32 and 7 for means 0 and 1.
    rng = np.random.default_rng(0)
    values = [
        kid(rng.normal(size=(300, 1)), rng.normal(size=(300, 1)) + 1, num_subsets=1, subset_size=300).value
        for _ in range(100)
    ]
    error = float(np.std(values, ddof=1)) / 10
    assert error < 1.0
    assert np.mean(values) == pytest.approx(4 + 32 - 2 * 7, abs=4 * error)


def test_kid_of_one_distribution_is_0_on_average_and_often_below():
    rng = np.random.default_rng(1)
    values = np.array([kid(*rng.normal(size=(2, 200, 3)), num_subsets=1, subset_size=200).value for _ in range(200)])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(200)
    assert 0.3 < (values < 0).mean() < 0.8
    with_diagonal = 2 * ((1.0 + 1.0) ** 3) / 200  # the bias if the diagonal counted, about
    assert values.std() < with_diagonal


def test_kid_subsets_depend_on_the_seed_alone():
    real, fake = example_features()
    a, b, other = (kid(real, fake, num_subsets=20, subset_size=50, seed=seed) for seed in (0, 0, 1))
    assert a == b
    assert a.value != other.value
    assert a.std > 0
    assert a.value == pytest.approx(GOLDEN["kid"], abs=4 * a.std)


def test_kid_of_few_examples_takes_all_of_them():
    real, fake = example_features()
    # 260 fake ones: every subset holds them all, so that only real ones vary.
    assert kid(real, fake, num_subsets=3) == kid(real, fake, num_subsets=3, subset_size=260)
    assert kid(real[:260], fake, num_subsets=3).value == pytest.approx(GOLDEN["kid"], rel=1e-12)


@pytest.mark.parametrize("subset_size", [1, 261])
def test_kid_refuses_impossible_subsets(subset_size):
    with pytest.raises(UsageError, match="260 fake"):
        kid(*example_features(), subset_size=subset_size)


@pytest.mark.parametrize("block_size", [1000, 17])
def test_cmmd_agrees_with_extended_precision_for_all_blocks(block_size, monkeypatch):
    monkeypatch.setattr(module, "tiles", functools.partial(module.tiles, block_size=block_size))
    real, fake = (x.astype(np.float32) for x in example_features())
    x, y = (
        f.astype(np.longdouble) / np.sqrt((f.astype(np.longdouble) ** 2).sum(axis=1))[:, None] for f in (real, fake)
    )

    def mean_kernel(a, b):
        return np.exp(-((a[:, None] - b) ** 2).sum(axis=-1) / 200).mean()

    truth = float(1000 * (mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)))
    assert cmmd(real, fake) == pytest.approx(truth, rel=1e-10)
    # Lengths are divided out.
    assert cmmd(real * np.float32(8), fake) == pytest.approx(truth, rel=1e-10)


def test_cmmd_kernel_width():
    real, fake = (normalized(x) for x in example_features())
    kernels = [
        np.exp(-cdist(a, b, "sqeuclidean") / (2 * 0.3**2)).mean() for a, b in ((real, real), (fake, fake), (real, fake))
    ]
    assert cmmd(real, fake, sigma=0.3) == pytest.approx(1000 * (kernels[0] + kernels[1] - 2 * kernels[2]), rel=1e-9)


def test_cmmd_of_a_set_with_itself_and_its_bias():
    rng = np.random.default_rng(2)
    real = rng.normal(size=(50, 16))
    assert abs(cmmd(real, real[::-1])) < 1e-10
    values = np.array([cmmd(rng.normal(size=(40, 16)), rng.normal(size=(80, 16))) for _ in range(200)])
    error = values.std(ddof=1) / np.sqrt(200)
    # Directions of one distribution around 0: |x - y|^2 has the mean 2 and hardly varies, so 1 - E k is about 0.01.
    expected = 1000 * (1 - np.exp(-2 / 200)) * (1 / 40 + 1 / 80)
    assert error < 0.03 * expected
    assert values.mean() == pytest.approx(expected, abs=3 * error)


def test_cmmd_refuses_features_of_length_0():
    real, fake = example_features()
    fake[3] = 0.0
    with pytest.raises(UsageError, match="1 of 260"):
        cmmd(real, fake)
