"""Self-attention against the formula in float64, and the choice of the fused kernel."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.nets.attention import SelfAttention, has_fused_attention, rotate, rotation


def turned(x):
    """Each pair of channels of [B, L, C] as a complex number, turned by its place."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] * 10_000.0 ** (-np.arange(half) / half)
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
    return np.concatenate([z.real, z.imag], axis=-1)


def exact_attention(x, params, head_width, *, turn=lambda x: x):
    """Equation 1 of Vaswani et al. 2017, head by head, in float64."""
    x, qkv, out = (np.asarray(value, np.float64) for value in (x, params["qkv"]["kernel"], params["out"]["kernel"]))
    query, key, value = (x @ part for part in np.split(qkv, 3, axis=1))
    mixed = np.zeros_like(query)
    for start in range(0, query.shape[-1], head_width):
        head = slice(start, start + head_width)
        logits = np.einsum("bqd,bkd->bqk", turn(query[..., head]), turn(key[..., head])) / np.sqrt(head_width)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        mixed[..., head] = weights / weights.sum(axis=-1, keepdims=True) @ value[..., head]
    return mixed @ out


@pytest.mark.checked
@pytest.mark.parametrize("head_width", [4, 0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.05)])
def test_attention_and_its_gradient_match_float64(head_width, dtype, tolerance):
    net = SelfAttention(head_width, dtype=dtype)
    # Inputs far from the origin and weights that decide: a softmax that is nearly one-hot here and flat there.
    x = jnp.asarray(2 + np.random.default_rng(0).normal(size=(2, 5, 8)), jnp.float32)
    variables = jax.jit(net.init)(jax.random.key(0), x)
    params = variables["params"]
    expected = exact_attention(x, params, head_width or 8)
    np.testing.assert_allclose(net.apply(variables, x), expected, atol=tolerance * np.abs(expected).max())
    direction = np.random.default_rng(1).normal(size=x.shape)
    step = 1e-4
    moved = (np.float64(x) + sign * step * direction for sign in (1, -1))
    ahead, behind = (exact_attention(x, params, head_width or 8) for x in moved)
    loss = lambda x: jnp.sum(jnp.sin(net.apply(variables, x).astype(jnp.float32)))  # noqa: E731
    with jax.numpy_dtype_promotion("standard"):  # the transpose of jax's products of 16 bits promotes
        slope = jnp.sum(jax.grad(loss)(x) * jnp.asarray(direction, jnp.float32))
    exact = (np.sin(ahead) - np.sin(behind)).sum() / (2 * step)
    assert slope == pytest.approx(exact, abs=tolerance * np.abs(direction).sum())


def test_rotary_attention_matches_complex_numbers():
    net = SelfAttention(4, is_rotary=True)
    x = jax.random.normal(jax.random.key(0), (2, 5, 8)) * 2
    variables = jax.jit(net.init)(jax.random.key(1), x)
    expected = exact_attention(x, variables["params"], 4, turn=turned)
    np.testing.assert_allclose(net.apply(variables, x), expected, atol=1e-5 * np.abs(expected).max())


def test_rotate_makes_products_of_relative_positions():
    query, key = jax.random.normal(jax.random.key(0), (2, 1, 1, 2, 8))

    def product(at, other):
        places = (jnp.full((1, 1), place) for place in (at, other))
        return jnp.sum(rotate(query, rotation(next(places), 8)) * rotate(key, rotation(next(places), 8)), axis=-1)

    np.testing.assert_allclose(product(7, 3), product(104, 100), atol=1e-4)
    assert not np.allclose(product(7, 3), product(7, 4), atol=1e-2)


def device(platform, version="", capability=""):
    return SimpleNamespace(
        platform=platform, client=SimpleNamespace(platform_version=version), compute_capability=capability
    )


HOPPER = device("gpu", "PJRT C API\ncuda 13000", "9.0")


@pytest.mark.parametrize(
    ("where", "head_width", "dtype", "is_fused"),
    [
        (HOPPER, 64, jnp.bfloat16, True),
        (HOPPER, 72, jnp.float16, True),
        (device("gpu", "cuda 12090", "12.0"), 128, jnp.bfloat16, True),
        (HOPPER, 64, jnp.float32, False),
        (HOPPER, 256, jnp.bfloat16, False),
        (HOPPER, 4, jnp.bfloat16, False),
        (device("gpu", "cuda 12090", "7.5"), 64, jnp.bfloat16, False),
        (device("gpu", "rocm 60300", "gfx942"), 64, jnp.bfloat16, False),
        (device("tpu"), 64, jnp.bfloat16, False),
        (device("cpu"), 64, jnp.bfloat16, False),
    ],
)
def test_has_fused_attention_is_true_where_cudnn_has_it(where, head_width, dtype, is_fused):
    assert has_fused_attention(where, head_width, dtype) is is_fused


def test_attention_of_kind_cudnn_calls_cudnn():
    """On a machine without cuDNN jax refuses it, which shows that the setting reaches jax."""
    net, x = SelfAttention(8, kind="cudnn", dtype=jnp.bfloat16), jnp.zeros((1, 4, 8))
    with pytest.raises(RuntimeError, match="cuDNN"):
        jax.eval_shape(net.init, jax.random.key(0), x)
