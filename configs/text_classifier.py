"""A classifier of texts, from scratch: of sentiment, of subjects, of any labels of yours.

Command: aigc-jax train text_classifier                                      (generated reviews, no download)
         aigc-jax train text_classifier --data text:FILE.jsonl --tokenizer bpe:4096 --length 128
         aigc-jax classify runs/text_classifier --text FILE.jsonl --by domain --over date

A small convolutional network (Kim 2014) over tokens, trained on texts of which some tokens are left out. It judges
generated texts, too: ``aigc-jax evaluate`` trains and caches it by itself, and a Transformer (text_transformer) for a
second opinion.

Measured figures: docs/text.md.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import optax

from aigc_jax.algorithms.classifier import classifier
from aigc_jax.losses.augmentation import augmented, drop_tokens
from aigc_jax.nets.sequence import ConvSequenceClassifier, TransformerSequenceClassifier
from aigc_jax.train.config import LabelledTextConfig
from aigc_jax.train.experiment import labelled_text_experiment, open_num_classes, open_tokenizer
from aigc_jax.train.parallel import axis_name
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(LabelledTextConfig):
    """Settings of text_classifier."""

    steps: int = 1000
    """Number of training steps."""
    sample_every: int = 0
    """Steps between samples; a classifier has none."""
    length: int = 96
    """Most tokens of a text: longer ones are cut."""
    architecture: Literal["conv", "transformer"] = "conv"
    """The network: convolutions, or attention both ways (the second opinion of aigc-jax evaluate)."""
    width: int = 64
    """Channels of a token."""
    depth: int = 2
    """Number of layers."""
    head_width: int = 32
    """Channels per attention head (transformer)."""
    num_features: int = 64
    """Units of the hidden layer, the dimension of the features."""
    token_dropout: float = 0.1
    """Probability that training leaves a token out, in [0, 1)."""
    learning_rate: float = 3e-3
    """AdamW's largest step size."""
    weight_decay: float = 0.01
    """AdamW's weight decay."""
    ema_decay: float = 0.99
    """Decay of the weight average."""


def resolve(config: Config) -> Config:
    """The config with the tokenizer and the number of classes of its texts."""
    vocabulary = open_tokenizer(config).definition
    return dataclasses.replace(config, vocabulary=vocabulary, num_classes=open_num_classes(config))


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    tokenizer = open_tokenizer(config)
    algorithm = classifier(
        _net(config, open_num_classes(config), len(tokenizer.vocabulary)),
        optax.adamw(
            optax.cosine_onecycle_schedule(config.steps, config.learning_rate), weight_decay=config.weight_decay
        ),
        transform=augmented(functools.partial(drop_tokens, rate=config.token_dropout)),
        ema_decay=config.ema_decay,
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return labelled_text_experiment(config, algorithm, tokenizer)


def _net(config: Config, num_classes: int, vocab_size: int) -> nn.Module:
    width, depth, num_features = config.width, config.depth, config.num_features
    if config.architecture == "conv":
        return ConvSequenceClassifier(num_classes, vocab_size, width=width, depth=depth, num_features=num_features)
    sizes = width, depth, config.head_width, num_features
    return TransformerSequenceClassifier(num_classes, vocab_size, *sizes)
