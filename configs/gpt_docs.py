"""A small GPT on the help topics that every Python carries: no download, four minutes on two cores.

Command: aigc-jax train gpt_docs
         aigc-jax sample runs/gpt_docs --prompt "The "

A decoder of 0.8 million weights in the form of LLaMA (Touvron et al. 2023): rotary positions, RMS norms, SwiGLU, over
bytes. Another text: --data text:FILE; another tokenizer: --tokenizer chars, --tokenizer bpe:2048. Fine-tuned from
another run: --initial RUN, all weights, or --adapter lora or prompt.

Measured: 1.799 bits per byte (1.754 to 1.844) of held-out topics (Python 3.11), one seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import optax
import optax.contrib

from aigc_jax.algorithms.autoregressive import TokenModel, autoregressive
from aigc_jax.data.tokenizer import Tokenizer
from aigc_jax.nets.adapters import LoraSettings, lora, soft_prompt
from aigc_jax.nets.decoder import DecoderSettings, is_matrix, make_decoder, muon_matrices
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.train.config import TextConfig
from aigc_jax.train.experiment import open_tokenizer, text_experiment, with_tokenizer
from aigc_jax.train.parallel import axis_name
from aigc_jax.types import Algorithm, Experiment, UsageError

resolve = with_tokenizer


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
    """The optimiser's step size after the first hundred steps; it then falls to a tenth along a cosine."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW; or Muon (Jordan 2024) of the matrices of blocks, and AdamW of all else."""
    weight_decay: float = 0.1
    """Decoupled decay of matrices (of norms none)."""
    label_smoothing: float = 0.0
    """Share of each target that all tokens get."""
    z_weight: float = 0.0
    """Weight of the z-loss, which keeps the logits' normaliser near 1."""
    adapter: Literal["full", "lora", "prompt"] = "full"
    """The weights that are trained: all; or new ones besides those of --initial, which stay: low-rank changes of
    matrices (lora), or embeddings before all tokens (prompt)."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    num_prompt_tokens: int = 20
    """Number of embeddings of a soft prompt."""
    net: DecoderSettings = field(default_factory=DecoderSettings)
    sampling: Decoding = field(default_factory=lambda: Decoding(length=256, temperature=0.8))


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    tokenizer = open_tokenizer(config)
    return text_experiment(config, make_algorithm(config, tokenizer), tokenizer)


def make_algorithm(config: Config, tokenizer: Tokenizer, *, num_classes: int = 0) -> Algorithm:
    """The model of a config, of classes or, with 0 of them, unconditional."""
    if config.adapter != "full" and config.initial is None:
        raise UsageError(f"--adapter {config.adapter} changes trained weights: add --initial RUN")
    adapters = {"full": None, "lora": lora(config.lora), "prompt": soft_prompt(config.num_prompt_tokens)}
    net = make_decoder(config.net, vocab_size=len(tokenizer.vocabulary), max_length=config.length)
    net = net.clone(num_classes=num_classes)
    if config.adapter == "prompt":
        net = net.clone(num_prompt_tokens=config.num_prompt_tokens)
    return autoregressive(
        TokenModel(
            net, config.length, tokenizer.start, tokenizer.boundary, tokenizer.num_bytes(), tokenizer.word_starts()
        ),
        tx=make_optimizer(config),
        sampling=config.sampling,
        adapter=adapters[config.adapter],
        label_smoothing=config.label_smoothing,
        z_weight=config.z_weight,
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """The optimiser of a config, gradients clipped; weight decay is of matrices alone."""
    warmup = min(100, config.steps // 10 + 1)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warmup, max(config.steps, warmup + 1), 0.1 * config.learning_rate
    )
    decay = config.weight_decay
    if config.optimizer == "adamw":
        tx = optax.adamw(schedule, b2=0.99, weight_decay=decay, mask=is_matrix)
    else:
        tx = optax.contrib.muon(
            schedule,
            weight_decay=decay,
            adam_weight_decay=decay,
            weight_decay_mask=is_matrix,
            adam_b2=0.99,
            muon_weight_dimension_numbers=muon_matrices,
            consistent_rms=0.2,  # updates as large as those of AdamW, so that one step size serves both
        )
    return optax.chain(optax.clip_by_global_norm(1.0), tx)
