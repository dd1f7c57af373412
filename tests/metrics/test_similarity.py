"""SSIM and its kin against scikit-image, pytorch-msssim's numbers and closed forms."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from aigc_jax.metrics.similarity import ms_ssim, mse, psnr, ssim
from aigc_jax.types import UsageError
from tests.metrics.examples import example_images

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


def oracle(a, b):
    return structural_similarity(
        a.astype(np.float64),
        b.astype(np.float64),
        data_range=2.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=-1,
    )


@pytest.mark.parametrize("shape", [(28, 28, 1), (11, 40, 3), (33, 12, 2)])
def test_similarity_agrees_with_scikit_image(shape):
    rng = np.random.RandomState(0)
    a = np.tanh(rng.normal(size=(3, *shape))).astype(np.float32)
    b = np.clip(a + np.array([0.0, 0.3, 1.0])[:, None, None, None] * rng.normal(size=a.shape), -1, 1).astype(np.float32)
    np.testing.assert_allclose(ssim(a, b), [oracle(x, y) for x, y in zip(a, b, strict=True)], atol=2e-6)
    np.testing.assert_allclose(mse(a, b), [mean_squared_error(x, y) for x, y in zip(a, b, strict=True)], rtol=1e-5)
    decibels = [peak_signal_noise_ratio(x, y, data_range=2.0) for x, y in zip(a[1:], b[1:], strict=True)]
    np.testing.assert_allclose(psnr(a, b)[1:], decibels, rtol=1e-5)
    assert psnr(a, b)[0] == np.inf


def test_similarity_data_range_is_a_unit():
    a, b = (x[:, :32, :32] for x in example_images(176, 192))
    for measure in (ssim, psnr):
        np.testing.assert_allclose(measure(a, b, data_range=1.0), measure(2 * a, 2 * b, data_range=2.0), rtol=1e-5)
    assert not np.allclose(ssim(a, b, data_range=1.0), ssim(a, b), rtol=1e-2)


@pytest.mark.parametrize(("height", "width"), [(176, 192), (256, 256)])
def test_ssim_and_ms_ssim_agree_with_pytorch_msssim(height, width):
    a, b = example_images(height, width)
    np.testing.assert_allclose(ssim(a, b, data_range=1.0), GOLDEN[f"ssim_{height}"], atol=5e-6)
    np.testing.assert_allclose(ms_ssim(a, b, data_range=1.0), GOLDEN[f"ms_ssim_{height}"], atol=5e-6)


def test_ssim_and_ms_ssim_of_constant_images_are_closed_forms():
    # No variance: only the luminance is left, at the coarsest scale of MS-SSIM alone.
    a, b, c1 = 0.5, 0.1, (0.01 * 2) ** 2
    luminance = (2 * a * b + c1) / (a * a + b * b + c1)
    pair = (np.full((1, 161, 165, 1), a), np.full((1, 161, 165, 1), b))
    np.testing.assert_allclose(ssim(*pair), luminance, rtol=1e-4)
    np.testing.assert_allclose(ms_ssim(*pair), luminance**0.1333, rtol=1e-4)


def test_ms_ssim_of_negative_contrast_is_0():
    detail = np.random.RandomState(0).normal(size=(1, 161, 161, 1)).astype(np.float32) / 10
    pair = (0.5 + detail, 0.5 - detail)
    assert np.all(np.asarray(ssim(*pair)) < 0)
    np.testing.assert_array_equal(ms_ssim(*pair), 0)


def test_similarity_is_per_pair_and_the_same_under_jit():
    a, b = (x[:, :20, :20] for x in example_images(176, 192))
    np.testing.assert_allclose(ssim(a, a), 1, rtol=1e-5)
    for measure in (ssim, mse, psnr):
        one_by_one = [measure(a[i : i + 1], b[i : i + 1])[0] for i in range(2)]
        np.testing.assert_allclose(measure(a, b), one_by_one, rtol=1e-6)
        np.testing.assert_allclose(jax.jit(measure)(a, b), one_by_one, rtol=1e-4)


def test_ssim_and_ms_ssim_refuse_small_images():
    with pytest.raises(UsageError, match="at least 161, got 28 x 28"):
        ms_ssim(jnp.zeros((1, 28, 28, 1)), jnp.zeros((1, 28, 28, 1)))
    with pytest.raises(UsageError, match="at least 11"):
        ssim(jnp.zeros((1, 28, 10, 1)), jnp.zeros((1, 28, 10, 1)))
