"""The loader of Inception weights: what it refuses, and what the encoder does around the network."""

import hashlib
import sys
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.inference.inception import SHA256, URL, convert_inception, load_inception, make_inception_encoder
from aigc_jax.types import UsageError


class Tiny(nn.Module):
    """One convolution and the last layer, under the names that the loader knows."""

    @nn.compact
    def __call__(self, image):
        features = jnp.mean(nn.relu(nn.Conv(4, (3, 3), name="a.b")(image)), axis=(1, 2))
        return nn.Dense(5, name="fc")(features), features


def tiny_state(seed=0):
    rng = np.random.RandomState(seed)
    state = {"a.b.conv.weight": rng.normal(size=(4, 3, 3, 3)), "a.b.bn.running_var": rng.uniform(0.5, 2.0, 4)}
    state |= {f"a.b.bn.{part}": rng.normal(size=4) for part in ("weight", "bias", "running_mean")}
    state |= {"fc.weight": rng.normal(size=(5, 4)), "fc.bias": rng.normal(size=5)}
    return {name: array.astype(np.float32) for name, array in state.items()}


def tensor_of(array):
    """As much of a tensor as is needed; one that learns, as those of a network do, has no ``numpy`` of its own."""
    return SimpleNamespace(detach=lambda: SimpleNamespace(numpy=lambda: array))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file, its digest, and a stand-in for PyTorch that reads the tiny network's arrays from it."""
    path = tmp_path / "weights.pth"
    path.write_bytes(b"anything")
    state, calls = tiny_state(), []

    def load(file, **given):
        calls.append((file, given))
        return {name: tensor_of(array) for name, array in state.items()}

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(load=load))
    return SimpleNamespace(path=path, sha256=hashlib.sha256(b"anything").hexdigest(), state=state, calls=calls)


def is_one_line(error):
    return "\n" not in str(error.value)


def test_published_digest_is_that_of_the_file_name():
    assert SHA256.startswith("6726825d")
    assert "6726825d" in URL
    assert len(SHA256) == 64


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="got no file: download https://") as error:
        load_inception(tmp_path / "none.pth", Tiny())
    assert is_one_line(error)


def test_another_file_is_refused_before_it_is_read(weights):
    with pytest.raises(UsageError, match=r"SHA-256 6726825d\.\.\., got [0-9a-f]{8}\.\.\.") as error:
        load_inception(weights.path, Tiny())
    assert is_one_line(error)
    assert weights.calls == []


def test_without_pytorch_it_says_so(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match="pip install torch") as error:
        load_inception(weights.path, Tiny(), sha256=weights.sha256)
    assert is_one_line(error)


def test_only_tensors_are_read(weights):
    load_inception(weights.path, Tiny(), sha256=weights.sha256)
    assert weights.calls[0][1]["weights_only"] is True


@pytest.mark.parametrize("name", ["fc.bias", "a.b.bn.running_var"])
def test_a_missing_array_is_named(weights, name):
    del weights.state[name]
    with pytest.raises(UsageError, match=name) as error:
        load_inception(weights.path, Tiny(), sha256=weights.sha256)
    assert is_one_line(error)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("fc.bias", np.zeros(6, np.float32), r"\(5,\) numbers for fc.bias, got \(6,\)"),
        ("c.conv.weight", np.zeros((4, 1, 1, 1), np.float32), r"no numbers for c.bias, got \(4,\)"),
    ],
)
def test_arrays_of_another_network_are_refused(weights, name, array, message):
    if name.startswith("c"):
        weights.state.update({key.replace("a.b", "c"): x for key, x in weights.state.items() if ".bn." in key})
    weights.state[name] = array
    with pytest.raises(UsageError, match=message):
        load_inception(weights.path, Tiny(), sha256=weights.sha256)


def test_folded_batch_norm_is_batch_norm():
    state = tiny_state(1)
    image = jax.random.normal(jax.random.key(0), (2, 6, 5, 3))
    params = convert_inception(state)
    kernel = jnp.asarray(state["a.b.conv.weight"].transpose(2, 3, 1, 0))
    x = nn.Conv(4, (3, 3), use_bias=False).apply({"params": {"kernel": kernel}}, image)
    norm = nn.BatchNorm(use_running_average=True, epsilon=1e-3)
    learned = {"scale": state["a.b.bn.weight"], "bias": state["a.b.bn.bias"]}
    running = {"mean": state["a.b.bn.running_mean"], "var": state["a.b.bn.running_var"]}
    wanted = norm.apply({"params": learned, "batch_stats": running}, x)
    np.testing.assert_allclose(nn.Conv(4, (3, 3)).apply({"params": params["a.b"]}, image), wanted, atol=1e-5)


def test_batches_change_nothing_and_bias_is_taken_off(weights):
    images = np.random.RandomState(2).uniform(-1, 1, (7, 8, 8, 3)).astype(np.float32)
    given = {"sha256": weights.sha256}
    results = [make_inception_encoder(weights.path, Tiny(), batch_size=n, **given)(images) for n in (3, 7, 10)]
    for result in results:
        assert [result[name].shape for name in ("logits", "logits_unbiased", "features")] == [(7, 5), (7, 5), (7, 4)]
        for name, values in result.items():
            np.testing.assert_allclose(values, results[0][name], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            result["logits"] - result["logits_unbiased"], [weights.state["fc.bias"]] * 7, rtol=1e-4
        )
    _, features = Tiny().apply({"params": convert_inception(weights.state)}, np.round(127.5 * (images + 1)) / 127.5 - 1)
    np.testing.assert_allclose(results[0]["features"], features, rtol=1e-4, atol=1e-5)


def test_images_are_seen_in_8_bits_and_grey_ones_in_three_channels(weights):
    encode = make_inception_encoder(weights.path, Tiny(), batch_size=4, sha256=weights.sha256)
    levels = np.random.RandomState(3).randint(0, 256, (4, 8, 8, 1)).astype(np.float32)
    features = encode(levels / 127.5 - 1)["features"]
    np.testing.assert_array_equal(encode((levels + np.float32(0.3)) / 127.5 - 1)["features"], features)
    np.testing.assert_array_equal(encode(np.repeat(levels / 127.5 - 1, 3, axis=-1))["features"], features)
    assert np.abs(encode((levels + 2) / 127.5 - 1)["features"] - features).max() > 1e-4
    with pytest.raises(UsageError, match="got 2"):
        encode(np.zeros((1, 8, 8, 2), np.float32))
