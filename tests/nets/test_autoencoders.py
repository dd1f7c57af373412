"""Encoders, decoders and the ladder: shapes, classes, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.nets.ladder import Ladder
from aigc_jax.nets.vae import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from aigc_jax.types import UsageError

KEY = jax.random.key(0)


@pytest.mark.one_case
@pytest.mark.parametrize("image_shape", [(28, 28, 1), (32, 32, 3)])
@pytest.mark.parametrize("is_map", [False, True])
def test_conv_encoder_and_decoder_have_matching_shapes(image_shape, is_map):
    side = image_shape[0] // 4
    latent_shape = (side, side, 2) if is_map else (6,)
    encoder, decoder = ConvEncoder(latent_shape, (4, 4)), ConvDecoder(image_shape, (4, 4), num_outputs=2)
    image = jnp.zeros((2, *image_shape))
    outputs, _ = jax.eval_shape(encoder.init_with_output, KEY, image, None)
    assert outputs.shape == (2, *latent_shape[:-1], 2 * latent_shape[-1])
    outputs, _ = jax.eval_shape(decoder.init_with_output, KEY, jnp.zeros((2, *latent_shape)), None)
    assert outputs.shape == (2, *image_shape[:2], 2 * image_shape[2])


def test_mlp_encoder_has_the_papers_layers():
    params = jax.eval_shape(MLPEncoder().init, KEY, jnp.zeros((1, 28, 28, 1)), None)["params"]
    shapes = [layer["kernel"].shape for _, layer in sorted(params.items())]
    assert shapes == [(784, 200), (200, 200), (200, 2 * 50)]
    params = jax.eval_shape(MLPDecoder().init, KEY, jnp.zeros((1, 50)), None)["params"]
    assert [layer["kernel"].shape for _, layer in sorted(params.items())] == [(50, 200), (200, 200), (200, 784)]


def test_mlp_decoder_first_output_is_the_bias():
    decoder = MLPDecoder((4, 4, 1), (8,), output_bias=-2.0)
    outputs, _ = jax.jit(decoder.init_with_output)(KEY, jnp.zeros((1, 3)), None)
    np.testing.assert_allclose(outputs, -2.0)


@pytest.mark.one_case
@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (MLPEncoder((3,), (8,), num_classes=2), (8, 8, 1)),
        (MLPDecoder((8, 8, 1), (8,), num_classes=2), (3,)),
        (ConvEncoder((3,), (4,), num_classes=2), (8, 8, 1)),
        (ConvDecoder((8, 8, 1), (4,), num_classes=2), (3,)),
        (ConvDecoder((8, 8, 1), (4,), num_classes=2), (4, 4, 3)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else str(len(value)),
)
def test_autoencoders_depend_on_the_class(net, shape):
    x = jax.random.normal(KEY, (1, *shape))
    variables = jax.jit(net.init)(KEY, x, jnp.zeros(1, jnp.int32))
    one, other = (jax.jit(net.apply)(variables, x, jnp.array([label], jnp.int32)) for label in (0, 1))
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.checked
def test_ladder_goes_up_only_with_an_image():
    ladder = Ladder((8, 8, 3), (4, 4), (1, 2, 3), num_outputs=2, num_classes=2)
    seen = []

    def choose(level, prior, posterior):
        seen.append((level, prior[0].shape, posterior is not None))
        return prior[0]

    label = jnp.zeros(5, jnp.int32)
    image = jnp.zeros((5, 8, 8, 3))
    begin = jax.jit(lambda label: ladder.init_with_output(KEY, choose, label, image=image))
    (outputs, levels), variables = begin(label)
    assert outputs.shape == (5, 8, 8, 6)
    assert len(levels) == 3
    assert seen == [(2, (5, 3), True), (1, (5, 2, 2, 2), True), (0, (5, 4, 4, 1), True)]
    seen.clear()
    generated, _ = jax.jit(lambda variables, label: ladder.apply(variables, choose, label, num=5))(variables, label)
    assert [is_seen for _, _, is_seen in seen] == [False] * 3
    np.testing.assert_allclose(generated, outputs, atol=1e-5)  # the same latents: what is shared is the way down


@pytest.mark.parametrize(
    ("net", "shape", "expected"),
    [
        (ConvEncoder((3,), (4, 4)), (10, 10, 1), "multiples of 4, got 10 x 10: pass --image-shape 8 8 1"),
        (ConvEncoder((7, 7, 2), (4,)), (8, 8, 1), "use 4 4 2"),
        (ConvEncoder((3,), ()), (8, 8, 1), "at least one"),
        (ConvDecoder((8, 8, 1), (4,)), (2, 2, 3), "use 4 4 3"),
        (ConvDecoder((8, 6, 1), (4, 4)), (3,), "multiples of 4"),
    ],
)
def test_autoencoders_refuse_shapes_that_do_not_fit(net, shape, expected):
    with pytest.raises(UsageError, match=expected) as caught:
        jax.eval_shape(net.init, KEY, jnp.zeros((1, *shape)), None)
    assert "\n" not in str(caught.value)
