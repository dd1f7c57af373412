"""A GPT of reviews that are positive or negative, as it is told: generated ones, or labelled texts of yours.

Command: aigc-jax train gpt_reviews                                          (generated reviews, no download)
         aigc-jax sample runs/gpt_reviews --condition positive --num 4
         aigc-jax train gpt_reviews --data text:FILE.jsonl --tokenizer bpe:4096 --initial runs/gpt

The class takes the place of the first token (CTRL, Keskar et al. 2019), and its embedding is added to all others: it is
hidden in one of ten training texts, for classifier-free guidance: --guidance 2. Of world:reviews the report knows which
samples are reviews, and what they say.

Measured after 1,500 steps, one seed: 10.6 nats a new review with its class, 11.1 without and 12.9 with the other one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from aigc_jax.configs import gpt_docs  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.train.config import LabelledTextConfig
from aigc_jax.train.experiment import labelled_text_experiment, open_num_classes, open_tokenizer
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(LabelledTextConfig, gpt_docs.Config):
    """Settings of gpt_reviews."""

    steps: int = 1500
    """Number of training steps."""
    batch_size: int = 16
    """Texts in a step."""
    length: int = 96
    """Most tokens of a text: longer ones are cut."""
    data: str = "world:reviews"
    """The texts: text:FILE.jsonl (lines with text and label), sentiment, tfds:NAME or world:reviews."""
    sampling: Decoding = field(default_factory=lambda: Decoding(length=96))


def resolve(config: Config) -> Config:
    """The config with the tokenizer and the number of classes of its texts."""
    return dataclasses.replace(gpt_docs.resolve(config), num_classes=open_num_classes(config))


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    tokenizer = open_tokenizer(config)
    algorithm = gpt_docs.make_algorithm(config, tokenizer, num_classes=open_num_classes(config))
    return labelled_text_experiment(config, algorithm, tokenizer)
