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

    temperature: float = 1.0
    top_k: int | None = None

    @nn.compact
    def __call__(self, x, noise_label, condition, *, keys=None):
        h = nn.tanh(nn.Dense(16)(jnp.concatenate([x, noise_label[:, None]], axis=-1)))
        logits = nn.Dense(LENGTH * VOCAB_SIZE)(h)
        if self.top_k is not None:
            rows = logits.reshape(-1, LENGTH, VOCAB_SIZE)
            least = jnp.sort(rows)[..., -self.top_k, None]
            logits = jnp.where(rows < least, -1e9, rows).reshape(logits.shape)
        return logits / self.temperature


def counting(num, seed):
    """Sequences that count up, modulo the vocabulary."""
    start = np.random.default_rng(seed).integers(0, VOCAB_SIZE, num)
    return ArraySource((start[:, None] + np.arange(LENGTH)) % VOCAB_SIZE, name="tokens")


@dataclass(frozen=True)
class SequenceSampling:
    """Sampling settings that no file of the library names."""

    num_steps: int = 3
    """Steps from noise to data."""
    temperature: float = 1.0
    """Divisor of the logits, > 0."""
    top_k: int | None = None
    """Draw each token among the k most likely ones; None for all."""


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of sequences."""

    data: str = "counting"
    sampling: SequenceSampling = field(default_factory=SequenceSampling)


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    settings = config.sampling

    def of(net):
        return discrete_diffusion(
            TokenDenoiser(net, absorbing(VOCAB_SIZE), (LENGTH,)),
            tx=optax.adam(1e-2),
            sampling=TokenSampling(settings.num_steps),
            num_times=2,
            axis_name=axis_name(config.parallel),
        )

    algorithm = of(Perceptron())._replace(sample=of(Perceptron(settings.temperature, settings.top_k)).sample)
    spec = {"example": jax.ShapeDtypeStruct((config.batch_size, LENGTH), jnp.int32)}
    return Experiment(algorithm, lambda: Data("counting", counting(200, 0), counting(80, 1), ()), spec, SEQUENCES)
