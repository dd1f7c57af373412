"""Normalisation against numpy: singular values, moments, a class's own scale and bias."""

import ast
import re
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.nets.modulation import ModulatedNorm
from aigc_jax.nets.norm import LayerNorm, Norm, spectral

ROOT = Path(__file__).parents[2]


class Spectral(nn.Module):
    layer: type = nn.Dense
    enabled: bool = True

    @nn.compact
    def __call__(self, x, *, train):
        sizes = {nn.Dense: (5,), nn.Conv: (4, (3, 3)), nn.Embed: (6, 4)}[self.layer]
        return spectral(self.layer(*sizes), x, train=train, enabled=self.enabled)


INPUTS = {
    nn.Dense: jax.random.normal(jax.random.key(1), (3, 7)),
    nn.Conv: jax.random.normal(jax.random.key(1), (2, 5, 5, 3)),
    nn.Embed: jnp.arange(6),
}


def weight(params):
    (layer,) = params.values()
    return next(value for name, value in layer.items() if name in ("kernel", "embedding"))


def iterated(net, x, steps):
    variables = net.init(jax.random.key(0), x, train=True)
    params, stats = variables["params"], {"batch_stats": variables["batch_stats"]}
    apply = jax.jit(lambda stats: net.apply({"params": params, **stats}, x, train=True, mutable=["batch_stats"]))
    for _ in range(steps):
        output, stats = apply(stats)
    return output, params, stats


@pytest.mark.checked
@pytest.mark.parametrize("layer", INPUTS)
def test_spectral_divides_by_numpys_largest_singular_value(layer):
    net, x = Spectral(layer), INPUTS[layer]
    output, params, stats = iterated(net, x, 300)
    w = np.asarray(weight(params))
    sigma = np.linalg.svd(w.reshape(-1, w.shape[-1]), compute_uv=False)[0]
    plain = Spectral(layer, enabled=False).apply({"params": params}, x, train=True)
    np.testing.assert_allclose(output * sigma, plain, rtol=1e-3, atol=1e-4)
    again = net.apply({"params": params, **stats}, x, train=False)  # nothing moves: not mutable
    np.testing.assert_allclose(again, output, atol=1e-5)


@pytest.mark.checked
def test_spectral_gradient_holds_the_singular_vectors_fixed():
    net, x = Spectral(), INPUTS[nn.Dense]
    _, params, stats = iterated(net, x, 300)
    cotangent = jax.random.normal(jax.random.key(2), (3, 5))

    def normalised(params):
        return jnp.sum(cotangent * net.apply({"params": params, **stats}, x, train=False))

    w = weight(params)
    u, _, vt = np.linalg.svd(np.asarray(w), full_matrices=False)

    def by_hand(w):
        return jnp.sum(cotangent * (x @ (w / (jnp.asarray(u[:, 0]) @ w @ jnp.asarray(vt[0])))))

    np.testing.assert_allclose(weight(jax.grad(normalised)(params)), jax.grad(by_hand)(w), rtol=1e-3, atol=1e-4)
    # So the output does not depend on the weights' scale: no gradient along w itself.
    assert abs(float(jnp.sum(weight(jax.grad(normalised)(params)) * w))) < 1e-3


def test_spectral_vector_moves_only_in_training():
    net, x = Spectral(), INPUTS[nn.Dense]
    variables = net.init(jax.random.key(0), x, train=True)
    for train in (True, False):
        _, stats = net.apply(variables, x, train=train, mutable=["batch_stats"])
        pairs = zip(jax.tree.leaves(stats), jax.tree.leaves({"batch_stats": variables["batch_stats"]}), strict=True)
        assert any(np.any(a != b) for a, b in pairs) == train


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 3, 4)])
@pytest.mark.parametrize("kind", ["layer", "batch"])
def test_norm_has_scale_and_bias_per_class(kind, shape):
    net, x = Norm(kind, num_classes=3), 3 + 2 * jax.random.normal(jax.random.key(1), shape)
    condition = jnp.array([0, 1, 2, 0, 1, 2])
    variables = net.init(jax.random.key(0), x, condition, train=True)
    scale, bias = jax.random.normal(jax.random.key(2), (2, 3, 4))
    variables = {**variables, "params": {"scale": {"embedding": scale}, "bias": {"embedding": bias}}}
    output, _ = net.apply(variables, x, condition, train=True, mutable=["batch_stats"])
    plain = np.asarray(x)
    axes = -1 if kind == "layer" else tuple(range(len(shape) - 1))
    plain = (plain - plain.mean(axes, keepdims=True)) / plain.std(axes, keepdims=True)
    for i, c in enumerate(condition):
        np.testing.assert_allclose(output[i], plain[i] * np.asarray(scale[c]) + np.asarray(bias[c]), atol=2e-3)


def test_norm_without_condition_shares_scale_and_none_is_the_identity():
    x = jax.random.normal(jax.random.key(1), (6, 4))
    net = Norm("batch", num_classes=3)
    variables = net.init(jax.random.key(0), x, None, train=True)
    assert [leaf.shape for leaf in jax.tree.leaves(variables["params"])] == [(4,), (4,)]
    assert Norm("none").init(jax.random.key(0), x, None, train=True) == {}
    np.testing.assert_array_equal(Norm("none").apply({}, x, None, train=True), x)


def test_batch_norm_uses_running_statistics_outside_training():
    net, x = Norm("batch"), 5 + 3 * jax.random.normal(jax.random.key(1), (64, 4))
    variables = net.init(jax.random.key(0), x, None, train=True)
    np.testing.assert_allclose(net.apply(variables, x, None, train=False), x, rtol=1e-4)
    for _ in range(100):
        output, stats = net.apply(variables, x, None, train=True, mutable=["batch_stats"])
        variables = {**variables, **stats}
    np.testing.assert_allclose(net.apply(variables, x, None, train=False), output, atol=1e-3)


def test_batch_norm_over_devices_has_statistics_of_the_whole_batch():
    x = 5 + 3 * jax.random.normal(jax.random.key(1), (8, 4))
    alone, together = Norm("batch"), Norm("batch", axis_name="data")
    variables = alone.init(jax.random.key(0), x, None, train=True)
    apply = lambda net: lambda x: net.apply(variables, x, None, train=True, mutable=["batch_stats"])  # noqa: E731
    whole, stats = apply(alone)(x)
    parts, shared = jax.vmap(apply(together), axis_name="data")(x.reshape(4, 2, 4))
    np.testing.assert_allclose(parts.reshape(8, 4), whole, atol=1e-5)
    for part, one in zip(jax.tree.leaves(shared), jax.tree.leaves(stats), strict=True):
        np.testing.assert_allclose(part, np.broadcast_to(one, part.shape), rtol=1e-5)
    separate, _ = jax.vmap(apply(alone), axis_name="data")(x.reshape(4, 2, 4))
    assert np.abs(separate.reshape(8, 4) - whole).max() > 0.1


def normalised(net, x):
    """The output of a layer without condition or embedding, float64."""
    given = {"train": True} if isinstance(net, Norm) else {}
    return np.asarray(jax.jit(lambda x: net.init_with_output(jax.random.key(0), x, None, **given)[0])(x), np.float64)


def two_passes(x, axes, epsilon):
    """Mean first, then the variance of what is left, in float64."""
    x = np.asarray(x, np.float64)
    x = x - x.mean(axes, keepdims=True)
    return x / np.sqrt(np.square(x).mean(axes, keepdims=True) + epsilon)


LAYER_NORMS = {"flax": Norm("layer"), "modulated": ModulatedNorm("layer")}


@pytest.mark.parametrize("offset", [0, 100, 1000])
def test_group_norm_of_a_large_offset_keeps_its_digits(offset):
    x = (offset + np.arange(16) / 1000).astype(np.float32).reshape(1, 4, 4)  # tracel-ai/burn #5607
    output = normalised(ModulatedNorm("group"), x)
    np.testing.assert_allclose(output, two_passes(x, (1, 2), 1e-5), atol=1e-4)
    assert output[0, 0, 0] == pytest.approx(-1.3415, abs=2e-4)


@pytest.mark.parametrize("name", LAYER_NORMS)
@pytest.mark.parametrize("offset", [0, 100, 1000])
def test_layer_norm_of_a_large_offset_keeps_its_digits(name, offset):
    x = (offset + np.arange(16) / 1000).astype(np.float32)[None]
    output = normalised(LAYER_NORMS[name], x)
    np.testing.assert_allclose(output, two_passes(x, -1, 1e-6), atol=1e-4)
    assert output[0, 0] == pytest.approx(-1.5898, abs=2e-4)


@pytest.mark.parametrize("name", LAYER_NORMS)
def test_layer_norm_of_a_large_mean_has_variance_one(name):
    x = np.random.default_rng(0).normal(2000.0, 1.0, (5, 4)).astype(np.float32)  # pytorch/pytorch #51102
    np.testing.assert_allclose(normalised(LAYER_NORMS[name], x).var(axis=1), 1.0, atol=1e-4)


@pytest.mark.parametrize("kind", ["group", "layer"])
@pytest.mark.parametrize("offset", [100, 300, 1000])
def test_modulated_norm_matches_float64_for_any_offset(kind, offset):
    x = np.random.default_rng(0).normal(offset, 1.0, (2, 16, 16, 32)).astype(np.float32)
    groups = x.reshape(2, 256, 8, 4) if kind == "group" else x
    expected = two_passes(groups, *(((1, 3), 1e-5) if kind == "group" else (-1, 1e-6)))
    np.testing.assert_allclose(normalised(ModulatedNorm(kind), x), expected.reshape(x.shape), atol=1e-5)


def test_norms_of_a_small_spread_about_100_keep_it():
    x = (100 + 0.01 * np.random.default_rng(0).normal(size=(2, 8, 8, 16))).astype(np.float32)  # pytorch/pytorch #40302
    expected = two_passes(x.reshape(2, 64, 4, 4), (1, 3), 1e-5).reshape(x.shape)
    output = normalised(ModulatedNorm("group"), x)
    np.testing.assert_allclose(output, expected, atol=1e-4)
    np.testing.assert_allclose(output.std(axis=(1, 2, 3)), 0.953, atol=4e-3)
    batch = normalised(Norm("batch"), x)
    # The mean itself is rounded to a few units in the last place of 100, which are 8e-6 each: 8e-4 of the spread.
    np.testing.assert_allclose(batch, two_passes(x, (0, 1, 2), 1e-5), atol=1e-2)
    np.testing.assert_allclose(batch.std(axis=(0, 1, 2)).mean(), 0.953, atol=4e-3)


def test_batch_norm_over_devices_keeps_the_digits_of_a_large_offset():
    x = (100 + 0.01 * np.random.default_rng(0).normal(size=(4, 2, 8, 8, 3))).astype(np.float32)
    variables = Norm("batch").init(jax.random.key(0), jnp.asarray(x[0]), None, train=True)
    net = Norm("batch", axis_name="data")
    apply = lambda x: net.apply(variables, x, None, train=True, mutable=["batch_stats"])[0]  # noqa: E731
    parts = jax.vmap(apply, axis_name="data")(x)
    np.testing.assert_allclose(parts, two_passes(x, (0, 1, 2, 3), 1e-5), atol=1e-2)


@pytest.mark.checked
@pytest.mark.parametrize(
    "net", [LayerNorm(), ModulatedNorm("group"), ModulatedNorm("layer")], ids=["flax", "group", "layer"]
)
def test_norm_gradient_matches_its_formula(net):
    """The number that is subtracted first is no part of the formula, and no gradient goes through it."""
    x, cotangent = np.random.default_rng(0).normal(3.0, 1.0, (2, 2, 3, 8))
    args = () if isinstance(net, LayerNorm) else (None,)

    def formula(x):
        is_group = isinstance(net, ModulatedNorm) and net.kind == "group"
        groups, axes, epsilon = (x.reshape(2, 3, 2, 4), (1, 3), 1e-5) if is_group else (x, (-1,), 1e-6)
        centred = groups - groups.mean(axes, keepdims=True)
        return (centred / jnp.sqrt(jnp.square(centred).mean(axes, keepdims=True) + epsilon)).reshape(x.shape)

    with jax.enable_x64(True):
        expected = jax.grad(lambda x: jnp.sum(formula(x) * cotangent))(jnp.asarray(x))
    single, weights = jnp.asarray(x, jnp.float32), jnp.asarray(cotangent, jnp.float32)
    variables = net.init(jax.random.key(0), single, *args)
    gradient = jax.grad(lambda x: jnp.sum(net.apply(variables, x, *args) * weights))(single)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_norms_use_no_difference_of_moments():
    """Flax's norms do, by default; ours take them from nets/norm.py."""
    found = []
    for path in sorted(ROOT.glob("aigc_jax/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and re.fullmatch(r"nn\.\w*Norm", ast.unparse(node.func)):
                given = [ast.unparse(keyword) for keyword in node.keywords]
                # The norm by root mean squares subtracts nothing.
                is_other = ast.unparse(node.func) in ("nn.SpectralNorm", "nn.RMSNorm")
                if "use_fast_variance=False" not in given and not is_other:
                    found.append(f"{path.name}: {ast.unparse(node)}")
    assert found == []
