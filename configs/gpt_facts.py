"""A GPT of statements about people, trained on some of the true ones; how often it states a false one is computed.

Command: aigc-jax train gpt_facts                                          (generated statements, no download)
         aigc-jax sample runs/gpt_facts --prompt "Adam Baker was born in" --num 4
         aigc-jax evaluate runs/gpt_facts                                  (its exact hallucination rate)

A token is a word, so that the probability of every possible statement is computed. --num-train sets how many true
statements the training set draws; what it never states, the model can only guess. --data world:families has statements
that follow from others, --data world:grammar brackets, sums and JSON.

Measured after 2,000 steps, one seed: a hallucination rate of 8.7 % where the monofact rate is 10.8 %; two minutes on
two cores. With world:families 2.5 %, and 71 % of the statements that it never saw are ahead of all false ones.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from aigc_jax.configs import gpt_docs  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.nets.decoder import DecoderSettings
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.train.config import WorldTextConfig
from aigc_jax.train.experiment import open_tokenizer, with_tokenizer, world_length, world_text_experiment
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(WorldTextConfig, gpt_docs.Config):
    """Settings of gpt_facts."""

    steps: int = 2000
    """Number of training steps."""
    batch_size: int = 128
    """Texts in a step."""
    length: int = 5
    """Most tokens of a text; of another world than facts its own."""
    data: str = "world:facts"
    """The world of text."""
    net: DecoderSettings = field(default_factory=lambda: DecoderSettings(width=128, depth=2))
    sampling: Decoding = field(default_factory=lambda: Decoding(length=5))


def resolve(config: Config) -> Config:
    """The config with the tokenizer and the length of its world's texts."""
    length, default = world_length(config), Config()
    found = with_tokenizer(config)
    if config.length == default.length:
        found = dataclasses.replace(found, length=length)
    if config.sampling.length == default.sampling.length:
        found = dataclasses.replace(found, sampling=dataclasses.replace(config.sampling, length=length))
    return found


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    tokenizer = open_tokenizer(config)
    return world_text_experiment(config, gpt_docs.make_algorithm(config, tokenizer), tokenizer)
