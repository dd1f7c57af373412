"""Parts of networks against numpy, and the GAN pairs and classifiers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.nets.classifier import ConvClassifier
from aigc_jax.nets.conv import ConvDiscriminator, ConvGenerator
from aigc_jax.nets.discriminator import Head, MinibatchDiscrimination
from aigc_jax.nets.embeddings import WithClass
from aigc_jax.nets.mixer import MixerClassifier
from aigc_jax.nets.mlp import MLPDiscriminator, MLPGenerator
from aigc_jax.nets.patches import from_patches
from aigc_jax.nets.resnet import ResNetDiscriminator, ResNetGenerator

KEY = jax.random.key(0)


def test_from_patches_matches_numpy():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype(np.float32)
    y = np.zeros((2, 6, 10, 2), np.float32)
    for quarter, (row, column) in enumerate(np.ndindex(2, 2)):
        y[:, row::2, column::2] = x[..., 2 * quarter : 2 * quarter + 2]
    np.testing.assert_array_equal(from_patches(jnp.asarray(x), 2), y)


def closeness(m):
    """The paper's o(x_i), a loop over pairs."""
    sums = np.zeros(m.shape[:2])
    for i in range(len(m)):
        for j in range(len(m)):
            if i != j:
                sums[i] += np.exp(-np.linalg.norm(m[i] - m[j], ord=1, axis=-1))
    return sums / (len(m) - 1)


@pytest.mark.checked
def test_minibatch_discrimination_is_the_papers_sum_over_pairs():
    net, x = MinibatchDiscrimination(3, 2), 0.5 * jax.random.normal(KEY, (6, 4))
    variables = jax.jit(net.init)(KEY, x)
    output = net.apply(variables, x)
    m = np.asarray(x @ variables["params"]["kernel"]["kernel"]).reshape(6, 3, 2)
    np.testing.assert_array_equal(output[:, :4], x)
    np.testing.assert_allclose(output[:, 4:], closeness(m), atol=1e-6)
    spread = MinibatchDiscrimination(3, 2, axis_name="data")
    parts = jax.vmap(lambda part: spread.apply(variables, part), axis_name="data")(x.reshape(3, 2, 4))
    np.testing.assert_allclose(parts.reshape(6, 7), output, atol=1e-6)


def test_minibatch_discrimination_detects_equal_samples():
    net, x = MinibatchDiscrimination(3, 2), jnp.broadcast_to(jax.random.normal(KEY, (1, 4)), (6, 4))
    np.testing.assert_allclose(net.apply(net.init(KEY, x), x)[:, 4:], 1.0, rtol=1e-6)


def test_head_projects_on_the_class():
    net, features = Head(3), jax.random.normal(KEY, (4, 5))
    condition = jnp.array([2, 0, 1, 2])
    variables = net.init(KEY, features, condition, train=True)
    difference = net.apply(variables, features, condition, train=True) - net.apply(
        variables, features, None, train=True
    )
    embedding = np.asarray(variables["params"]["Embed_0"]["embedding"])
    np.testing.assert_allclose(difference, np.einsum("bf,bf->b", embedding[condition], features), atol=1e-6)


def test_with_class_appends_the_class_to_the_latent():
    net, latent = WithClass(3, 2), jax.random.normal(KEY, (4, 5))
    condition = jnp.array([2, 0, 1, 2])
    variables = jax.jit(net.init)(KEY, latent, condition)
    output = net.apply(variables, latent, condition)
    np.testing.assert_array_equal(output[:, :5], latent)
    np.testing.assert_array_equal(output[0, 5:], output[3, 5:])
    assert np.any(output[0, 5:] != output[1, 5:])
    np.testing.assert_array_equal(net.apply(variables, latent, None), latent)


GENERATORS = [MLPGenerator((8, 16, 3), (4, 4)), ConvGenerator((8, 16, 3), 8), ResNetGenerator((8, 16, 3), 4)]
DISCRIMINATORS = [MLPDiscriminator((4, 4)), ConvDiscriminator((4, 4), 4), ResNetDiscriminator(4)]
name_of = lambda net: type(net).__name__  # noqa: E731


@pytest.mark.one_case
@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("net", GENERATORS, ids=name_of)
def test_generators_give_images_in_range(net, num_classes):
    net = net.clone(num_classes=num_classes)
    condition = jnp.arange(2) if num_classes else None
    latent = 100 * jax.random.normal(KEY, (2, 5))
    images = jax.jit(lambda: net.init_with_output(KEY, latent, condition, train=True)[0])()
    assert (images.shape, images.dtype) == ((2, 8, 16, 3), jnp.float32)
    assert jnp.abs(images).max() <= 1
    assert images.std() > 0


@pytest.mark.one_case
@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("net", DISCRIMINATORS, ids=name_of)
def test_discriminators_judge_examples_one_by_one(net, num_classes):
    net = net.clone(num_classes=num_classes)
    condition = jnp.arange(3) if num_classes else None
    images = jax.random.normal(KEY, (3, 8, 16, 3))
    variables = jax.jit(lambda: net.init(KEY, images, condition, train=True))()
    judge = jax.jit(lambda variables, x: net.apply(variables, x, condition, train=False))
    logits, features = judge(variables, images)
    assert logits.shape == (3,)
    assert features.shape == (3, 4)
    others, _ = judge(variables, images.at[0].set(0.0))
    np.testing.assert_allclose(others[1:], logits[1:], atol=1e-5)
    assert others[0] != logits[0]


@pytest.mark.parametrize("net", [ConvGenerator((10, 8, 1), 8), ResNetGenerator((8, 12, 1), 4)], ids=name_of)
def test_generators_refuse_sides_that_do_not_divide(net):
    with pytest.raises(ValueError, match=r"multiples of \d, got .* pass --image-shape \d+ \d+ \d"):
        net.init(KEY, jnp.zeros((2, 3)), None, train=True)


def test_gan_networks_have_the_papers_default_sizes():
    def widths(net, *inputs):
        params = jax.eval_shape(lambda: net.init(KEY, *inputs, None, train=True))["params"]
        return [params[f"Dense_{i}"]["kernel"].shape[1] for i in range(4)]

    assert widths(MLPGenerator(), jnp.zeros((1, 100))) == [128, 256, 512, 1024]
    assert widths(MLPDiscriminator(), jnp.zeros((1, 28, 28, 1))) == [1024, 512, 256, 128]


def test_classifiers_give_logits_and_features():
    net = ConvClassifier(5, (4, 4), 6)
    (logits, features), _ = jax.jit(net.init_with_output)(KEY, jnp.zeros((2, 9, 7, 1)))
    assert (logits.shape, features.shape) == ((2, 5), (2, 6))


@pytest.mark.checked
def test_mixer_takes_any_sides_and_pads_by_the_border():
    net = MixerClassifier(5, patch_size=4, width=4, depth=1, num_features=6)
    image = jax.random.normal(KEY, (2, 9, 7, 3))
    (logits, features), variables = jax.jit(net.init_with_output)(KEY, image)
    assert (logits.shape, features.shape) == ((2, 5), (2, 6))
    whole = np.pad(image, ((0, 0), (0, 3), (0, 1), (0, 0)), mode="edge")
    np.testing.assert_array_equal(net.apply(variables, jnp.asarray(whole))[0], logits)


@pytest.mark.checked
def test_mixer_is_no_convolution():
    """The same patch in another place is another thing to it; patches and channels are both mixed."""
    net = MixerClassifier(3, patch_size=2, width=6, depth=1)
    patch, blank = jnp.ones((2, 2)), jnp.zeros((1, 4, 4, 1))
    left, right = blank.at[0, :2, :2, 0].set(patch), blank.at[0, 2:, 2:, 0].set(patch)
    variables = jax.jit(net.init)(KEY, blank)
    here, there = (net.apply(variables, image)[0] for image in (left, right))
    assert np.abs(here - there).max() > 1e-3
