"""Weights of published PyTorch models give the outputs of the PyTorch modules: golden numbers of diffusers."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.inference.published import load_published
from aigc_jax.nets.dit import DiT
from aigc_jax.nets.unet import UNet
from aigc_jax.types import UsageError
from tests.inference.published_example import CLASSES, DIT, NUM_CLASSES, STEPS, example_inputs, example_weights

GOLDEN = json.loads((Path(__file__).parent / "published_golden.json").read_text())
OURS = {
    "unet": UNet(128, (1, 2), 1, (4,), 0, is_scale_shift=False, norm_epsilon=1e-6, endpoint=True, resampling="conv"),
    "dit": DiT(
        DIT["patch_size"],
        DIT["hidden_size"],
        DIT["depth"],
        DIT["hidden_size"] // DIT["num_heads"],
        num_classes=NUM_CLASSES,
        out_channels=2 * DIT["in_channels"],
    ),
}
CHANNELS = {"unet": 3, "dit": 4}


def inputs(kind):
    condition = jnp.asarray(CLASSES, jnp.int32) if kind == "dit" else None
    return jnp.asarray(example_inputs(8, CHANNELS[kind])), jnp.asarray(STEPS / 1000.0, jnp.float32), condition


def expected(kind):
    params = jax.eval_shape(OURS[kind].init, jax.random.key(0), *inputs(kind))["params"]
    return {"params": {"denoiser": params}, "model_state": {}}


def loaded(kind, weights):
    shapes = {name: array.shape for name, array in weights.items()}
    return load_published(shapes, weights.__getitem__, expected(kind))


@functools.cache
def made(kind):
    weights = example_weights(GOLDEN[kind]["shapes"])
    if kind == "dit":
        weights["pos_embed"] = np.reshape(GOLDEN["dit"]["positions"], (1, 16, 48)).astype(np.float32)
    return weights


def weights_of(kind):
    return dict(made(kind))


def as_diffusers(weights):
    """The same weights of the DiT under the names of diffusers."""
    renamed = {}
    for name in GOLDEN["dit"]["diffusers_shapes"]:
        part = name.rpartition(".")[2]
        block = name.split(".")[1]
        for end, origin in {
            "pos_embed.proj": "x_embedder.proj",
            "proj_out_1": "final_layer.adaLN_modulation.1",
            "proj_out_2": "final_layer.linear",
            "linear_1": "t_embedder.mlp.0",
            "linear_2": "t_embedder.mlp.2",
            "embedding_table": "y_embedder.embedding_table",
            "norm1.linear": f"blocks.{block}.adaLN_modulation.1",
            "to_out.0": f"blocks.{block}.attn.proj",
            "net.0.proj": f"blocks.{block}.mlp.fc1",
            "net.2": f"blocks.{block}.mlp.fc2",
        }.items():
            if name.endswith(f"{end}.{part}"):
                renamed[name] = weights[f"{origin}.{part}"]
        for number, letter in enumerate("qkv"):
            if f"to_{letter}." in name:
                renamed[name] = np.split(weights[f"blocks.{block}.attn.qkv.{part}"], 3)[number]
    assert {name: list(array.shape) for name, array in renamed.items()} == GOLDEN["dit"]["diffusers_shapes"]
    return renamed


def with_old_names(weights):
    """Attention as diffusers named it up to 0.16."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, name in old.items():
        weights = {key.replace(f".{new}.", f".{name}."): array for key, array in weights.items()}
    return weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "change"), [("unet", None), ("unet", with_old_names), ("dit", None), ("dit", as_diffusers)]
)
def test_network_with_published_weights_gives_the_output_of_pytorch(kind, change):
    weights = weights_of(kind)
    variables = loaded(kind, change(weights) if change else weights)
    x, label, condition = inputs(kind)
    output = jax.jit(OURS[kind].apply)({"params": variables["params"]["denoiser"]}, x, label, condition)
    golden = np.reshape(GOLDEN[kind]["output"], output.shape)
    assert np.abs(golden).max() > 1
    np.testing.assert_allclose(output, golden, atol=2e-4)
    if kind == "dit":  # the mean is in the first half of the channels
        assert output.shape[-1] == 2 * x.shape[-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_every_published_array_has_its_own_place(kind):
    before = loaded(kind, weights_of(kind))
    for name in list(GOLDEN[kind]["shapes"])[::15]:
        weights = weights_of(kind)
        weights[name] = weights[name] + 1
        after = loaded(kind, weights)
        changed = jax.tree.leaves(jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after))
        assert sum(changed) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_in.bias": None}, "lacks the array 'conv_in.bias'"),
        ({"conv_in.weight": np.zeros((128, 3))}, "'conv_in.weight' with 4 axes"),
        ({"conv_out.bias": np.zeros(4)}, "weights of another model"),
        ({"mid_block.attentions.0.to_q.weight": np.zeros((256, 3))}, "do not fit together"),
        ({"conv_in.weight": None}, "expected the arrays of"),
        ({"more.weight": np.zeros(3)}, "no place for, 'more.weight' first"),
    ],
)
def test_published_unet_of_another_kind_is_refused(change, message):
    weights = {name: array for name, array in {**weights_of("unet"), **change}.items() if array is not None}
    with pytest.raises(UsageError, match=message):
        loaded("unet", weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos_embed": np.zeros((1, 16, 48))}, "other positions"),
        ({"pos_embed": np.zeros((3, 5))}, "other positions"),
        ({"pos_embed": np.zeros(5)}, "do not fit together"),
        ({"blocks.1.mlp.fc1.bias": np.zeros(3)}, "do not fit together"),
        ({"x_embedder.proj.bias": np.zeros(3)}, "48 outputs"),
        ({"x_embedder.proj.bias": np.zeros(52)}, "48 outputs"),
        ({"blocks.0.mlp.fc1.weight": np.zeros((192, 47))}, "48 inputs"),
        ({"blocks.0.mlp.fc2.bias": np.zeros(47)}, "48 outputs"),
        ({"x_embedder.proj.weight": np.zeros((47, 4, 2, 2))}, "multiple of 4"),
        ({"blocks.0.attn.qkv.weight": None}, "no whole DiT"),
    ],
)
def test_published_dit_of_another_kind_is_refused(change, message):
    weights = {name: array for name, array in {**weights_of("dit"), **change}.items() if array is not None}
    with pytest.raises(UsageError, match=message):
        loaded("dit", weights)


def test_dit_of_diffusers_with_several_embedders_is_refused():
    weights = as_diffusers(weights_of("dit"))
    name = "transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias"
    weights[name] = weights[name] + 1
    with pytest.raises(UsageError, match="one embedder for all blocks"):
        loaded("dit", weights)
