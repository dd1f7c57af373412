"""PyTorch layers with the weights of ours, copied: what ``torch_gan.py`` and ``torch_unet.py`` are built of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from aigc_jax.types import PyTree

nn = torch.nn


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
