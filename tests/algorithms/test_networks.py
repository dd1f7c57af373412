"""Checks of users' networks and conditions: one line with the network, the expected and the actual value."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from aigc_jax.algorithms.autoencoder import Model
from aigc_jax.algorithms.flow_matching import flow_matching, rectified_flow_denoiser
from aigc_jax.algorithms.gan import GANNetworks, gan
from aigc_jax.algorithms.networks import as_condition
from aigc_jax.algorithms.vae import vae
from aigc_jax.losses.adversarial import non_saturating
from aigc_jax.losses.likelihoods import gaussian
from aigc_jax.nets.mlp import MLPDiscriminator, MLPGenerator
from aigc_jax.samplers.sampling import Sampling, make_sampler
from aigc_jax.types import UsageError

KEY = jax.random.key(0)
SHAPE = (4, 4, 1)
BATCH = {"example": jnp.zeros((6, *SHAPE)), "condition": jnp.arange(6) % 3}
TX = optax.sgd(0.1)


class Own(nn.Module):
    """A network of one dense layer for any method, with one mistake or none."""

    features: tuple = SHAPE
    mistake: str = ""

    @nn.compact
    def __call__(self, *inputs, train=True, keys=None):
        x = inputs[0].reshape(len(inputs[0]), -1)
        if self.mistake == "batch norm":
            x = nn.BatchNorm(use_running_average=not train, use_fast_variance=False)(x)
        if self.mistake == "dropout":
            x = nn.Dropout(0.5, deterministic=False)(x)
        outputs = [nn.Dense(int(np.prod(shape)))(x).reshape(len(x), *shape) for shape in self.shapes()]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def shapes(self):
        is_nested = self.features and isinstance(self.features[0], tuple)
        return self.features if is_nested else (self.features,)


class NoTrain(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(16)(x).reshape(-1, *SHAPE)


class OfNNX(nnx.Module):
    def __call__(self, x):
        return x


CRITIC = Own(((), (5,)))


def init_gan(generator, discriminator, batch=BATCH, num_classes=0, axis_name=None):
    networks = GANNetworks(generator, discriminator, 3, num_classes)
    algorithm = gan(networks, non_saturating(), generator_tx=TX, discriminator_tx=TX, axis_name=axis_name)
    return algorithm.init(KEY, batch)


def init_vae(encoder, decoder, batch=BATCH, num_classes=0):
    return vae(Model(encoder, decoder, (2,), gaussian(1.0), num_classes), tx=TX).init(KEY, batch)


def init_flow(net, batch=BATCH, num_classes=0):
    denoiser = rectified_flow_denoiser(net, SHAPE, num_classes=num_classes)
    sampler = make_sampler(denoiser.process, Sampling("euler", num_steps=1))
    return flow_matching(denoiser, tx=TX, sampler=sampler).init(KEY, batch)


@pytest.mark.slow
def test_init_network_takes_correct_networks():
    init_gan(Own(), CRITIC)
    init_gan(Own(mistake="batch norm"), CRITIC)  # whose statistics a GAN carries
    init_gan(MLPGenerator(SHAPE, (4, 4), norm="batch", axis_name="data"), CRITIC, axis_name="data")  # over devices
    init_vae(Own((4,)), Own())
    init_flow(Own())


LABELLED = {"example": BATCH["example"]}
MISTAKES = {
    "logits only": (lambda: init_gan(Own(), Own(())), ["discriminator Own", "(logits, features)", "[6]"]),
    "images of another size": (
        lambda: init_gan(Own((2, 2, 1)), CRITIC),
        ["generator Own", "[6, 4, 4, 1]", "[6, 2, 2, 1]"],
    ),
    "no keyword": (lambda: init_gan(NoTrain(), CRITIC), ["generator NoTrain", "2 inputs", "keyword train"]),
    "dropout": (lambda: init_gan(Own(), Own(((), (5,)), "dropout")), ["discriminator Own", "dropout"]),
    "nnx": (lambda: init_gan(OfNNX(), CRITIC), ["generator", "OfNNX", "nnx.bridge.to_linen"]),
    "nnx class": (lambda: init_vae(OfNNX, Own()), ["encoder", "OfNNX", "nnx.bridge.to_linen"]),
    "no module": (lambda: init_flow(lambda x: x), ["denoiser", "Linen module", "function"]),
    "tuple": (lambda: init_vae(Own(((2,), (2,))), Own()), ["encoder Own", "[6, 4]", "tuple of 2: ([6, 2], [6, 2])"]),
    "encoder's width": (lambda: init_vae(Own((3,)), Own()), ["encoder Own", "[6, 4]", "[6, 3]"]),
    "decoder's width": (lambda: init_vae(Own((4,)), Own((4, 4, 2))), ["decoder Own", "[6, 4, 4, 1]", "[6, 4, 4, 2]"]),
    "batch norm": (
        lambda: init_vae(Own((4,), "batch norm"), Own()),
        ["encoder Own", "batch_stats", "layer or group norm"],
    ),
    "flat output": (lambda: init_flow(Own((16,))), ["denoiser Own", "[6, 4, 4, any]", "[6, 16]"]),
    "batch norm in a denoiser": (lambda: init_flow(Own(mistake="batch norm")), ["denoiser Own", "batch_stats"]),
    "no label, gan": (lambda: init_gan(Own(), CRITIC, LABELLED, 3), ["'condition'", "'example'"]),
    "no label, vae": (lambda: init_vae(Own((4,)), Own(), LABELLED, 3), ["'condition'", "'example'"]),
    "no label, flow": (lambda: init_flow(Own(), LABELLED, 3), ["'condition'", "'example'"]),
    "classes forgotten": (
        lambda: init_gan(MLPGenerator(SHAPE, (4,), num_classes=3), MLPDiscriminator((4,), 3)),
        ["generator MLPGenerator", "3 classes", "method 0"],
    ),
    "other classes": (
        lambda: init_gan(MLPGenerator(SHAPE, (4,), num_classes=3), MLPDiscriminator((4,), 5), num_classes=3),
        ["discriminator MLPDiscriminator", "5 classes", "method 3"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_init_network_refuses_a_wrong_network_in_one_line(name):
    make, words = MISTAKES[name]
    with pytest.raises(UsageError) as caught:
        jax.eval_shape(make)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("condition", [2, np.int64(2), jnp.int32(2), np.full(4, 2), [2, 2, 2, 2], jnp.full(4, 2)])
def test_as_condition_takes_one_number_for_all(condition):
    assert as_condition(condition, 4, 3).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("condition", "num_classes", "words"),
    [
        (jnp.arange(3), 3, "each of 4 samples, got 3"),
        (None, 3, "a condition for each sample"),
        (1, 0, "no condition"),
        (7, 3, "classes are 0 ... 2, got 7"),
        (jnp.array([0, 1, 2, -1]), 3, "got -1"),
    ],
)
def test_as_condition_refuses_a_wrong_condition_in_one_line(condition, num_classes, words):
    with pytest.raises(UsageError) as caught:
        as_condition(condition, 4, num_classes)
    assert words in str(caught.value)


@pytest.mark.slow
def test_sample_takes_one_number_none_and_raw_keys():
    networks = GANNetworks(MLPGenerator(SHAPE, (4,), num_classes=3), MLPDiscriminator((4,), 3), 3, 3)
    algorithm = gan(networks, non_saturating(), generator_tx=TX, discriminator_tx=TX)
    variables = algorithm.init(jax.random.PRNGKey(0), BATCH).variables
    one = algorithm.sample(variables, jax.random.PRNGKey(1), 4, 2)
    np.testing.assert_array_equal(one, algorithm.sample(variables, jax.random.key(1), 4, jnp.full(4, 2)))
    denoiser = rectified_flow_denoiser(Own(), SHAPE)
    flow = flow_matching(denoiser, tx=TX, sampler=make_sampler(denoiser.process, Sampling("euler", num_steps=1)))
    assert flow.sample(flow.init(KEY, BATCH).variables, KEY, 2).shape == (2, *SHAPE)


def test_as_condition_checks_constants_under_jit():
    assert jax.jit(lambda: as_condition(jnp.arange(3), 3, 3))().tolist() == [0, 1, 2]
    closed = jnp.arange(3)
    assert jax.jit(lambda: as_condition(closed, 3, 3))().tolist() == [0, 1, 2]
    with pytest.raises(UsageError):
        jax.jit(lambda: as_condition(closed, 3, 2))()
