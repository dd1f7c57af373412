"""Training step and DDIM sampler of flow matching in PyTorch, for the benchmarks of denoisers.

Written as a PyTorch user would: channels-last memory, autocast, fused Adam, one step of the sampler after the other;
eager or compiled. The weights are copied from our parameters, so that both libraries compute the same numbers, and the
benchmark can show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from aigc_jax.nets.dit import DiT
from aigc_jax.nets.unet import UNet
from aigc_jax.types import PyTree
from benchmarks import torch_dit, torch_unet
from benchmarks.torch_layers import channels_last, images_to_tensor, to_tensor

__all__ = ["Step", "TorchFlow", "images_to_tensor", "to_tensor", "torch"]


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
    b2: float = 0.999
    max_norm: float = 1.0
    time_mean: float = 0.0
    condition_dropout: float = 0.1
    ema_decay: float = 0.999


class TorchFlow:
    """The network, its optimiser and weight average; the training step that moves them, and the sampler.

    Args:
        params: our parameters of the network, copied.
        net: the module whose parameters they are; it computes in bfloat16 where that does.
        height: of the images.
        step: the numbers of the training step.
        device: where it computes.
        is_compiled: by ``torch.compile``; else eager.
    """

    def __init__(
        self,
        params: PyTree,
        net: DiT | UNet,
        height: int,
        step: Step,
        *,
        device: Any = "cpu",
        is_compiled: bool = False,
    ) -> None:
        kind: Any = torch_dit.DiT if isinstance(net, DiT) else torch_unet.UNet
        module = channels_last(kind(params, net, height)).to(device)
        self.net = torch.compile(module) if is_compiled else module
        self.numbers, self.device = step, torch.device(device)
        self._null = module.embed.classes.num_embeddings - 1
        self._is_half = np.dtype(net.dtype) != np.float32
        self._weights = list(module.parameters())
        self._average = [weight.detach().clone() for weight in self._weights]
        adam = {"lr": step.learning_rate, "betas": (0.9, step.b2), "eps": 1e-8, "fused": True}
        self._optimizer = torch.optim.Adam(self._weights, **adam)

    @property
    def num_params(self) -> int:
        """Number of trained weights."""
        return sum(weight.numel() for weight in self._weights)

    def output(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """The network's output, float32."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._is_half):
            return self.net(x, t, condition)

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
        velocity = self.output((1 - line) * image + line * epsilon, t, condition)
        loss = (velocity - (epsilon - image)).square().mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self.numbers.max_norm)
        self._optimizer.step()
        torch._foreach_lerp_(self._average, [w.detach() for w in self._weights], 1 - self.numbers.ema_decay)
        return loss.detach(), norm

    def run(self, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Make a step on each pair of images and condition, with times and noise of its own, and wait for the last."""
        for image, condition in batches:
            t = torch.sigmoid(self.numbers.time_mean + torch.randn(len(image), device=self.device))
            is_hidden = torch.rand(len(image), device=self.device) < self.numbers.condition_dropout
            hidden = torch.full_like(condition, self._null)
            self.step(image, torch.where(is_hidden, hidden, condition), t, torch.randn_like(image))
        self.wait()

    def wait(self) -> None:
        """Wait until the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

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
            velocity = self.output(x, torch.full((len(x),), t, device=self.device), condition)
            x_0, epsilon = x - t * velocity, x + (1 - t) * velocity
            x = (1 - s) * x_0 + s * epsilon
        self.wait()
        return x.clamp(-1, 1)
