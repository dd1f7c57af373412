"""The U-Net: what it takes and gives, and its size against the published figures."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.nets.unet import UNet
from tests.contracts.table import quick_compilation

KEY = jax.random.key(0)
TINY = UNet(8, (1, 2), 1, (4,), head_width=8, num_classes=3)


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation():
    with quick_compilation():
        yield


def inputs(batch=2, shape=(8, 8, 1), num_classes=3):
    x = jax.random.normal(jax.random.key(1), (batch, *shape))
    return x, jnp.linspace(0.1, 0.9, batch), jnp.arange(batch) % num_classes


def perturbed(params):
    """No weight is zero any more."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(KEY, len(leaves))
    noisy = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, noisy)


def num_parameters(net, shape):
    x, noise_label = jnp.zeros((1, *shape)), jnp.zeros((1,))
    params = jax.eval_shape(lambda: net.init(KEY, x, noise_label, None))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


DDPM = UNet(128, (1, 2, 2, 2), 2, (16,), 0, is_scale_shift=False, resampling="conv")
ADM_64 = UNet(192, (1, 2, 3, 4), 3, (32, 16, 8), 64, num_classes=1000, out_channels=6)
ADM_128 = UNet(256, (1, 1, 2, 3, 4), 2, (32, 16, 8), 64, num_classes=1000, out_channels=6)
ADM_256 = UNet(256, (1, 1, 2, 2, 4, 4), 2, (32, 16, 8), 64, num_classes=1000, out_channels=6)


@pytest.mark.parametrize(
    ("net", "side", "millions"),
    [(DDPM, 32, 35.7), (ADM_64, 64, 296), (ADM_128, 128, 422), (ADM_256, 256, 554)],
    ids=["DDPM CIFAR-10", "ADM 64", "ADM 128", "ADM 256"],
)
def test_the_number_of_parameters_is_the_published_one(net, side, millions):
    assert num_parameters(net, (side, side, 3)) / 1e6 == pytest.approx(millions, abs=0.5 if millions > 100 else 0.05)


@pytest.mark.parametrize(
    "change",
    [{}, {"patch_size": 2}, {"norm": "rms"}, {"resampling": "patch", "is_symmetric": True}, {"out_channels": 2}],
)
def test_a_new_network_outputs_zero(change):
    x, noise_label, condition = inputs()
    net = TINY.clone(**change)
    output, _ = jax.jit(net.init_with_output)(KEY, x, noise_label, condition)
    assert output.shape == (2, 8, 8, net.out_channels or 1)
    np.testing.assert_array_equal(output, 0.0)
