"""The default GAN in PyTorch: the networks and training step of ``python -m benchmarks gan --against torch``.

Written as a PyTorch user would: eager, channels-last memory, fused Adam. The weights are copied from our
parameters, so that both libraries compute the same numbers, and the benchmark can show that they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

from aigc_jax.types import PyTree
from benchmarks.torch_layers import channels_last, conv, embedding, images_to_tensor, linear, to_tensor

nn = torch.nn
__all__ = ["Settings", "TorchGan", "images_to_tensor", "to_tensor", "torch"]


class Settings(NamedTuple):
    """The numbers of the training step.

    Attributes:
        learning_rate: of Adam, for both players.
        b1: Adam's decay of the mean gradient.
        b2: Adam's decay of the mean square.
        gamma: weight of R1.
        r1_every: steps between evaluations of R1.
        ema_decay: decay of the generator's weight average.
    """

    learning_rate: float
    b1: float
    b2: float
    gamma: float
    r1_every: int
    ema_decay: float


class ConditionalLayerNorm(nn.Module):
    """Over the channels of each position, with scale and bias per class: ``aigc_jax.nets.norm.Norm``."""

    def __init__(self, params: PyTree) -> None:
        super().__init__()
        self.scale, self.bias = (embedding(params[name]) for name in ("scale", "bias"))

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, bias = self.scale(condition)[:, :, None, None], self.bias(condition)[:, :, None, None]
        # In channels-last memory the permutations move nothing.
        normed = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), eps=1e-6).permute(0, 3, 1, 2)
        return normed * scale + bias


class Generator(nn.Module):
    """``aigc_jax.nets.conv.ConvGenerator`` with layer norm and a condition."""

    def __init__(self, params: PyTree, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.height, self.width = image_shape[0] // 4, image_shape[1] // 4
        self.embed = embedding(params["WithClass_0"]["Embed_0"])
        self.dense = linear(params["Dense_0"])
        self.norms = nn.ModuleList(ConditionalLayerNorm(params[f"Norm_{i}"]) for i in range(3))
        sizes = enumerate((2, 2, 1))
        self.convs = nn.ModuleList(conv(params[f"Conv_{i}"], padding=1, shuffled_by=size) for i, size in sizes)

    def forward(self, latent: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        x = self.dense(torch.cat([latent, self.embed(condition)], dim=1))
        x = x.reshape(len(x), self.height, self.width, -1).permute(0, 3, 1, 2)
        for i, (norm, layer) in enumerate(zip(self.norms, self.convs, strict=True)):
            x = layer(F.leaky_relu(norm(x, condition), 0.2))
            x = F.pixel_shuffle(x, 2) if i < 2 else torch.tanh(x)
        return x


class Discriminator(nn.Module):
    """``aigc_jax.nets.conv.ConvDiscriminator`` with the projection head."""

    def __init__(self, params: PyTree) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(params[f"Conv_{i}"], stride=2, padding=1) for i in range(2))
        self.dense = linear(params["Dense_0"])
        self.head = linear(params["Head_0"]["Dense_0"])
        self.embed = embedding(params["Head_0"]["Embed_0"])

    def forward(self, image: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        x = image
        for layer in self.convs:
            x = F.leaky_relu(layer(x), 0.2)
        features = F.leaky_relu(self.dense(x.permute(0, 2, 3, 1).flatten(1)), 0.2)
        return self.head(features)[:, 0] + (self.embed(condition) * features).sum(dim=1)


class TorchGan:
    """Networks, optimisers and weight average, and the training step that moves them.

    Args:
        params: our ``{"generator": ..., "discriminator": ...}``, copied.
        image_shape: (height, width, channels).
        latent_dim: length of the latent.
        settings: the numbers of the step.
        device: where it computes.
    """

    def __init__(
        self,
        params: Mapping[str, PyTree],
        image_shape: tuple[int, int, int],
        latent_dim: int,
        settings: Settings,
        device: Any = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.generator = channels_last(Generator(params["generator"], image_shape)).to(device)
        self.discriminator = channels_last(Discriminator(params["discriminator"])).to(device)
        self.latent_dim, self.settings, self.num_steps = latent_dim, settings, 0
        self._weights = [list(net.parameters()) for net in (self.generator, self.discriminator)]
        self._average = [weight.detach().clone() for weight in self._weights[0]]
        adam = {"lr": settings.learning_rate, "betas": (settings.b1, settings.b2), "eps": 1e-8, "fused": True}
        self._optimizers = [torch.optim.Adam(weights, **adam) for weights in self._weights]

    @property
    def num_params(self) -> int:
        """Number of trained weights of both networks."""
        return sum(weight.numel() for weights in self._weights for weight in weights)

    def step(
        self, image: torch.Tensor, condition: torch.Tensor, latents: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> dict[str, torch.Tensor]:
        """One update of the discriminator, one of the generator, and the generator's average.

        Args:
            image: real images [B, C, H, W] in [-1, 1].
            condition: labels int64 [B].
            latents: what the two players' fakes are made of, each [B, Z]; None draws them.

        Returns:
            Each player's loss, under the names that our step has for them.
        """
        if latents is None:
            drawn = torch.randn(2, len(image), self.latent_dim, device=self.device)
            latents = drawn[0], drawn[1]
        discriminator_loss = self._discriminator_loss(image, condition, latents[0])
        self._move(1, discriminator_loss)
        generator_loss = F.softplus(-self.discriminator(self.generator(latents[1], condition), condition)).mean()
        self._move(0, generator_loss)
        torch._foreach_lerp_(self._average, [w.detach() for w in self._weights[0]], 1 - self.settings.ema_decay)
        self.num_steps += 1
        return {"discriminator/loss": discriminator_loss.detach(), "generator/loss": generator_loss.detach()}

    def run(self, hand: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Make a step on each pair of images and condition."""
        for image, condition in hand:
            self.step(image, condition)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _discriminator_loss(self, image: torch.Tensor, condition: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            fake = self.generator(latent, condition)
        is_due = self.num_steps % self.settings.r1_every == 0
        # R1 reuses this pass over the real images, as our compiled step may.
        image = image.detach().requires_grad_(is_due)
        real_logits, fake_logits = self.discriminator(image, condition), self.discriminator(fake, condition)
        loss = (F.softplus(-real_logits) + F.softplus(fake_logits)).mean()
        if is_due:
            (slope,) = torch.autograd.grad(real_logits.sum(), image, create_graph=True)
            weight = self.settings.r1_every * self.settings.gamma / 2
            loss = loss + weight * slope.square().sum(dim=(1, 2, 3)).mean()
        return loss

    def _move(self, number: int, loss: torch.Tensor) -> None:
        self._optimizers[number].zero_grad(set_to_none=True)
        # Only this player's weights: the other's gradient is not computed, in ours neither.
        loss.backward(inputs=self._weights[number])
        self._optimizers[number].step()
