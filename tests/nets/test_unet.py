"""The U-Net's size against the published figures: blocks, skips, attention and embeddings as in the papers."""

import math

import jax
import jax.numpy as jnp
import pytest

from aigc_jax.nets.unet import UNet


def num_parameters(net, shape):
    params = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, *shape)), jnp.zeros((1,)), None))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


DDPM = UNet(128, (1, 2, 2, 2), 2, (16,), 0, is_scale_shift=False, resampling="conv")
ADM_64 = UNet(192, (1, 2, 3, 4), 3, (32, 16, 8), 64, num_classes=1000, out_channels=6)
ADM_128 = UNet(256, (1, 1, 2, 3, 4), 2, (32, 16, 8), 64, num_classes=1000, out_channels=6)
ADM_256 = UNet(256, (1, 1, 2, 2, 4, 4), 2, (32, 16, 8), 64, num_classes=1000, out_channels=6)


@pytest.mark.one_case
@pytest.mark.parametrize(
    ("net", "side", "millions", "tolerance"),
    [(DDPM, 32, 35.7, 0.05), (ADM_64, 64, 296, 0.5), (ADM_128, 128, 422, 0.5), (ADM_256, 256, 554, 0.5)],
    ids=["DDPM CIFAR-10", "ADM 64", "ADM 128", "ADM 256"],
)
def test_unet_has_the_published_number_of_parameters(net, side, millions, tolerance):
    assert num_parameters(net, (side, side, 3)) / 1e6 == pytest.approx(millions, abs=tolerance)


@pytest.mark.checked
def test_unet_patches_change_only_the_first_and_last_convolution():
    net = UNet(16, (1, 2), 1, (), 0, num_classes=3)
    difference = num_parameters(net.clone(patch_size=2), (8, 8, 1)) - num_parameters(net, (8, 8, 1))
    assert difference == 2 * 9 * 3 * 16 + 3
