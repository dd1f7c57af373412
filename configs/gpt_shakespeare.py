"""A GPT on the characters of Shakespeare, at the size and budget of nanoGPT's run on a CPU.

Command: aigc-jax data prepare tfds:tiny_shakespeare
         aigc-jax train gpt_shakespeare

nanoGPT's README (Karpathy 2022) has a held-out loss of 1.88 nats per character for 4 blocks of width 128, 64 characters
at once, batches of 12 and 2,000 steps, on 20 random batches; here every held-out character counts once. Its run on a
GPU (1.4697) is gpt_shakespeare_gpu.

Measured: 1.677, 1.674 and 1.689 nats per character (three seeds), all 111,539 held-out ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from aigc_jax.configs import gpt_docs  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.types import Experiment

resolve = gpt_docs.resolve


@dataclass(frozen=True)
class Config(gpt_docs.Config):
    """Settings of gpt_shakespeare."""

    steps: int = 2000
    """Number of training steps."""
    batch_size: int = 12
    """Windows in a step."""
    data: str = "tfds:tiny_shakespeare"
    """The text: python-docs, text:FILE (.txt or .jsonl) or tfds:NAME."""
    tokenizer: str = "chars"
    """Tokens: bytes, chars of the training text, or bpe:N, byte pair encoding with N tokens."""
    length: int = 64
    """Number of tokens that the model sees at once in training."""


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    return gpt_docs.build(config)
