"""U-Net, training step and DDIM sampler of flow_digits in PyTorch, for ``python -m benchmarks diffusion``.

Written as a PyTorch user would: eager, channels-last memory, fused Adam, one step of the sampler after the other. The
weights are copied from our parameters, so that both libraries compute the same numbers, and the benchmark can show it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

from aigc_jax.nets.unet import UNetSettings
from aigc_jax.types import PyTree, UsageError
from benchmarks.torch_layers import channels_last, conv, embedding, images_to_tensor, linear, to_tensor

nn = torch.nn
__all__ = ["Step", "TorchFlow", "UNet", "images_to_tensor", "to_tensor"]


class Step(NamedTuple):
    """The numbers of the training step.

    Attributes:
        learning_rate: of Adam.
        b2: Adam's decay of the mean square.
        max_norm: to which gradients are clipped.
        time_mean: mean of logit(t).
        condition_dropout: share of the examples without their class.
        ema_decay: decay of the weight average.
    """

    learning_rate: float
    b2: float
    max_norm: float
    time_mean: float
    condition_dropout: float
    ema_decay: float


class Norm(nn.Module):
    """``aigc_jax.nets.modulation.ModulatedNorm`` of kind rms or group, modulated where there is an embedding."""

    def __init__(self, params: PyTree, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.scale, self.bias = (nn.Parameter(to_tensor(params[name])) for name in ("scale", "bias"))
        self.modulation = linear(params["modulation"]) if "modulation" in params else None
        num_channels = len(self.scale)
        self.num_groups = min(32, max(num_channels // 4, 1))
        while num_channels % self.num_groups:
            self.num_groups -= 1

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        scale, shift = self.scale[None], self.bias[None]
        if self.modulation is not None and context is not None:
            more, added = self.modulation(F.silu(context)).chunk(2, dim=1)
            scale, shift = scale * (1 + more), shift * (1 + more) + added
        if self.kind == "group":
            x = F.group_norm(x, self.num_groups, eps=1e-5)
        else:
            # In channels-last memory the permutations move nothing.
            x = F.rms_norm(x.permute(0, 2, 3, 1), (x.shape[1],), eps=1e-6).permute(0, 3, 1, 2)
        return torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None])


class Block(nn.Module):
    """``aigc_jax.nets.unet.ResidualBlock`` without resampling."""

    def __init__(self, params: PyTree, kind: str) -> None:
        super().__init__()
        self.norms = nn.ModuleList(Norm(params[f"ModulatedNorm_{i}"], kind) for i in range(2))
        self.convs = nn.ModuleList(conv(params[f"Conv_{i}"], padding=1) for i in range(2))
        self.shortcut = conv(params["shortcut"], padding=0) if "shortcut" in params else nn.Identity()

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        h = self.convs[0](F.silu(self.norms[0](x)))
        h = self.convs[1](F.silu(self.norms[1](h, context)))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """Norm, single-head attention over all positions, and the input."""

    def __init__(self, norm: PyTree, params: PyTree, kind: str) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = Norm(norm, kind), linear(params["qkv"]), linear(params["out"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sequence = self.norm(x).permute(0, 2, 3, 1).flatten(1, 2)
        mixed = F.scaled_dot_product_attention(*self.qkv(sequence).chunk(3, dim=-1))
        return x + self.out(mixed).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


class UNet(nn.Module):
    """``aigc_jax.nets.unet.UNet`` with rms or group norm, resampled by patches, symmetric.

    Args:
        params: our parameters, copied.
        settings: what they belong to.

    Raises:
        UsageError: the settings name what is not written here.
    """

    def __init__(self, params: PyTree, settings: UNetSettings) -> None:
        super().__init__()
        if settings.resampling != "patch" or not settings.is_symmetric or settings.norm not in ("rms", "group"):
            raise UsageError("torch_unet.py has rms and group norm, patch resampling, symmetric: compare such a U-Net")
        if settings.attention_resolutions or settings.head_width or settings.dropout:
            raise UsageError("torch_unet.py has one head in the middle, and no dropout: compare such a U-Net")
        kind, size = settings.norm, settings.patch_size
        self.num_levels, self.num_blocks, self.patch_size = len(settings.channel_multipliers), settings.num_blocks, size
        self.waves = params["NoiseEmbedding_0"]["Dense_0"]["kernel"].shape[0]
        self.dense = nn.ModuleList(linear(params["NoiseEmbedding_0"][f"Dense_{i}"]) for i in range(2))
        self.classes = embedding(params["NoiseEmbedding_0"]["class"])
        self.first = conv(params["in"], padding=1, unshuffled_by=size)
        num_blocks = 2 * self.num_levels * self.num_blocks + 2
        self.blocks = nn.ModuleList(Block(params[f"ResidualBlock_{i}"], kind) for i in range(num_blocks))
        self.attention = Attention(params["ModulatedNorm_0"], params["SelfAttention_0"], kind)
        num_halvings = self.num_levels - 1
        resamplers = [params[f"Dense_{i}"] for i in range(2 * num_halvings)]
        self.halvings = nn.ModuleList(_halving(dense) for dense in resamplers[:num_halvings])
        self.doublings = nn.ModuleList(_doubling(dense) for dense in resamplers[num_halvings:])
        self.out_norm, self.last = Norm(params["out_norm"], kind), conv(params["out"], padding=1, shuffled_by=size)

    def forward(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        frequencies = torch.exp(-math.log(10_000.0) * torch.arange(self.waves // 2) / (self.waves // 2))
        angle = 1000.0 * t[:, None] * frequencies[None]
        context = self.dense[0](torch.cat([angle.cos(), angle.sin()], dim=1))
        context = self.dense[1](F.silu(context)) + self.classes(condition)
        h = self.first(F.pixel_unshuffle(x, self.patch_size))
        blocks, skips = iter(self.blocks), []
        for level in range(self.num_levels):
            h = self.halvings[level - 1](h) if level else h
            for _ in range(self.num_blocks):
                h = next(blocks)(h, context)
                skips.append(h)
        h = self.attention(next(blocks)(h, context))
        h = next(blocks)(h, context)
        for level in reversed(range(self.num_levels)):
            for _ in range(self.num_blocks):
                h = next(blocks)(torch.cat([h, skips.pop()], dim=1), context)
            h = F.pixel_shuffle(self.doublings[self.num_levels - 1 - level](h), 2) if level else h
        return F.pixel_shuffle(self.last(F.silu(self.out_norm(h))), self.patch_size)


class TorchFlow:
    """The network, its optimiser and weight average; the training step that moves them, and the sampler.

    Args:
        params: our parameters of the network, copied.
        settings: of the network.
        step: the numbers of the training step.
    """

    def __init__(self, params: PyTree, settings: UNetSettings, step: Step) -> None:
        self.net, self.numbers = channels_last(UNet(params, settings)), step
        self._weights = list(self.net.parameters())
        self._average = [weight.detach().clone() for weight in self._weights]
        adam = {"lr": step.learning_rate, "betas": (0.9, step.b2), "eps": 1e-8, "fused": True}
        self._optimizer = torch.optim.Adam(self._weights, **adam)

    @property
    def num_params(self) -> int:
        """Number of trained weights."""
        return sum(weight.numel() for weight in self._weights)

    def step(
        self, image: torch.Tensor, condition: torch.Tensor, t: torch.Tensor, epsilon: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One update of the weights and of their average.

        Args:
            image: real images [B, C, H, W] in [-1, 1].
            condition: labels int64 [B], some of them "no condition".
            t: times [B].
            epsilon: noise [B, C, H, W].

        Returns:
            The loss, and the norm of its gradient before clipping.
        """
        line = t[:, None, None, None]
        velocity = self.net((1 - line) * image + line * epsilon, t, condition)
        loss = (velocity - (epsilon - image)).square().mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._weights, self.numbers.max_norm)
        self._optimizer.step()
        torch._foreach_lerp_(self._average, [w.detach() for w in self._weights], 1 - self.numbers.ema_decay)
        return loss.detach(), norm

    def run(self, hand: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Make a step on each pair of images and condition, with times and noise of its own."""
        for image, condition in hand:
            t = torch.sigmoid(self.numbers.time_mean + torch.randn(len(image)))
            is_hidden = torch.rand(len(image)) < self.numbers.condition_dropout
            hidden = torch.full_like(condition, self.net.classes.num_embeddings - 1)
            self.step(image, torch.where(is_hidden, hidden, condition), t, torch.randn_like(image))

    @torch.inference_mode()
    def sample(self, noise: torch.Tensor, condition: torch.Tensor, times: np.ndarray) -> torch.Tensor:
        """DDIM along the straight path, one step after the other.

        Args:
            noise: [B, C, H, W].
            condition: labels int64 [B].
            times: falling from 1 to 0 [N + 1].

        Returns:
            Images [B, C, H, W] in [-1, 1].
        """
        x = noise
        for t, s in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            velocity = self.net(x, torch.full((len(x),), t), condition)
            x_0, epsilon = x - t * velocity, x + (1 - t) * velocity
            x = (1 - s) * x_0 + s * epsilon
        return x.clamp(-1, 1)


def _doubling(params: PyTree) -> Any:
    """A dense layer on channels as the convolution of one position, for ``pixel_shuffle``."""
    return conv({"kernel": params["kernel"][None, None], "bias": params["bias"]}, padding=0, shuffled_by=2)


def _halving(params: PyTree) -> Any:
    """A dense layer on patches of two by two as the convolution that it is."""
    kernel = params["kernel"]
    return conv({"kernel": kernel.reshape(2, 2, kernel.shape[0] // 4, -1), "bias": params["bias"]}, stride=2, padding=0)
