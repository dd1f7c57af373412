"""PyTorch layers with copied weights of ours, for the networks in ``torch_gan``, ``torch_unet`` and ``torch_dit``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

from aigc_jax.types import PyTree

nn = torch.nn


class NoiseEmbedding(nn.Module):
    """``aigc_jax.nets.embeddings.NoiseEmbedding`` with classes."""

    def __init__(self, params: PyTree) -> None:
        super().__init__()
        self.num_waves = params["Dense_0"]["kernel"].shape[0]
        self.dense = nn.ModuleList(linear(params[f"Dense_{i}"]) for i in range(2))
        self.classes = embedding(params["class"])

    def forward(self, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        half = self.num_waves // 2
        frequencies = torch.exp(-math.log(10_000.0) * torch.arange(half, device=t.device) / half)
        angle = 1000.0 * t[:, None] * frequencies[None]
        context = self.dense[0](torch.cat([angle.cos(), angle.sin()], dim=1))
        return self.dense[1](F.silu(context)) + self.classes(condition)


class SelfAttention(nn.Module):
    """``aigc_jax.nets.attention.SelfAttention``."""

    def __init__(self, params: PyTree, head_width: int) -> None:
        super().__init__()
        self.head_width, self.qkv, self.out = head_width, linear(params["qkv"]), linear(params["out"])

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        batch, length, channels = sequence.shape
        qkv = self.qkv(sequence).reshape(batch, length, 3, -1, self.head_width or channels)
        mixed = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
        return self.out(mixed.transpose(1, 2).reshape(batch, length, channels))


def to_tensor(array: Any) -> torch.Tensor:
    """A copy of a numpy or JAX array."""
    return torch.from_numpy(np.array(array))


def images_to_tensor(image: np.ndarray) -> torch.Tensor:
    """BHWC images as the BCHW tensor, in channels-last memory, that the networks take."""
    return to_tensor(image).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def shuffle_order(num_channels: int, size: int = 2) -> torch.Tensor:
    """Where ``pixel_shuffle``'s channels lie among those of ``from_patches``: ours has the channel last, it first."""
    return torch.arange(num_channels).reshape(size * size, -1).T.flatten()


def channels_last(net: Any) -> Any:
    """A network whose convolutions keep their weights in channels-last memory."""
    return net.to(memory_format=torch.channels_last)


def embedding(params: PyTree) -> Any:
    """A table of vectors."""
    return nn.Embedding.from_pretrained(to_tensor(params["embedding"]), freeze=False)


def linear(params: PyTree) -> Any:
    """A dense layer."""
    kernel = to_tensor(params["kernel"])
    return filled(nn.Linear(kernel.shape[0], kernel.shape[1]), kernel.T, to_tensor(params["bias"]))


def conv(params: PyTree, *, stride: int = 1, padding: int, shuffled_by: int = 1, unshuffled_by: int = 1) -> Any:
    """A convolution, its output in the order of ``pixel_shuffle``, its input in that of ``pixel_unshuffle``."""
    kernel, bias = to_tensor(params["kernel"]), to_tensor(params["bias"])
    order = shuffle_order(len(bias), shuffled_by)
    kernel, bias = kernel[..., order], bias[order]
    kernel = kernel[:, :, shuffle_order(kernel.shape[2], unshuffled_by)]
    size, _, num_in, num_out = kernel.shape
    layer = nn.Conv2d(num_in, num_out, size, stride=stride, padding=padding)
    return filled(layer, kernel.permute(3, 2, 0, 1), bias)


def filled(layer: Any, weight: torch.Tensor, bias: torch.Tensor) -> Any:
    """A layer with these weights."""
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
