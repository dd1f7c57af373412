"""Normalisation against numpy: singular values, moments, a class's own scale and bias."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.nets.norm import Norm, spectral


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


@pytest.mark.parametrize("layer", INPUTS)
def test_weights_are_divided_by_numpys_largest_singular_value(layer):
    net, x = Spectral(layer), INPUTS[layer]
    output, params, stats = iterated(net, x, 300)
    w = np.asarray(weight(params))
    sigma = np.linalg.svd(w.reshape(-1, w.shape[-1]), compute_uv=False)[0]
    plain = Spectral(layer, enabled=False).apply({"params": params}, x, train=True)
    np.testing.assert_allclose(output * sigma, plain, rtol=1e-3, atol=1e-4)
    again = net.apply({"params": params, **stats}, x, train=False)  # nothing moves: not mutable
    np.testing.assert_allclose(again, output, atol=1e-5)


def test_the_gradient_holds_the_singular_vectors_fixed():
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


def test_the_vector_moves_in_training_only_and_is_kept():
    net, x = Spectral(), INPUTS[nn.Dense]
    variables = net.init(jax.random.key(0), x, train=True)
    for train in (True, False):
        _, stats = net.apply(variables, x, train=train, mutable=["batch_stats"])
        pairs = zip(jax.tree.leaves(stats), jax.tree.leaves({"batch_stats": variables["batch_stats"]}), strict=True)
        assert any(np.any(a != b) for a, b in pairs) == train


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 3, 4)])
@pytest.mark.parametrize("kind", ["layer", "batch"])
def test_each_class_has_its_own_scale_and_bias(kind, shape):
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


def test_without_a_condition_all_share_one_scale_and_none_does_nothing():
    x = jax.random.normal(jax.random.key(1), (6, 4))
    net = Norm("batch", num_classes=3)
    variables = net.init(jax.random.key(0), x, None, train=True)
    assert [leaf.shape for leaf in jax.tree.leaves(variables["params"])] == [(4,), (4,)]
    assert Norm("none").init(jax.random.key(0), x, None, train=True) == {}
    np.testing.assert_array_equal(Norm("none").apply({}, x, None, train=True), x)


def test_running_statistics_are_used_outside_training_and_approach_the_batchs():
    net, x = Norm("batch"), 5 + 3 * jax.random.normal(jax.random.key(1), (64, 4))
    variables = net.init(jax.random.key(0), x, None, train=True)
    np.testing.assert_allclose(net.apply(variables, x, None, train=False), x, rtol=1e-4)
    for _ in range(100):
        output, stats = net.apply(variables, x, None, train=True, mutable=["batch_stats"])
        variables = {**variables, **stats}
    np.testing.assert_allclose(net.apply(variables, x, None, train=False), output, atol=1e-3)


def test_statistics_over_devices_are_those_of_the_whole_batch():
    x = 5 + 3 * jax.random.normal(jax.random.key(1), (8, 4))
    alone, together = Norm("batch"), Norm("batch", axis_name="data")
    variables = alone.init(jax.random.key(0), x, None, train=True)
    apply = lambda net: lambda x: net.apply(variables, x, None, train=True, mutable=["batch_stats"])  # noqa: E731
    whole, stats = apply(alone)(x)
    parts, shared = jax.vmap(apply(together), axis_name="data")(x.reshape(4, 2, 4))
    np.testing.assert_allclose(parts.reshape(8, 4), whole, atol=1e-5)
    for part, one in zip(jax.tree.leaves(shared), jax.tree.leaves(stats), strict=True):
        np.testing.assert_allclose(part, np.broadcast_to(one, part.shape), rtol=1e-5)
    apart, _ = jax.vmap(apply(alone), axis_name="data")(x.reshape(4, 2, 4))
    assert np.abs(apart.reshape(8, 4) - whole).max() > 0.1
