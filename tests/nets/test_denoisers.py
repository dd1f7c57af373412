"""Contract of all networks of diffusion models."""

import math

import flax.linen as nn
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from aigc_jax.nets.dit import DiT, grid_positions
from aigc_jax.nets.dropout import Dropout
from aigc_jax.nets.embeddings import NoiseEmbedding, sinusoids
from aigc_jax.nets.mlp import MLPDenoiser
from aigc_jax.nets.modulation import ModulatedNorm
from aigc_jax.nets.patches import to_patches
from aigc_jax.nets.unet import UNet
from aigc_jax.rng import example_keys

KEY = jax.random.key(0)
KEYS = example_keys(KEY, 3)
NUM_CLASSES = 3
NETS = {
    "unet": UNet(8, (1, 2), 1, (4,), head_width=8, num_classes=NUM_CLASSES, dropout=0.5),
    "cheap unet": UNet(
        8, (1, 2), 1, (), 8, 0.5, NUM_CLASSES, patch_size=2, norm="rms", resampling="patch", is_symmetric=True
    ),
    "ddpm unet": UNet(8, (1, 2), 1, (), 0, 0.5, NUM_CLASSES, is_scale_shift=False, resampling="conv"),
    "dit": DiT(4, 8, 2, head_width=4, num_classes=NUM_CLASSES, dropout=0.5),
    "mlp": MLPDenoiser((8, 8), num_classes=NUM_CLASSES, dropout=0.5),
}


def inputs(name, batch=3):
    shape = (2,) if name == "mlp" else (8, 8, 1)
    x = jax.random.normal(jax.random.key(1), (batch, *shape))
    return x, jnp.linspace(0.1, 0.9, batch), jnp.arange(batch) % NUM_CLASSES


def shapes_of(net, name):
    """Shapes of the output and of the parameters."""
    return jax.eval_shape(lambda: net.init_with_output(KEY, *inputs(name)))


def perturbed(shapes):
    """Parameters as after some training: no weight is zero any more."""
    leaves, tree = jax.tree.flatten(shapes)
    numbers = np.random.default_rng(0)
    return jax.tree.unflatten(tree, [jnp.asarray(0.4 * numbers.normal(size=leaf.shape), leaf.dtype) for leaf in leaves])


TRAINED = [pytest.param(name, marks=[] if name in ("dit", "mlp") else [pytest.mark.checked]) for name in NETS]
"""Of the U-Nets, which compile for seconds, none is in the quick suite."""


@pytest.fixture(scope="module", params=TRAINED)
def trained(request):
    """A network's name, itself compiled once, and parameters without zeros."""
    net = NETS[request.param]

    # Always with dropout: each way to call it costs a compilation.
    compiled = jax.jit(
        lambda params, x, noise_label, condition, keys: net.apply(params, x, noise_label, condition, keys=keys)
    )

    def apply(params, x, noise_label, condition, keys=KEYS):
        return compiled(params, x, noise_label, condition, keys)

    return request.param, apply, perturbed(shapes_of(net, request.param)[1])


def test_denoiser_nets_output_zero_at_first(trained):
    name, apply, params = trained
    assert jnp.abs(apply(params, *inputs(name))).max() > 1e-3
    # Only the last layer is made: the compiler leaves out the rest of a long program.
    out = jax.jit(lambda: NETS[name].init(KEY, *inputs(name))["params"]["out"])()
    output = apply({"params": {**params["params"], "out": out}}, *inputs(name))
    assert output.shape == inputs(name)[0].shape
    np.testing.assert_array_equal(output, 0.0)


def test_denoiser_nets_use_noise_level_and_class_of_each_example(trained):
    name, apply, params = trained
    x, noise_label, condition = inputs(name)
    output = apply(params, x, noise_label, condition)
    changes = [(x.at[1].add(0.5), noise_label, condition), (x, noise_label.at[1].add(0.3), condition)]
    changes.append((x, noise_label, condition.at[1].set(0)))
    for change in changes:
        other = apply(params, *change)
        np.testing.assert_allclose(other[0::2], output[0::2], atol=1e-5)
        assert jnp.abs(other[1] - output[1]).max() > 1e-3


def test_denoiser_nets_take_no_condition_as_the_class_after_the_last(trained):
    name, apply, params = trained
    x, noise_label, condition = inputs(name)
    null = jnp.full_like(condition, NUM_CLASSES)
    unconditional = apply(params, x, noise_label, None)
    np.testing.assert_array_equal(apply(params, x, noise_label, null), unconditional)
    assert jnp.abs(apply(params, x, noise_label, condition) - unconditional).max() > 1e-3


def test_denoiser_nets_dropout_depends_on_each_examples_own_key(trained):
    name, apply, params = trained
    output = apply(params, *inputs(name))
    other = apply(params, *inputs(name), KEYS.at[1].set(KEY))
    np.testing.assert_allclose(other[0::2], output[0::2], atol=1e-5)
    assert jnp.abs(other[1] - output[1]).max() > 1e-3


@pytest.mark.parametrize("name", NETS)
def test_denoiser_nets_without_classes_take_none(name):
    net = NETS[name].clone(num_classes=0)
    x, noise_label, _ = inputs(name)
    shapes = jax.eval_shape(lambda: net.init_with_output(KEY, x, noise_label, None))
    assert shapes[0].shape == x.shape
    assert not any("class" in jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes[1]))


def equations(jaxpr):
    """All equations of a program, those of the programs in it as well."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from equations(inner)


@pytest.mark.parametrize("name", NETS)
def test_denoiser_nets_in_bfloat16_keep_float32_weights(name):
    net = NETS[name].clone(dtype=jnp.bfloat16)
    batch = inputs(name)
    params = jax.eval_shape(lambda: net.init(KEY, *batch))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    jaxpr = jax.make_jaxpr(lambda params: net.apply(params, *batch, keys=KEYS))(params)
    products = [x.invars for x in equations(jaxpr.jaxpr) if x.primitive.name in ("dot_general", "conv_general_dilated")]
    assert products
    assert {x.aval.dtype for pair in products for x in pair} == {jnp.dtype(jnp.bfloat16)}
    assert [out.dtype for out in jaxpr.out_avals] == [jnp.dtype("float32")]


@pytest.mark.parametrize("name", ["unet", "dit", "mlp"])
def test_denoiser_nets_have_the_chosen_number_of_outputs(name):
    net = NETS[name].clone(out_channels=5)
    x, noise_label, _ = inputs(name)
    output, _ = jax.eval_shape(lambda: net.init_with_output(KEY, x, noise_label, None))
    assert output.shape == (*x.shape[:-1], 5)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (UNet(8, (1, 1, 1, 1, 1), 1, ()), "multiples of 16, got 8 x 8"),
        (DiT(3, 8, 1), "patch_size 3 needs sides that are multiples of 3, got 8 x 8: pass --image-shape 9 9 1"),
        (DiT(4, 8, 1, head_width=3), "multiple of head_width 3, got 8"),
        (DiT(4, 6, 1, head_width=3), "multiple of 4, got 6"),
    ],
)
def test_denoiser_nets_refuse_sizes_that_do_not_divide(net, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: net.init(KEY, jnp.zeros((1, 8, 8, 1)), jnp.zeros(1), None))


def num_parameters(net, shape):
    params = jax.eval_shape(lambda: net.init(KEY, jnp.zeros((1, *shape)), jnp.zeros((1,)), None))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


@pytest.mark.checked
def test_dit_has_the_papers_numbers_of_parameters():
    def dit(width, depth, head_width=64):
        return DiT(2, width, depth, head_width=head_width, num_classes=1000, out_channels=8)

    millions = [num_parameters(net, (32, 32, 4)) / 1e6 for net in (dit(384, 12), dit(768, 12), dit(1024, 24))]
    np.testing.assert_allclose(millions, [33, 130, 458], atol=0.6)
    assert num_parameters(dit(1152, 28, 72), (32, 32, 4)) / 1e6 == pytest.approx(675, abs=0.5)


def test_modulated_norm_matches_group_norm_of_torch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(2, 4, 6, 16)).astype(np.float32)
    expected = torch.nn.functional.group_norm(torch.tensor(x).permute(0, 3, 1, 2), 4, eps=1e-5).permute(0, 2, 3, 1)
    output, _ = jax.jit(ModulatedNorm("group").init_with_output)(KEY, jnp.asarray(x), None)
    np.testing.assert_allclose(output, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["group", "layer", "rms"])
def test_modulated_norm_has_unit_scale_and_follows_the_embedding(kind):
    x = jax.random.normal(KEY, (2, 3, 3, 8)) + 5.0
    embedding = jax.random.normal(KEY, (2, 4))
    net = ModulatedNorm(kind)
    output, _ = jax.jit(net.init_with_output)(KEY, x, None)
    np.testing.assert_allclose(jnp.mean(jnp.square(output), axis=(1, 2, 3)), 1.0, rtol=1e-3)
    assert jnp.abs(output.mean()) < 1e-4 or kind == "rms"
    variables = jax.jit(net.init)(KEY, x, embedding)
    modulated = net.apply(variables, x, embedding)
    dense = variables["params"]["modulation"]
    scale, shift = jnp.split(jax.nn.silu(embedding) @ dense["kernel"], 2, axis=-1)
    expected = output * (1 + scale[:, None, None]) + shift[:, None, None]
    np.testing.assert_allclose(modulated, expected, atol=1e-4)


class TwoDropouts(nn.Module):
    @nn.compact
    def __call__(self, x, keys):
        return Dropout(0.5)(x, keys), Dropout(0.5)(x, keys)


def test_dropout_keeps_the_mean_and_differs_between_layers():
    x = jnp.ones((4, 4000))
    keys = example_keys(KEY, 4)
    output = Dropout(0.25).apply({}, x, keys)
    assert set(np.unique(output)) == {np.float32(0.0), np.float32(1 / 0.75)}
    np.testing.assert_allclose(output.mean(axis=1), 1.0, atol=5 * (0.25 / 0.75 / 4000) ** 0.5)
    np.testing.assert_array_equal(Dropout(0.25).apply({}, x, None), x)
    np.testing.assert_array_equal(Dropout(0.25).apply({}, x[:2], keys[:2]), output[:2])
    first, second = TwoDropouts().apply({}, x, keys)
    assert jnp.mean(first != second) == pytest.approx(2 * 0.5 * 0.5, abs=0.05)


def test_sinusoids_differ_for_ddpms_thousand_steps():
    waves = sinusoids(jnp.arange(1000.0), 32)
    np.testing.assert_allclose(jnp.sum(jnp.square(waves), axis=-1), 16.0, rtol=1e-4)
    assert pdist(np.asarray(waves)).min() > 0.3


def test_grid_positions_differ_and_rows_share_half():
    places = np.asarray(grid_positions(5, 7, 16))
    assert len(np.unique(places.round(5), axis=0)) == 35
    rows = places.reshape(5, 7, 16)
    np.testing.assert_array_equal(rows[:, :1, :8].repeat(7, axis=1), rows[:, :, :8])
    np.testing.assert_array_equal(rows[:1, :, 8:].repeat(5, axis=0), rows[:, :, 8:])


def test_noise_embedding_adds_a_class_vector():
    net, noise_label = NoiseEmbedding(8, num_classes=2), jnp.array([0.1, 0.5])
    variables = jax.jit(net.init)(KEY, noise_label, None)
    table = variables["params"]["class"]["embedding"]
    assert table.shape == (3, 8)
    difference = net.apply(variables, noise_label, jnp.array([0, 1])) - net.apply(variables, noise_label, None)
    np.testing.assert_allclose(difference, table[:2] - table[2:], atol=1e-5)


def test_to_patches_gives_the_squares_of_the_image():
    x = np.random.default_rng(0).normal(size=(2, 6, 9, 2)).astype(np.float32)
    patches = to_patches(jnp.asarray(x), 3)
    for row, column in np.ndindex(2, 3):
        square = x[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        np.testing.assert_array_equal(patches[:, row, column], square.reshape(2, -1))
