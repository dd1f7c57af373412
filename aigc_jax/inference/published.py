"""Weights of published PyTorch models as parameters of the same networks here, by a map of names.

Layouts: the U-Net of diffusers (DDPM), the DiT of its authors, that of diffusers, and files of ``aigc-jax export``;
docs/exchange.md has the map. Numbers are reordered, none is computed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from aigc_jax.nets.dit import grid_positions
from aigc_jax.tree import named_arrays
from aigc_jax.types import UsageError, Variables

ReadFn = Callable[[str], np.ndarray]
"""``name -> array`` of a file."""

Tree = dict[str, Any]


def load_published(shapes: Mapping[str, tuple[int, ...]], read: ReadFn, expected: Variables) -> Variables:
    """Read weights in any layout as variables of a model; UsageError where one is missing, left over or does not fit.

    Args:
        shapes: of the arrays in the file, by name.
        read: reads one of them.
        expected: shapes and dtypes of the model's variables.
    """
    if any(name.startswith("params/") for name in shapes):
        return _fitting({name: read(name) for name in shapes}, expected)
    source = _Source(shapes, read)
    try:
        params = _params(source)
    except UsageError:
        raise
    except (ValueError, IndexError) as error:  # of numpy: arrays of some layer are of no size that others have
        raise UsageError(f"the arrays of the file do not fit together ({error}): name another file") from error
    if left := [name for name in shapes if name not in source.used and not name.endswith(_BUFFERS)]:
        raise UsageError(
            f"the file has arrays that this network has no place for, {left[0]!r} first: name another config"
        )
    if list(expected["params"]) == ["denoiser"]:
        return _fitting(named_arrays({"params": {"denoiser": params}}), expected)
    raise UsageError("these are the weights of a denoiser, and this experiment has a model of another kind")


def _params(source: _Source) -> Tree:
    """The parameters of a network, whichever the names are of."""
    if "conv_in.weight" in source:
        return unet_params(source)
    if "x_embedder.proj.weight" in source:
        return dit_params(source)
    if "pos_embed.proj.weight" in source:
        return dit_params(_OfDiffusers(source))
    raise UsageError(
        f"expected the arrays of a U-Net of diffusers, of a DiT or of aigc-jax export; got "
        f"{next(iter(source.shapes), 'no arrays')!r} first: see docs/exchange.md"
    )


_BUFFERS = ("pos_embed", "pos_embed.pos_embed")
"""Fixed tables, which are computed here."""


class _Source:
    """The arrays of a file, and which of them were used."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], read: ReadFn) -> None:
        self.shapes, self.read, self.used = shapes, read, set[str]()

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def __call__(self, name: str) -> np.ndarray:
        if name not in self.shapes:
            raise UsageError(f"the file lacks the array {name!r}: it is no whole model, or of another kind")
        self.used.add(name)
        return self.read(name)

    def vector(self, name: str, num_axes: int = 1) -> np.ndarray:
        """An array of a given number of axes."""
        array = self(name)
        if array.ndim != num_axes:
            raise UsageError(
                f"expected {name!r} with {num_axes} axes, got shape {list(array.shape)}: name another file"
            )
        return array

    def dense(self, name: str) -> Tree:
        """A linear layer: PyTorch keeps [out, in], Flax [in, out]."""
        return {"kernel": self.vector(f"{name}.weight", 2).T, "bias": self.vector(f"{name}.bias")}

    def conv(self, name: str) -> Tree:
        """A convolution: PyTorch keeps [out, in, height, width], Flax [height, width, in, out]."""
        return {
            "kernel": self.vector(f"{name}.weight", 4).transpose(2, 3, 1, 0),
            "bias": self.vector(f"{name}.bias"),
        }

    def norm(self, name: str) -> Tree:
        """The scale and bias of a normalisation."""
        return {"scale": self.vector(f"{name}.weight"), "bias": self.vector(f"{name}.bias")}


def unet_params(source: _Source) -> Tree:
    """The parameters of :class:`aigc_jax.nets.unet.UNet`, as DDPM sets it, from ``UNet2DModel`` of diffusers."""
    tree, count = Tree(), Counter[str]()

    def place(kind: str, params: Tree) -> None:
        # Flax numbers the modules of each class in the order of the computation.
        tree[f"{kind}_{count[kind]}"] = params
        count[kind] += 1

    def attention(name: str) -> None:
        place("ModulatedNorm", source.norm(f"{name}.group_norm"))
        # Names of diffusers up to 0.16 and since.
        old, new = ("query", "key", "value", "proj_attn"), ("to_q", "to_k", "to_v", "to_out.0")
        *three, out = old if f"{name}.query.weight" in source else new
        place(
            "SelfAttention",
            {"qkv": _side_by_side(source, [f"{name}.{each}" for each in three]), "out": source.dense(f"{name}.{out}")},
        )

    def level(name: str, resampler: str) -> None:
        for number in itertools.count():
            if f"{name}.resnets.{number}.conv1.weight" not in source:
                break
            place("ResidualBlock", _residual_block(source, f"{name}.resnets.{number}"))
            if f"{name}.attentions.{number}.group_norm.weight" in source:
                attention(f"{name}.attentions.{number}")
        if f"{name}.{resampler}.0.conv.weight" in source:
            place("Conv", source.conv(f"{name}.{resampler}.0.conv"))

    num_levels = sum(f"down_blocks.{number}.resnets.0.conv1.weight" in source for number in range(len(source.shapes)))
    first, second = (source.dense(f"time_embedding.linear_{number}") for number in (1, 2))
    # Sines first there, cosines first here.
    first["kernel"] = np.roll(first["kernel"], len(first["kernel"]) // 2, axis=0)
    tree["NoiseEmbedding_0"] = {"Dense_0": first, "Dense_1": second}
    tree["in"], tree["out_norm"], tree["out"] = (
        source.conv("conv_in"),
        source.norm("conv_norm_out"),
        source.conv("conv_out"),
    )
    for number in range(num_levels):
        level(f"down_blocks.{number}", "downsamplers")
    place("ResidualBlock", _residual_block(source, "mid_block.resnets.0"))
    attention("mid_block.attentions.0")
    place("ResidualBlock", _residual_block(source, "mid_block.resnets.1"))
    for number in range(num_levels):
        level(f"up_blocks.{number}", "upsamplers")
    return tree


def _residual_block(source: _Source, name: str) -> Tree:
    block = {
        "ModulatedNorm_0": source.norm(f"{name}.norm1"),
        "Conv_0": source.conv(f"{name}.conv1"),
        "modulation": source.dense(f"{name}.time_emb_proj"),
        "ModulatedNorm_1": source.norm(f"{name}.norm2"),
        "Conv_1": source.conv(f"{name}.conv2"),
    }
    if f"{name}.conv_shortcut.weight" in source:
        block["shortcut"] = source.conv(f"{name}.conv_shortcut")
    return block


def _side_by_side(source: _Source, names: list[str]) -> Tree:
    layers = [source.dense(name) for name in names]
    return {part: np.concatenate([layer[part] for layer in layers], axis=-1) for part in ("kernel", "bias")}


def dit_params(source: _Source) -> Tree:
    """The parameters of :class:`aigc_jax.nets.dit.DiT` from the names of its authors.

    Positions there are [sin(column), cos(column), sin(row), cos(row)], here in the opposite order. The channels of
    tokens are exchanged accordingly in every layer that reads or writes them: layer norm and sums see no order.
    """
    embedder = source.vector("x_embedder.proj.weight", 4)
    width, depth = len(embedder), 0
    if width % 4:
        raise UsageError(f"expected a DiT whose width is a multiple of 4, got {width}: name another file")
    order = np.arange(width).reshape(4, -1)[::-1].reshape(-1)
    if "pos_embed" in source:
        _check_positions(source("pos_embed"), order)
    while f"blocks.{depth}.attn.qkv.weight" in source:
        depth += 1
    kernel, bias = embedder.transpose(2, 3, 1, 0).reshape(-1, width), source.vector("x_embedder.proj.bias")
    tree: Tree = {
        "in": _writing({"kernel": kernel, "bias": bias}, order),
        "NoiseEmbedding_0": {"Dense_0": source.dense("t_embedder.mlp.0"), "Dense_1": source.dense("t_embedder.mlp.2")},
        "modulation": _modulation(source, "final_layer.adaLN_modulation.1", order),
        "out": _reading(source.dense("final_layer.linear"), order),
    }
    if "y_embedder.embedding_table.weight" in source:
        table = source.vector("y_embedder.embedding_table.weight", 2)
        tree["NoiseEmbedding_0"]["class"] = {"embedding": table}
    blocks = [_dit_block(source, f"blocks.{number}", order) for number in range(depth)]
    if not blocks:
        raise UsageError("the file lacks the array 'blocks.0.attn.qkv.weight': it is no whole DiT")
    return {**tree, "blocks": jax.tree.map(lambda *layers: np.stack(layers), *blocks)}


def _dit_block(source: _Source, name: str, order: np.ndarray) -> Tree:
    return {
        "modulation": _modulation(source, f"{name}.adaLN_modulation.1", order),
        "SelfAttention_0": {
            "qkv": _reading(source.dense(f"{name}.attn.qkv"), order),
            "out": _writing(source.dense(f"{name}.attn.proj"), order),
        },
        "hidden": _reading(source.dense(f"{name}.mlp.fc1"), order),
        "out": _writing(source.dense(f"{name}.mlp.fc2"), order),
    }


def _reading(layer: Tree, order: np.ndarray) -> Tree:
    """A layer that reads tokens, their channels exchanged."""
    if len(layer["kernel"]) != len(order):
        raise UsageError(f"expected a layer of {len(order)} inputs, got {len(layer['kernel'])}: name another file")
    return {"kernel": layer["kernel"][order], "bias": layer["bias"]}


def _writing(layer: Tree, order: np.ndarray) -> Tree:
    """A layer that writes tokens, or shifts, scales and gates of them, their channels exchanged."""
    num = layer["bias"].size // len(order)
    if num * len(order) != layer["bias"].size or layer["kernel"].shape[-1] != layer["bias"].size:
        raise UsageError(f"expected a layer of {len(order)} outputs, got {layer['bias'].size}: name another file")
    places = (np.arange(num)[:, None] * len(order) + order).reshape(-1)
    return {"kernel": layer["kernel"][:, places], "bias": layer["bias"][places]}


def _modulation(source: _Source, name: str, order: np.ndarray) -> Tree:
    return _writing(source.dense(name), order)


def _check_positions(table: np.ndarray, order: np.ndarray) -> None:
    """Refuse positions other than those that are computed here."""
    num, width = table.shape[-2:]
    side = round(num**0.5)
    ours = np.asarray(grid_positions(side, side, width)) if side * side == num and width == len(order) else None
    if ours is None or not np.allclose(table.reshape(num, width)[:, order], ours, atol=1e-4):
        raise UsageError(
            "the file has other positions (pos_embed) than the sines and cosines of a DiT: name another file"
        )


class _OfDiffusers(_Source):
    """The DiT of diffusers (``DiTTransformer2DModel``) under the names of its authors."""

    def __init__(self, source: _Source) -> None:
        super().__init__(source.shapes, source.read)
        self.used = source.used
        # Every block has its own copy of the embedders of noise level and class: all must be the first.
        for name in source.shapes:
            if ".norm1.emb." in name and not name.startswith("transformer_blocks.0."):
                first = "transformer_blocks.0." + name.split(".", 2)[2]
                if not np.array_equal(source(name), source(first)):
                    raise UsageError(f"expected one embedder for all blocks, got another one in {name!r}")

    def __contains__(self, name: str) -> bool:
        return self._first(name) in self.shapes

    def __call__(self, name: str) -> np.ndarray:
        if ".attn.qkv." in name:
            names = [self._first(name).replace("to_q", each) for each in ("to_q", "to_k", "to_v")]
            return np.concatenate([super(_OfDiffusers, self).__call__(each) for each in names])
        return super().__call__(self._first(name))

    def _first(self, name: str) -> str:
        block = ""
        if name.startswith("blocks."):
            _, number, name = name.split(".", 2)
            block = f"transformer_blocks.{number}."
        for ours, theirs in _DIFFUSERS_DIT.items():
            name = name.replace(ours, theirs)
        return block + name


_DIFFUSERS_DIT = {
    "x_embedder.proj": "pos_embed.proj",
    "t_embedder.mlp.0": "transformer_blocks.0.norm1.emb.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "transformer_blocks.0.norm1.emb.timestep_embedder.linear_2",
    "y_embedder.embedding_table": "transformer_blocks.0.norm1.emb.class_embedder.embedding_table",
    "final_layer.adaLN_modulation.1": "proj_out_1",
    "final_layer.linear": "proj_out_2",
    "adaLN_modulation.1": "norm1.linear",
    "attn.qkv": "attn1.to_q",
    "attn.proj": "attn1.to_out.0",
    "mlp.fc1": "ff.net.0.proj",
    "mlp.fc2": "ff.net.2",
}


def _fitting(arrays: Mapping[str, np.ndarray], expected: Variables) -> Variables:
    """The arrays as the tree that is expected."""
    paths, structure = jax.tree.flatten_with_path(expected)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]
    shapes = {name: tuple(leaf.shape) for name, (_, leaf) in zip(names, paths, strict=True)}
    for name in sorted(shapes.keys() | arrays.keys()):
        there = arrays[name].shape if name in arrays else None
        if shapes.get(name) != there:
            raise UsageError(
                f"these are the weights of another model ({name} is {there or 'absent'} there and "
                f"{shapes.get(name, 'absent')} here): change its settings, such as --net.width"
            )
    leaves = [np.asarray(arrays[name], leaf.dtype) for name, (_, leaf) in zip(names, paths, strict=True)]
    return jax.tree.unflatten(structure, leaves)
