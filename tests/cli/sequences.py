"""An experiment on a modality of its own: sequences of seven integers, no labels, no judge. A config file like any."""

from __future__ import annotations

from dataclasses import dataclass, field

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from aigc_jax.algorithms.discrete_diffusion import TokenDenoiser, discrete_diffusion
from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.export import write_npz
from aigc_jax.data.files import write_text
from aigc_jax.processes.discrete import absorbing
from aigc_jax.samplers.discrete import TokenSampling
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.parallel import axis_name
from aigc_jax.types import Data, Experiment, Modality

LENGTH, VOCAB_SIZE = 7, 5


def lines(stored, ids=None, names=(), *, real=None):
    return [" ".join(map(str, row)) for row in stored]


def write_lines(path, blocks, ids, *, num, names=()):
    write_text(path, "\n".join(lines(np.concatenate(list(blocks)))) + "\n")


def write_arrays(path, blocks, ids, *, num, names=()):
    write_npz(path, blocks, ids, num=num, names=names, name="tokens")


SEQUENCES = Modality(
    name="tokens",
    load=lambda stored: stored.astype(np.int32),
    store=lambda tokens: np.asarray(tokens, np.int32),
    show=lines,
    writers={".txt": write_lines, ".npz": write_arrays},
    num_levels=VOCAB_SIZE,
    num_shown=6,
    dtype=np.int32,
)


class Perceptron(nn.Module):
    """Logits of each place from all of them."""

    @nn.compact
    def __call__(self, x, noise_label, condition, *, keys=None):
        h = nn.tanh(nn.Dense(16)(jnp.concatenate([x, noise_label[:, None]], axis=-1)))
        return nn.Dense(LENGTH * VOCAB_SIZE)(h)


def counting(num, seed):
    """Sequences that count up, modulo the vocabulary."""
    start = np.random.default_rng(seed).integers(0, VOCAB_SIZE, num)
    return ArraySource((start[:, None] + np.arange(LENGTH)) % VOCAB_SIZE, name="tokens")


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of sequences."""

    num_classes: int | None = None
    data: str = "counting"
    sampling: TokenSampling = field(default_factory=lambda: TokenSampling(num_steps=3))


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    algorithm = discrete_diffusion(
        TokenDenoiser(Perceptron(), absorbing(VOCAB_SIZE), (LENGTH,)),
        tx=optax.adam(1e-2),
        sampling=config.sampling,
        num_times=2,
        axis_name=axis_name(config.parallel),
    )
    spec = {"example": jax.ShapeDtypeStruct((config.batch_size, LENGTH), jnp.int32)}
    return Experiment(algorithm, lambda: Data("counting", counting(200, 0), counting(80, 1), ()), spec, SEQUENCES)
