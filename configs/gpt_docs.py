"""A small GPT on the help topics that every Python carries: no download, four minutes on two cores.

Command: aigc-jax train gpt_docs
         aigc-jax sample runs/gpt_docs --prompt "The "

A decoder of 0.8 million weights in the form of LLaMA (Touvron et al. 2023): rotary positions, RMS norms, SwiGLU, over
bytes. Another text: --data text:FILE; another tokenizer: --tokenizer chars, --tokenizer bpe:2048.

Measured: 1.618 bits per byte of held-out topics (Python 3.11), one seed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import optax

from aigc_jax.algorithms.autoregressive import TokenModel, autoregressive
from aigc_jax.nets.decoder import DecoderSettings, is_matrix, make_decoder
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.train.config import TextConfig
from aigc_jax.train.experiment import open_tokenizer, text_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(TextConfig):
    """Settings of gpt_docs."""

    steps: int = 1500
    """Number of training steps."""
    batch_size: int = 8
    """Windows in a step."""
    length: int = 128
    """Number of tokens that the model sees at once in training."""
    learning_rate: float = 4e-3
    """AdamW's step size after the first hundred steps; it then falls to a tenth along a cosine."""
    weight_decay: float = 0.1
    """Decoupled decay of matrices (of norms none)."""
    label_smoothing: float = 0.0
    """Share of each target that all tokens get."""
    z_weight: float = 0.0
    """Weight of the z-loss, which keeps the logits' normaliser near 1."""
    net: DecoderSettings = field(default_factory=DecoderSettings)
    sampling: Decoding = field(default_factory=lambda: Decoding(length=256, temperature=0.8))


def resolve(config: Config) -> Config:
    """The config with the tokenizer of its text."""
    return dataclasses.replace(config, vocabulary=open_tokenizer(config).definition)


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    tokenizer = open_tokenizer(config)
    net = make_decoder(config.net, vocab_size=len(tokenizer.vocabulary), max_length=config.length)
    model = TokenModel(net, config.length, tokenizer.start, tokenizer.boundary, tokenizer.num_bytes())
    warmup = min(100, config.steps // 10 + 1)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warmup, max(config.steps, warmup + 1), 0.1 * config.learning_rate
    )
    algorithm = autoregressive(
        model,
        tx=optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(schedule, b2=0.99, weight_decay=config.weight_decay, mask=is_matrix),
        ),
        sampling=config.sampling,
        label_smoothing=config.label_smoothing,
        z_weight=config.z_weight,
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return text_experiment(config, algorithm, tokenizer)
