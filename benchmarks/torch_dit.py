"""Our diffusion transformer in PyTorch, with copied weights, for ``python -m benchmarks dit``."""

from __future__ import annotations

import jax
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

from aigc_jax.nets import dit
from aigc_jax.types import PyTree
from benchmarks.torch_layers import NoiseEmbedding, SelfAttention, linear, to_tensor

nn = torch.nn


class Block(nn.Module):
    """``aigc_jax.nets.dit.TransformerBlock`` without dropout."""

    def __init__(self, params: PyTree, head_width: int) -> None:
        super().__init__()
        self.modulation, self.hidden, self.out = (linear(params[name]) for name in ("modulation", "hidden", "out"))
        self.attend = SelfAttention(params["SelfAttention_0"], head_width)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(context)[:, None].chunk(6, dim=-1)
        x = x + gate_1 * self.attend(_modulate(x, shift_1, scale_1))
        return x + gate_2 * self.out(F.gelu(self.hidden(_modulate(x, shift_2, scale_2)), approximate="tanh"))


class DiT(nn.Module):
    """``aigc_jax.nets.dit.DiT`` without dropout.

    Args:
        params: our parameters, copied.
        net: the module whose parameters they are.
        height: of the images, which are square.
    """

    def __init__(self, params: PyTree, net: dit.DiT, height: int) -> None:
        super().__init__()
        self.patch_size, side = net.patch_size, height // net.patch_size
        self.embed, self.first = NoiseEmbedding(params["NoiseEmbedding_0"]), linear(params["in"])
        self.register_buffer("positions", to_tensor(dit.grid_positions(side, side, net.width))[None])
        layers = [jax.tree.map(lambda leaf, i=i: leaf[i], params["blocks"]) for i in range(net.depth)]
        self.blocks = nn.ModuleList(Block(layer, net.head_width) for layer in layers)
        self.modulation, self.last = linear(params["modulation"]), linear(params["out"])

    def forward(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        size, rows, columns = self.patch_size, height // self.patch_size, width // self.patch_size
        context = F.silu(self.embed(t, condition))
        # [B, C, rows, size, columns, size] -> [B, rows, columns, size, size, C], as our patches are laid out.
        x = x.reshape(batch, channels, rows, size, columns, size).permute(0, 2, 4, 3, 5, 1)
        h = self.first(x.reshape(batch, rows * columns, -1)) + self.positions
        for block in self.blocks:
            h = block(h, context)
        shift, scale = self.modulation(context)[:, None].chunk(2, dim=-1)
        h = self.last(_modulate(h, shift, scale)).float()
        h = h.reshape(batch, rows, columns, size, size, -1).permute(0, 5, 1, 3, 2, 4)
        return h.reshape(batch, -1, height, width)


def _modulate(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, (x.shape[-1],), eps=1e-6) * (1 + scale) + shift
