"""A GPT that prefers the chosen of two answers: direct preference optimisation (DPO) of another run.

Command: aigc-jax train gpt_preferences --initial runs/gpt_docs --data text:pairs.jsonl

Each line of the file has the entries prompt, chosen and rejected (Rafailov et al. 2023). The reference is the initial
run, and the tokenizer its own; the network is set as it was there. Watch decoder/chosen_nats: the loss falls also where
chosen answers become less likely, if rejected ones do so faster. Not measured on preferences of people.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from aigc_jax.algorithms.autoregressive import TokenModel
from aigc_jax.algorithms.preference import preference
from aigc_jax.configs import gpt_docs  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.data.preferences import pair_modality, preference_data
from aigc_jax.nets.decoder import make_decoder
from aigc_jax.train.experiment import open_tokenizer
from aigc_jax.train.parallel import axis_name
from aigc_jax.types import Experiment, UsageError

resolve = gpt_docs.resolve


@dataclass(frozen=True)
class Config(gpt_docs.Config):
    """Settings of gpt_preferences."""

    steps: int = 200
    """Number of training steps."""
    data: str = "text:pairs.jsonl"
    """The pairs: text:FILE.jsonl, with the entries prompt, chosen and rejected in each line."""
    learning_rate: float = 1e-4
    """The optimiser's step size after the first steps; it then falls to a tenth along a cosine."""
    beta: float = 0.1
    """Weight of the reference: the larger, the nearer the model stays to it."""


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    if config.initial is None:
        raise UsageError("preferences are learned by a trained model, which is their reference: add --initial RUN")
    if config.adapter != "full":
        raise UsageError(f"preferences train all weights, got --adapter {config.adapter}: leave it out")
    tokenizer = open_tokenizer(config)
    net = make_decoder(config.net, vocab_size=len(tokenizer.vocabulary), max_length=config.length)
    algorithm = preference(
        TokenModel(
            net, config.length, tokenizer.start, tokenizer.boundary, tokenizer.num_bytes(), tokenizer.word_starts()
        ),
        tx=gpt_docs.make_optimizer(config),
        beta=config.beta,
        sampling=config.sampling,
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return Experiment(
        algorithm=algorithm,
        open_data=lambda: preference_data(config.data, tokenizer, config.length),
        batch_spec={"example": jax.ShapeDtypeStruct((config.batch_size, 2, 2, config.length), jnp.int32)},
        modality=pair_modality(tokenizer),
    )
