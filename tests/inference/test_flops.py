"""Counted operations against XLA's own count of programs without loops, and against formulas of the literature."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, PartitionSpec

from aigc_jax.inference.flops import count_flops
from aigc_jax.nets.dit import DiT
from aigc_jax.nets.unet import UNet


def of_xla(fn, *args):
    """XLA's count of a program that is not compiled; it counts sums and products of single numbers too."""
    return jax.jit(fn).lower(*args).cost_analysis()["flops"]


def struct(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        (((2, 9, 7, 4), (3, 3, 4, 8)), {"padding": "SAME"}),
        (((2, 9, 7, 4), (3, 2, 4, 8)), {"padding": "VALID", "window_strides": (2, 1)}),
        (((2, 8, 8, 4), (4, 4, 4, 8)), {"padding": [(2, 3), (1, 0)], "lhs_dilation": (2, 3)}),
        (((2, 8, 8, 4), (3, 3, 4, 8)), {"padding": "SAME", "rhs_dilation": (2, 1)}),
        (((2, 8, 8, 4), (3, 3, 2, 8)), {"padding": "SAME", "feature_group_count": 2}),
        (((4, 8, 8, 4), (3, 3, 4, 8)), {"padding": "SAME", "batch_group_count": 2}),
    ],
)
def test_count_flops_of_convolutions_equals_xlas(shapes, options):
    options = {"window_strides": (1, 1), "dimension_numbers": ("NHWC", "HWIO", "NHWC"), **options}
    args = [struct(*shape) for shape in shapes]
    convolve = lambda x, kernel: jax.lax.conv_general_dilated(x, kernel, **options)  # noqa: E731
    assert count_flops(convolve, *args) == of_xla(convolve, *args) > 0


def test_count_flops_of_batched_products_equals_xlas():
    product = lambda x, y: jnp.einsum("bik,bkj->bij", x, y)  # noqa: E731
    args = struct(5, 3, 7), struct(5, 7, 4)
    assert count_flops(product, *args) == of_xla(product, *args) == 2 * 5 * 3 * 7 * 4


def test_count_flops_of_loops_counts_every_turn():
    x, y = struct(4, 4), struct(8, 4, 4)
    inner = lambda x, y: (jax.lax.scan(lambda x, y: (x @ y, None), x, y)[0], None)  # noqa: E731
    outer = lambda x, y: jax.lax.scan(lambda x, _: inner(x, y), x, length=3)[0]  # noqa: E731
    assert count_flops(outer, x, y) == 3 * 8 * 2 * 4**3
    forward_and_backward = jax.grad(lambda x, y: outer(x, y).sum(), argnums=(0, 1))
    assert count_flops(forward_and_backward, x, y) == 3 * 3 * 8 * 2 * 4**3
    branches = lambda x, y: jax.lax.cond(x[0, 0] > 0, lambda: x @ x, lambda: y[0] @ x @ x)  # noqa: E731
    assert count_flops(branches, x, y) == 2 * 2 * 4**3


def test_count_flops_of_a_sharded_program_counts_all_devices():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    product = lambda x, y: x @ y  # noqa: E731
    spread = jax.shard_map(
        product, mesh=mesh, in_specs=(PartitionSpec("data"), PartitionSpec()), out_specs=PartitionSpec("data")
    )
    assert count_flops(spread, struct(8, 4), struct(4, 5)) == count_flops(product, struct(8, 4), struct(4, 5))


def test_count_flops_counts_what_is_recomputed():
    layers = lambda x, y: jnp.sin(jnp.sin(x @ y) @ y).sum()  # noqa: E731
    args = struct(4, 4), struct(4, 4)
    once, twice = (count_flops(jax.grad(fn, argnums=(0, 1)), *args) for fn in (layers, jax.checkpoint(layers)))
    assert (once, twice) == (6 * 2 * 4**3, 8 * 2 * 4**3)


def test_count_flops_of_fused_attention_is_that_of_the_plain_one(monkeypatch):
    # jax traces it only where there is cuDNN.
    from jax._src.cudnn import fused_attention_stablehlo as fused

    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(fused, "check_compute_capability", lambda capability: True)

    def loss(kind, *qkv):
        with jax.numpy_dtype_promotion("standard"):
            out = jax.nn.dot_product_attention(*qkv, implementation=kind)
        return jnp.sum(out.astype(jnp.float32))

    def gradient(kind):
        return lambda *qkv: jax.grad(lambda *qkv: loss(kind, *qkv), argnums=(0, 1, 2))(*qkv)

    with jax.numpy_dtype_promotion("standard"):
        qkv = [struct(2, length, 3, 8, dtype=jnp.bfloat16) for length in (16, 24, 24)]
        plain, counted = (count_flops(gradient(kind), *qkv) for kind in ("xla", "cudnn"))
    assert counted == plain == 12 * 2 * 3 * 8 * 16 * 24


@pytest.mark.parametrize(("width", "depth", "head_width", "billions"), [(768, 12, 64, 23.01), (1152, 28, 72, 118.64)])
def test_count_flops_of_dit_are_the_published_ones(width, depth, head_width, billions):
    """Peebles and Xie 2023, table 4: products of B/2 and XL/2, without the embeddings of time and class."""
    net = DiT(2, width, depth, head_width, num_classes=1000, out_channels=8)
    inputs = struct(1, 32, 32, 4), struct(1), struct(1, dtype=jnp.int32)
    params = jax.eval_shape(net.init, jax.random.key(0), *inputs)
    assert count_flops(net.apply, params, *inputs) / 2e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.slow
def test_count_flops_of_a_network_is_close_to_xlas():
    net = UNet(64, (1, 2), 1, (4,), 32, num_classes=3)
    x, label, condition = jnp.zeros((2, 8, 8, 3)), jnp.zeros(2), jnp.zeros(2, jnp.int32)
    params = jax.eval_shape(net.init, jax.random.key(0), x, label, condition)
    gradient = jax.grad(lambda params: jnp.sum(net.apply(params, x, label, condition)))
    counted = count_flops(gradient, params)
    # XLA also counts norms, activations and other work on single numbers.
    assert counted <= of_xla(gradient, params) <= 1.1 * counted
