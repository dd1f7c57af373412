"""Inception against the numbers of torch-fidelity's, filled with the same random weights."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.inference.inception import convert_inception
from aigc_jax.nets import inception
from aigc_jax.nets.inception import InceptionV3, enlarge
from tests.nets.inception_example import example_images, example_weights

GOLDEN = json.loads((Path(__file__).parent / "inception_golden.json").read_text())


@pytest.fixture(scope="module")
def params():
    return convert_inception(example_weights(GOLDEN["conv_shapes"]))


def outputs(params, images):
    return jax.jit(InceptionV3().apply)({"params": params}, jnp.asarray(images / np.float32(127.5) - 1))


def difference(ours, golden):
    """The largest difference from the numbers that were kept, as a part of the largest of them."""
    kept = np.array(golden["every"])
    return np.abs(np.asarray(ours)[:, ::85] - kept).max() / np.abs(kept).max()


@pytest.mark.checked
def test_inception_has_the_published_layers_and_shapes():
    shapes = jax.eval_shape(InceptionV3().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    ours = {name: [layer["kernel"].shape[i] for i in (3, 2, 0, 1)] for name, layer in shapes.items() if name != "fc"}
    assert ours == GOLDEN["conv_shapes"]
    assert shapes["fc"]["kernel"].shape == (2048, 1008)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 40, 32), (1, 310, 320)])
def test_inception_matches_torch_fidelity(params, shape):
    logits, features = outputs(params, example_images(*shape))
    of = " of {} x {} x {}".format(*shape)
    found = {"2048": features, "logits": logits, "logits_unbiased": np.asarray(logits) - params["fc"]["bias"]}
    for name, ours in found.items():
        golden = GOLDEN[name + of]
        assert difference(ours, golden) < 1e-5
        np.testing.assert_allclose(np.linalg.norm(ours, axis=1), golden["norm"], rtol=1e-5)


@pytest.mark.slow
def test_inception_with_the_papers_pooling_differs(params, monkeypatch):
    monkeypatch.setitem(inception._POOLS, "max", inception._POOLS["mean"])
    _, features = outputs(params, example_images(2, 40, 32))
    assert difference(features, GOLDEN["2048 of 2 x 40 x 32"]) > 1e-3


@pytest.mark.parametrize("side", [4, 12])
def test_enlarge_matches_tensorflow(side):
    golden = np.array(GOLDEN[f"enlarged_{side}"]).reshape(1, side, side, 3)
    image = example_images(1, 5, 7).astype(np.float32)
    np.testing.assert_allclose(enlarge(jnp.asarray(image), side), golden, atol=1e-4)
    # What newer libraries do, with half-pixel centres, is another image.
    other = jax.image.resize(image, (1, side, side, 3), "bilinear", antialias=False)
    assert np.abs(other - golden).max() > 10


def test_enlarge_keeps_an_image_of_the_right_size():
    image = jax.random.normal(jax.random.key(0), (1, 9, 9, 2))
    np.testing.assert_array_equal(enlarge(image, 9), image)
