"""Scanned and rematerialised blocks: the network that a Python loop over blocks gives, in one program of fixed size."""

import functools

import flax.linen as nn
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.inference.flops import count_flops
from aigc_jax.nets.dit import DiT, TransformerBlock
from aigc_jax.nets.unet import UNet
from aigc_jax.rng import example_keys
from aigc_jax.types import UsageError

KEY = jax.random.key(0)
KEYS = example_keys(KEY, 2)
SCANNED = DiT(4, 8, 3, head_width=4, num_classes=3, dropout=0.5)
UNET = UNet(8, (1,), 1, (), 8, dropout=0.5, num_classes=3, is_symmetric=True, norm="rms")
INPUTS = jax.random.normal(KEY, (2, 8, 8, 1)), jnp.array([0.2, 0.8]), jnp.array([0, 2])


class NamedBlock(nn.Module):
    """A block under the name that it has in the network, from which its dropout masks derive."""

    net: DiT

    @nn.compact
    def __call__(self, h, embedding, keys):
        return TransformerBlock(self.net.head_width, dropout=self.net.dropout, dtype=self.net.dtype, name="blocks")(
            h, embedding, keys
        )


class Looped(DiT):
    """The same network by a Python loop over the blocks, each with its slice of the parameters."""

    def _blocks(self, h, embedding, keys):
        for number in range(self.depth):
            params = jax.tree.map(lambda leaf, number=number: leaf[number], self.variables["params"]["blocks"])
            own = None if keys is None else jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(keys)
            h = NamedBlock(self.clone(parent=None), parent=None).apply(
                {"params": {"blocks": params}}, h, embedding, own
            )
        return h


@functools.cache
def variables():
    """Parameters as after some training: no layer is zero any more."""
    shapes, numbers = jax.eval_shape(SCANNED.init, KEY, *INPUTS), np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(0.4 * numbers.normal(size=leaf.shape), leaf.dtype), shapes)


def value_and_gradient(net, keys=KEYS):
    def loss(variables):
        return jnp.sum(jnp.sin(net.apply(variables, *INPUTS, keys=keys)))

    return jax.jit(jax.value_and_grad(loss))(variables())


@functools.cache
def expected():
    return value_and_gradient(Looped(**{name: getattr(SCANNED, name) for name in FIELDS}))


FIELDS = ("patch_size", "width", "depth", "head_width", "num_classes", "dropout")


@pytest.mark.checked
@pytest.mark.parametrize(("remat", "unroll"), [("none", 1), ("none", 2), ("dots", 1), ("full", 0)])
def test_dit_equals_a_loop_over_its_blocks(remat, unroll):
    found = value_and_gradient(SCANNED.clone(remat=remat, unroll=unroll))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=2e-5, rtol=1e-4), found, expected())


def test_dit_in_bfloat16_equals_a_loop_over_its_blocks():
    half = SCANNED.clone(dtype=jnp.bfloat16, dropout=0.0)
    looped = Looped(**{name: getattr(half, name) for name in (*FIELDS, "dtype")})
    one, other = (jax.jit(net.apply)(variables(), *INPUTS) for net in (half, looped))
    np.testing.assert_allclose(one, other, atol=0.02 * np.abs(other).max())


def test_dit_initialises_each_block_by_itself():
    net = DiT(4, 64, 4, head_width=32)
    params = jax.jit(lambda: net.init(KEY, INPUTS[0], INPUTS[1], None))()["params"]["blocks"]
    for kernel in (params["hidden"]["kernel"], params["SelfAttention_0"]["qkv"]["kernel"]):
        _, fan_in, fan_out = kernel.shape
        np.testing.assert_allclose(np.std(kernel, axis=(1, 2)), (2 / (fan_in + fan_out)) ** 0.5, rtol=0.05)
        correlation = np.corrcoef(np.asarray(kernel).reshape(4, -1))
        assert np.abs(correlation - np.eye(4)).max() < 0.05


def num_equations(jaxpr):
    inner = sum(num_equations(each) for e in jaxpr.eqns for each in jax.extend.core.jaxprs_in_params(e.params))
    return len(jaxpr.eqns) + inner


def test_dit_has_a_program_of_one_size_whatever_its_depth():
    def size(depth):
        net = SCANNED.clone(depth=depth)
        shapes = jax.eval_shape(net.init, KEY, *INPUTS)
        gradient = jax.grad(lambda variables: jnp.sum(net.apply(variables, *INPUTS, keys=KEYS)))
        return num_equations(jax.make_jaxpr(gradient)(shapes).jaxpr)

    assert size(2) == size(20)


@pytest.mark.checked
@pytest.mark.parametrize("net", [SCANNED, UNET], ids=["dit", "unet"])
def test_remat_computes_more_again_from_none_to_dots_to_full(net):
    def flops(remat):
        chosen = net.clone(remat=remat)
        shapes = jax.eval_shape(chosen.init, KEY, *INPUTS)
        return count_flops(jax.grad(lambda variables: jnp.sum(chosen.apply(variables, *INPUTS))), shapes)

    none, dots, full = map(flops, ("none", "dots", "full"))
    assert none <= dots < full
    assert full <= 4 / 3 * none


@pytest.mark.checked
def test_unet_with_remat_has_the_same_parameters_and_gradients():
    shapes, numbers = jax.eval_shape(UNET.init, KEY, *INPUTS), np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.3 * numbers.normal(size=leaf.shape), leaf.dtype), shapes)
    loss = lambda params, net: jnp.sum(jnp.sin(net.apply(params, *INPUTS, keys=KEYS)))  # noqa: E731
    one, other = (
        jax.jit(jax.grad(loss), static_argnums=1)(params, UNET.clone(remat=kind)) for kind in ("none", "full")
    )
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4), one, other)
    assert jax.eval_shape(UNET.clone(remat="dots").init, KEY, *INPUTS) == shapes


@pytest.mark.unchecked_types
def test_remat_of_another_kind_is_refused():
    with pytest.raises(UsageError, match="remat to be one of none, dots, full, got 'some'"):
        jax.eval_shape(SCANNED.clone(remat="some").init, KEY, *INPUTS)
