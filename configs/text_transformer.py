"""A second classifier of texts, of attention: samples that fool the first one may not fool it.

Command: aigc-jax train text_transformer    (``aigc-jax evaluate`` trains and caches it by itself)

``text_classifier`` with another network. Measured figures: docs/text.md.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Literal

from aigc_jax.types import Experiment

text_classifier = importlib.import_module("aigc_jax.configs.text_classifier")
resolve = text_classifier.resolve


@dataclass(frozen=True)
class Config(text_classifier.Config):
    """Settings of text_transformer."""

    architecture: Literal["conv", "transformer"] = "transformer"
    """The network: convolutions, or attention both ways."""
    learning_rate: float = 2e-3
    """AdamW's largest step size."""


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    return text_classifier.build(config)
