"""A classifier of texts made of a GPT: its trunk and a head, fine-tuned from a language model or from scratch.

Command: aigc-jax train gpt_sentiment                                        (generated reviews, no download)
         aigc-jax train gpt_docs --data sentiment --tokenizer bpe:4096 --length 64 --workdir runs/language
         aigc-jax train gpt_sentiment --data sentiment --length 64 --initial runs/language --num-labels 500

The logits are a linear function of the mean of the decoder's last hidden states (Radford et al. 2018; Howard and Ruder
2018). With --initial RUN, a run of gpt_docs with the same --net and --length, whatever fits is taken over, and the
tokenizer; all weights are trained, or with --adapter lora low-rank changes of some matrices and the head.

Measured figures: docs/text.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

import optax

from aigc_jax.algorithms.classifier import classifier
from aigc_jax.nets.adapters import LoraSettings, lora, with_head
from aigc_jax.nets.decoder import DecoderSettings, is_matrix, make_decoder
from aigc_jax.nets.sequence import HEAD, DecoderClassifier
from aigc_jax.train.config import LabelledTextConfig
from aigc_jax.train.experiment import labelled_text_experiment, open_num_classes, open_tokenizer, with_tokenizer
from aigc_jax.train.parallel import axis_name
from aigc_jax.types import Experiment, UsageError


@dataclass(frozen=True)
class Config(LabelledTextConfig):
    """Settings of gpt_sentiment."""

    steps: int = 300
    """Number of training steps."""
    batch_size: int = 32
    """Texts in a step."""
    sample_every: int = 0
    """Steps between samples; a classifier has none."""
    length: int = 96
    """Most tokens of a text: longer ones are cut."""
    learning_rate: float = 1e-3
    """AdamW's largest step size, after a tenth of the steps; it then falls to 0 along a cosine."""
    weight_decay: float = 0.1
    """Decoupled decay of matrices."""
    ema_decay: float = 0.98
    """Decay of the weight average."""
    adapter: Literal["full", "lora"] = "full"
    """The weights that are trained: all; or low-rank changes of those of --initial, which stay, and the head (lora)."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    net: DecoderSettings = field(default_factory=lambda: DecoderSettings(dropout=0.1))


def resolve(config: Config) -> Config:
    """The config with the tokenizer, that of --initial if there is one, and the number of classes of its texts."""
    return dataclasses.replace(with_tokenizer(config), num_classes=open_num_classes(config))


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    if config.adapter != "full" and config.initial is None:
        raise UsageError(f"--adapter {config.adapter} changes trained weights: add --initial RUN")
    tokenizer = open_tokenizer(config)
    decoder = make_decoder(config.net, vocab_size=len(tokenizer.vocabulary), max_length=config.length)
    warmup = config.steps // 10 + 1
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, max(config.steps, warmup + 1))
    algorithm = classifier(
        DecoderClassifier(decoder, open_num_classes(config)),
        optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=config.weight_decay, mask=is_matrix)
        ),
        has_dropout=True,
        adapter=with_head(lora(config.lora), HEAD) if config.adapter == "lora" else None,
        ema_decay=config.ema_decay,
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return labelled_text_experiment(config, algorithm, tokenizer)
