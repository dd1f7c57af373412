"""Statistics of blocks: those of the metric functions on the raw arrays, the same at any number of samples."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from aigc_jax.evaluation.blocks import BLOCK, balanced_order, block_statistics, make_reference
from aigc_jax.metrics.frechet import frechet_distance
from aigc_jax.metrics.knn_manifold import prdc

RNG = np.random.default_rng(0)
TRAIN, SAMPLES = RNG.normal(size=(250, 6)), RNG.normal(0.3, 0.8, size=(330, 6))


def test_block_statistics_are_those_of_the_metrics():
    found = block_statistics(SAMPLES, make_reference(TRAIN, 5), 3, 5)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(
        ("recall", "density", "coverage", "frechet_distance"), 3
    )
    for place in range(3):
        block = SAMPLES[place * BLOCK : (place + 1) * BLOCK]
        # Two whole subsets of the training examples; the last 50 belong to none.
        of_three, of_five = ([prdc(TRAIN[at : at + BLOCK], block, k=k) for at in (0, BLOCK)] for k in (3, 5))
        assert found["recall"][place] == pytest.approx(np.mean([each["recall"] for each in of_three]))
        for name in ("density", "coverage"):
            assert found[name][place] == pytest.approx(np.mean([each[name] for each in of_five]))
        assert found["frechet_distance"][place] == pytest.approx(frechet_distance(TRAIN, block), rel=1e-9)


def test_block_frechet_distance_of_features_longer_than_a_block(rng):
    """Where covariances are singular: by the trace of scipy's matrix root (Heusel et al. 2017, equation 6)."""
    train, samples = rng.normal(size=(120, 150)), rng.normal(size=(BLOCK, 150))
    found = block_statistics(samples, make_reference(train, 5), 3, 5)["frechet_distance"]
    ours, real = np.cov(samples, rowvar=False), np.cov(train, rowvar=False)
    root = sqrtm(real + 1e-10 * np.eye(150)).real
    offset = samples.mean(axis=0) - train.mean(axis=0)
    expected = (
        offset @ offset
        + np.trace(ours + real)
        - 2 * np.sqrt(np.maximum(np.linalg.eigvalsh(root @ ours @ root), 0)).sum()
    )
    assert found == pytest.approx([expected], rel=1e-4)


def test_block_frechet_distance_of_a_shift_is_its_square():
    block = TRAIN[:BLOCK]
    found = block_statistics(block + np.arange(6), make_reference(block, 5), 3, 5)["frechet_distance"]
    assert found == pytest.approx([55.0])  # 1 + 4 + 9 + 16 + 25; no other part: same covariance
    assert block_statistics(block, make_reference(block, 5), 3, 5)["frechet_distance"] == pytest.approx([0.0], abs=1e-9)


def test_make_reference_has_the_total_variance():
    reference = make_reference(TRAIN.astype(np.float32), 5)
    assert reference.variance == pytest.approx(TRAIN.var(axis=0, ddof=1).sum(), rel=1e-5)
    np.testing.assert_allclose(reference.root @ reference.root, np.cov(TRAIN, rowvar=False), atol=1e-5)
    assert make_reference(TRAIN[:, :1], 5).root.shape == (1, 1)


def test_block_statistics_mean_the_same_at_any_number_of_samples(rng):
    """Unlike recall and coverage of whole sets, which rise as the sets grow."""
    samples = rng.normal(size=(4000, 6))
    reference = make_reference(rng.normal(size=(500, 6)), 5)
    few, many = (block_statistics(samples[:num], reference, 3, 5) for num in (1000, 4000))
    for name, values in few.items():
        spread = (values.var(ddof=1) / 10 + many[name].var(ddof=1) / 40) ** 0.5
        assert abs(values.mean() - many[name].mean()) < 3 * spread
    whole = [prdc(samples[2000:3000], samples[:num])["coverage"] for num in (300, 1000)]
    assert whole[1] - whole[0] > 0.2


def test_block_statistics_of_less_than_a_block_are_none():
    found = block_statistics(SAMPLES[: BLOCK - 1], make_reference(TRAIN, 5), 3, 5)
    assert all(len(values) == 0 for values in found.values())


@pytest.mark.parametrize("counts", [[500, 500], [900, 100], [10, 300, 90], [0, 7, 193]])
def test_balanced_order_keeps_the_shares_of_classes_in_each_block(counts, rng):
    condition = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    order = balanced_order(condition)
    assert sorted(order.tolist()) == list(range(len(condition)))
    for start in range(0, len(condition) - BLOCK + 1, BLOCK):
        found = np.bincount(condition[order[start : start + BLOCK]], minlength=len(counts))
        np.testing.assert_allclose(found, BLOCK * np.array(counts) / len(condition), atol=1.01)
