"""A GPT on the characters of Shakespeare, at the size and budget of nanoGPT's run on a GPU.

Command: aigc-jax data prepare tfds:tiny_shakespeare
         aigc-jax train gpt_shakespeare_gpu

nanoGPT's README (Karpathy 2022) has 1.4697 nats per character, the least of evaluations on 200 random batches. So large
a model learns this text by heart after a while: the best checkpoint is kept, by the held-out loss after each 250 steps,
and ``aigc-jax likelihood RUN --checkpoint best`` counts every held-out character.

Measured: not yet, for lack of a GPU; a shortened run is tested.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aigc_jax.configs import gpt_docs, gpt_shakespeare  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.nets.decoder import DecoderSettings
from aigc_jax.types import Experiment

resolve = gpt_docs.resolve


@dataclass(frozen=True)
class Config(gpt_shakespeare.Config):
    """Settings of gpt_shakespeare_gpu."""

    steps: int = 5000
    """Number of training steps."""
    batch_size: int = 64
    """Windows in a step."""
    length: int = 256
    """Number of tokens that the model sees at once in training."""
    learning_rate: float = 1e-3
    """The optimiser's step size after the first hundred steps; it then falls to a tenth along a cosine."""
    eval_every: int = 250
    """Steps between evaluations of held-out text."""
    best_metric: str | None = "eval/nll"
    """Metric of the best checkpoint, which is kept."""
    best_mode: Literal["min", "max"] = "min"
    """Whether the best value of best_metric is the smallest or the largest."""
    net: DecoderSettings = field(
        default_factory=lambda: DecoderSettings(width=384, depth=6, head_width=64, dropout=0.2, dtype="bfloat16")
    )


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    return gpt_docs.build(config)
