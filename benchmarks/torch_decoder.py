"""Our decoder in PyTorch, with copied weights, its training step and its sampling, for ``python -m benchmarks text``.

Written as a PyTorch user would: eager, fused attention, fused AdamW, and a cache of keys and values that is allocated
once. Attention in sampling is computed to the tokens that there are, not to the whole cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

from aigc_jax.nets import decoder
from aigc_jax.types import PyTree
from benchmarks.torch_layers import embedding, to_tensor

nn = torch.nn
__all__ = ["Settings", "TorchText", "to_tensor", "torch"]


class Settings(NamedTuple):
    """The numbers of the training step.

    Attributes:
        learning_rate: of AdamW.
        b2: its decay of the mean square.
        weight_decay: of matrices.
        max_norm: limit of the gradient.
    """

    learning_rate: float
    b2: float
    weight_decay: float
    max_norm: float


def _linear(params: PyTree) -> Any:
    kernel = to_tensor(params["kernel"])
    layer = nn.Linear(*kernel.shape, bias=False)
    with torch.no_grad():
        layer.weight.copy_(kernel.T)
    return layer


def _rms_norm(params: PyTree) -> Any:
    scale = to_tensor(params["scale"])
    layer = nn.RMSNorm(len(scale), eps=1e-6)
    with torch.no_grad():
        layer.weight.copy_(scale)
    return layer


class Block(nn.Module):
    """``aigc_jax.nets.decoder.DecoderBlock`` with RMS norms, rotary positions and SwiGLU, without dropout."""

    def __init__(self, params: PyTree, head_width: int) -> None:
        super().__init__()
        self.head_width = head_width
        # One product of queries, keys and values, and one of both branches of SwiGLU, as PyTorch users write them.
        self.qkv = self._joined(params, ("query", "key", "value"))
        self.up = self._joined(params, ("gate", "hidden"))
        self.out, self.down = _linear(params["out"]), _linear(params["mlp_out"])
        self.norms = nn.ModuleList(_rms_norm(params[name]) for name in ("attention_norm", "mlp_norm"))
        self.head_norms = nn.ModuleList(_rms_norm(params[name]) for name in ("query_norm", "key_norm"))

    def _joined(self, params: PyTree, names: Sequence[str]) -> Any:
        weight = torch.cat([to_tensor(params[name]["kernel"]).T for name in names])
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        with torch.no_grad():
            layer.weight.copy_(weight)
        return layer

    def forward(
        self,
        x: torch.Tensor,
        turn: tuple[torch.Tensor, torch.Tensor],
        cache: tuple[torch.Tensor, torch.Tensor] | None = None,
        start: int = 0,
    ) -> torch.Tensor:
        batch, length, channels = x.shape
        qkv = self.qkv(self.norms[0](x)).view(batch, length, 3, -1, self.head_width).permute(2, 0, 3, 1, 4)
        query, key = (_rotate(norm(h), *turn) for norm, h in zip(self.head_norms, qkv[:2], strict=True))
        value = qkv[2]
        if cache is not None:
            keys, values = cache
            keys[:, :, start : start + length] = key
            values[:, :, start : start + length] = value
            key, value = keys[:, :, : start + length], values[:, :, : start + length]
        h = F.scaled_dot_product_attention(query, key, value, is_causal=length > 1)
        x = x + self.out(h.transpose(1, 2).reshape(batch, length, channels))
        gate, hidden = self.up(self.norms[1](x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * hidden)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Decoder(nn.Module):
    """``aigc_jax.nets.decoder.Decoder`` of the defaults, for sequences up to ``size`` tokens."""

    def __init__(self, params: PyTree, net: decoder.Decoder, size: int) -> None:
        super().__init__()
        self.embed, self.norm = embedding(params["embed"]), _rms_norm(params["norm"])
        layers = [jax.tree.map(lambda leaf, i=i: leaf[i], params["blocks"]) for i in range(net.depth)]
        self.blocks = nn.ModuleList(Block(layer, net.head_width) for layer in layers)
        half = net.head_width // 2
        angle = torch.arange(size)[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self.shape = net.width // net.head_width, net.head_width

    def forward(
        self, tokens: torch.Tensor, caches: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None, start: int = 0
    ) -> torch.Tensor:
        x, end = self.embed(tokens), start + tokens.shape[1]
        turn = self.cos[start:end], self.sin[start:end]
        for i, block in enumerate(self.blocks):
            x = block(x, turn, None if caches is None else caches[i], start)
        return F.linear(self.norm(x), self.embed.weight)

    def make_caches(self, batch: int, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values [B, heads, T, head width] of each block."""
        heads, width = self.shape
        return [(torch.zeros(batch, heads, size, width), torch.zeros(batch, heads, size, width)) for _ in self.blocks]


class TorchText:
    """The network, its optimiser, the training step and sampling.

    Args:
        params: our parameters, copied.
        net: the module whose parameters they are.
        size: tokens that a sequence may have.
        settings: the numbers of the step.
        device: where it computes.
    """

    def __init__(self, params: PyTree, net: decoder.Decoder, size: int, settings: Settings, device: object) -> None:
        self.net, self.settings = Decoder(params, net, size).to(device), settings
        matrices = [weight for weight in self.net.parameters() if weight.ndim > 1]
        scales = [weight for weight in self.net.parameters() if weight.ndim == 1]
        self._optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": scales, "weight_decay": 0.0}],
            lr=settings.learning_rate,
            betas=(0.9, settings.b2),
            fused=True,
        )

    @property
    def num_params(self) -> int:
        """Number of trained weights."""
        return sum(weight.numel() for weight in self.net.parameters())

    def loss(self, tokens: torch.Tensor) -> torch.Tensor:
        """The cross-entropy of the next token."""
        return F.cross_entropy(self.net(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    def step(self, tokens: torch.Tensor) -> float:
        """One update."""
        loss = self.loss(tokens)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.max_norm)
        self._optimizer.step()
        return float(loss.detach())

    def run(self, batches: Sequence[torch.Tensor]) -> None:
        """A step on each batch of tokens."""
        for tokens in batches:
            self.step(tokens)

    @torch.inference_mode()
    def sample(self, prompt: torch.Tensor, length: int, *, is_greedy: bool = False) -> torch.Tensor:
        """Draw ``length`` tokens after prompts [B, P] of one length, with a cache; is_greedy takes the likeliest."""
        batch, num = prompt.shape
        caches = self.net.make_caches(batch, num + length)
        tokens, logits = [prompt], self.net(prompt, caches)[:, -1]
        for i in range(length):
            probs = F.softmax(logits, dim=-1)
            token = logits.argmax(dim=-1, keepdim=True) if is_greedy else torch.multinomial(probs, 1)
            tokens.append(token)
            if i + 1 < length:
                logits = self.net(token, caches, num + i)[:, -1]
        return torch.cat(tokens, dim=1)
