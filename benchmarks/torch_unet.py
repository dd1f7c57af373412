"""Our U-Net in PyTorch, with copied weights, for ``python -m benchmarks diffusion`` and ``unet``."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

from aigc_jax.nets import unet
from aigc_jax.types import PyTree, UsageError
from benchmarks.torch_layers import NoiseEmbedding, SelfAttention, conv, linear, to_tensor

nn = torch.nn


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
        if self.modulation is None and self.kind == "group":
            return F.group_norm(x, self.num_groups, self.scale, self.bias, eps=1e-5)
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
        self.added = linear(params["modulation"]) if "modulation" in params else None

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        h = self.convs[0](F.silu(self.norms[0](x)))
        if self.added is not None:
            h = h + self.added(F.silu(context))[:, :, None, None]
        h = self.convs[1](F.silu(self.norms[1](h, context)))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """Norm, attention over all positions, and the input."""

    def __init__(self, norm: PyTree, params: PyTree, net: unet.UNet) -> None:
        super().__init__()
        self.norm, self.attend = Norm(norm, net.norm), SelfAttention(params, net.head_width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sequence = self.norm(x).permute(0, 2, 3, 1).flatten(1, 2)
        return x + self.attend(sequence).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


class Halving(nn.Module):
    """Half the sides: a convolution of stride two, or a dense layer on patches of two by two as such a one."""

    def __init__(self, params: PyTree, kind: str) -> None:
        super().__init__()
        self.is_padded, kernel = kind == "conv", params["kernel"]
        if not self.is_padded:
            params = {**params, "kernel": kernel.reshape(2, 2, kernel.shape[0] // 4, -1)}
        self.conv = conv(params, stride=2, padding=0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.is_padded else x)


class Doubling(nn.Module):
    """Twice the sides: nearest neighbours and a convolution, or a dense layer whose channels become positions."""

    def __init__(self, params: PyTree, kind: str) -> None:
        super().__init__()
        self.is_shuffled = kind == "patch"
        if self.is_shuffled:
            self.conv = conv({**params, "kernel": params["kernel"][None, None]}, padding=0, shuffled_by=2)
        else:
            self.conv = conv(params, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.is_shuffled:
            return F.pixel_shuffle(self.conv(x), 2)
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class UNet(nn.Module):
    """``aigc_jax.nets.unet.UNet`` without dropout, resampled by patches or convolutions.

    Args:
        params: our parameters, copied.
        net: the module whose parameters they are.
        height: of the images, which decides where there is attention.

    Raises:
        UsageError: the module has what is not written here.
    """

    def __init__(self, params: PyTree, net: unet.UNet, height: int) -> None:
        super().__init__()
        if net.resampling not in ("patch", "conv") or net.norm not in ("rms", "group") or net.dropout:
            raise UsageError(
                "benchmarks/torch_unet.py has rms and group norm, patch and conv resampling, no dropout: got "
                f"{net.norm}, {net.resampling}, dropout {net.dropout}"
            )
        self.patch_size, self.is_symmetric, self.num_blocks = net.patch_size, net.is_symmetric, net.num_blocks
        self.num_levels, took = len(net.channel_multipliers), Counter[str]()

        def take(name: str) -> PyTree:
            """The next parameters of a kind of module, in the order in which ours makes them."""
            took[name] += 1
            return params[f"{name}_{took[name] - 1}"]

        def attention() -> Attention:
            return Attention(take("ModulatedNorm"), take("SelfAttention"), net)

        def stage(level: int, num_blocks: int) -> Any:
            has_attention = (height // net.patch_size) >> level in net.attention_resolutions
            pairs = nn.ModuleList()
            for _ in range(num_blocks):
                block = Block(take("ResidualBlock"), net.norm)
                pairs.append(nn.ModuleList([block, attention() if has_attention else nn.Identity()]))
            return pairs

        resampler = "Dense" if net.resampling == "patch" else "Conv"
        self.embed = NoiseEmbedding(take("NoiseEmbedding"))
        self.first = conv(params["in"], padding=1, unshuffled_by=net.patch_size)
        self.down, self.halvings, self.up, self.doublings = (nn.ModuleList() for _ in range(4))
        for level in range(self.num_levels):
            if level:
                self.halvings.append(Halving(take(resampler), net.resampling))
            self.down.append(stage(level, net.num_blocks))
        self.before, self.middle = Block(take("ResidualBlock"), net.norm), attention()
        self.after = Block(take("ResidualBlock"), net.norm)
        for level in reversed(range(self.num_levels)):
            self.up.append(stage(level, net.num_blocks + (not net.is_symmetric)))
            if level:
                self.doublings.append(Doubling(take(resampler), net.resampling))
        self.out_norm = Norm(params["out_norm"], net.norm)
        self.last = conv(params["out"], padding=1, shuffled_by=net.patch_size)

    def forward(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        context = self.embed(t, condition)
        h = self.first(F.pixel_unshuffle(x, self.patch_size))
        skips = [] if self.is_symmetric else [h]
        for level, pairs in enumerate(self.down):
            if level:
                h = self.halvings[level - 1](h)
                skips += [] if self.is_symmetric else [h]
            for block, attend in pairs:
                h = attend(block(h, context))
                skips.append(h)
        h = self.after(self.middle(self.before(h, context)), context)
        for number, pairs in enumerate(self.up):
            for block, attend in pairs:
                h = attend(block(torch.cat([h, skips.pop()], dim=1), context))
            h = self.doublings[number](h) if number < self.num_levels - 1 else h
        return F.pixel_shuffle(self.last(F.silu(self.out_norm(h))), self.patch_size).float()
