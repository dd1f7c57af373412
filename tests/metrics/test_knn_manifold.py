"""Precision, recall, density, coverage and realism against prdc, torch-fidelity and what theory expects."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import aigc_jax.metrics.knn_manifold as module
from aigc_jax.metrics.knn_manifold import expected_coverage, overlap, prdc
from aigc_jax.metrics.neighbors import manifold
from aigc_jax.types import UsageError
from tests.metrics.feature_examples import discrete_features, example_features

GOLDEN = json.loads((Path(__file__).parent / "golden_features.json").read_text())


def numbers(result):
    return {name: getattr(result, name) for name in ("precision", "recall", "density", "coverage")}


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("block_size", [1000, 37])
def test_overlap_agrees_with_prdc_for_all_blocks(k, block_size, monkeypatch):
    monkeypatch.setattr(module, "tiles", functools.partial(module.tiles, block_size=block_size))
    result = overlap(*example_features(), k=k, density_k=k)
    assert numbers(result) == pytest.approx(GOLDEN[f"prdc_{k}"], rel=1e-12)
    assert prdc(*example_features(), k=k) == pytest.approx(GOLDEN[f"prdc_{k}"], rel=1e-12)


def test_overlap_of_shared_manifolds_is_that_of_features():
    real, fake = example_features()
    for shared, other in (((manifold(real), fake), (real, fake)), ((real, manifold(fake, 7)), (real, fake))):
        ours, theirs = overlap(*shared), overlap(*other)
        for name in ours._fields:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    with pytest.raises(ValueError, match=r"compute manifold\(features, 5\)"):
        overlap(manifold(real, 4), fake)
    with pytest.raises(ValueError, match="one length"):
        overlap(manifold(real), fake[:, :3])


def test_overlap_k_and_density_k_are_independent():
    wide, narrow = (overlap(*example_features(), k=k, density_k=n) for k, n in ((5, 1), (1, 5)))
    for result, k, density_k in ((wide, 5, 1), (narrow, 1, 5)):
        for name in ("precision", "recall"):
            assert getattr(result, name) == pytest.approx(GOLDEN[f"prdc_{k}"][name])
        for name in ("density", "coverage"):
            assert getattr(result, name) == pytest.approx(GOLDEN[f"prdc_{density_k}"][name])


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("name", "pair"), [("continuous", example_features()), ("discrete", discrete_features())])
def test_overlap_agrees_with_torch_fidelity_with_ties(name, pair, k):
    # Its numbers are means in float32. Off the integers the ties are there up to rounding only.
    for shift, scale in ((0.0, 1.0), (0.1, 0.3)):
        result = overlap(pair[0] * scale + shift, pair[1] * scale + shift, k=k)
        assert result.precision == pytest.approx(GOLDEN[f"prc_{name}_{k}"]["precision"], rel=1e-6)
        assert result.recall == pytest.approx(GOLDEN[f"prc_{name}_{k}"]["recall"], rel=1e-6)


def test_overlap_balls_are_closed():
    # Three values, each many times: every radius is 0. prdc gives 0, 0, 0, 0 here.
    features = np.repeat(np.array([[0.1, 0.7], [0.3, 0.9], [1e4, 0.2]]), 20, axis=0)
    result = overlap(features, features[::-1])
    assert (result.precision, result.recall, result.coverage) == (1.0, 1.0, 1.0)
    assert result.density == pytest.approx(20 / 5)
    assert np.isinf(result.realism).all()
    # A ball of radius 0 holds nothing else, however near.
    shifted = overlap(features, features + 1e-3)
    assert (shifted.precision, shifted.recall, shifted.density, shifted.coverage) == (0.0, 0.0, 0.0, 0.0)
    assert shifted.realism.max() < 1e-100


def test_overlap_of_each_example_agrees_with_brute_force():
    real, fake = example_features()
    result = overlap(real, fake, k=3, density_k=5)
    between, own = cdist(real, fake), np.sort(cdist(real, real), axis=1)
    radii, density_radii = own[:, 3], own[:, 5]
    np.testing.assert_array_equal(result.is_inside, (between <= radii[:, None]).any(axis=0))
    np.testing.assert_allclose(result.densities, (between <= density_radii[:, None]).sum(axis=0) / 5)
    np.testing.assert_array_equal(result.is_covered, (between <= density_radii[:, None]).any(axis=1))
    np.testing.assert_array_equal(result.is_recalled, (between <= np.sort(cdist(fake, fake), axis=1)[:, 3]).any(axis=1))
    small = radii < np.median(radii)
    np.testing.assert_allclose(result.realism, (radii[small, None] / between[small]).max(axis=0), rtol=1e-10)
    np.testing.assert_array_equal(result.realism >= 1, (between[small] <= radii[small, None]).any(axis=0))


@pytest.mark.parametrize(("num_real", "num_fake", "k"), [(200, 200, 5), (150, 300, 3)])
def test_overlap_of_one_distribution_has_the_expected_density_and_coverage(num_real, num_fake, k):
    rng, repeats = np.random.default_rng(0), 40
    results = []
    for _ in range(repeats):
        real, fake = rng.exponential(size=(num_real, 2)), rng.exponential(size=(num_fake, 2))
        results.append(overlap(real, fake, k=k, density_k=k))
    for name, expected in (("density", 1.0), ("coverage", expected_coverage(num_real, num_fake, k))):
        values = np.array([getattr(result, name) for result in results])
        error = values.std(ddof=1) / np.sqrt(repeats)
        assert error < 0.02
        assert values.mean() == pytest.approx(expected, abs=4 * error)


def test_overlap_precision_of_one_distribution_falls_with_the_dimension():
    rng = np.random.default_rng(1)
    low, high = (overlap(*rng.normal(size=(2, 2000, d)), k=5).precision for d in (2, 64))
    assert low > 0.99
    assert high == pytest.approx(0.70, abs=0.05)


@pytest.mark.parametrize(("num_real", "num_fake", "k"), [(2000, 2000, 3), (2000, 2000, 5), (10, 1, 1)])
def test_expected_coverage_of_large_equal_sets_and_of_one_sample(num_real, num_fake, k):
    # A fake one is the nearest of N equally likely ones; at large equal sizes each next neighbour is a fair coin.
    expected = 1 / num_real if num_fake == 1 else 1 - 0.5**k
    assert expected_coverage(num_real, num_fake, k) == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ValueError, match="k 10"):
        expected_coverage(10, 10, 10)


def test_overlap_tells_dropped_modes_from_outliers():
    rng = np.random.default_rng(2)
    real = rng.normal(size=(400, 3)) + 20 * rng.integers(0, 2, size=(400, 1))
    one_mode = rng.normal(size=(400, 3))
    result = overlap(real, one_mode)
    assert result.precision > 0.9
    assert result.recall == pytest.approx(0.5, abs=0.1)
    assert result.coverage == pytest.approx(0.5, abs=0.1)
    with_outliers = real[rng.permutation(400)] + np.where(np.arange(400) < 100, 60.0, 0.01)[:, None]
    result = overlap(real, with_outliers)
    np.testing.assert_array_equal(result.is_inside, np.arange(400) >= 100)
    assert result.realism[:100].max() < 0.2


def test_overlap_refuses_too_few_examples():
    real, fake = example_features()
    with pytest.raises(UsageError, match="1 <= k <= 4"):
        overlap(real[:5], fake)
    with pytest.raises(UsageError, match="1 <= k <= 2"):
        overlap(real, fake[:3])
