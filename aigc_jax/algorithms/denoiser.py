"""Common parts of methods that learn to denoise: network and process, corrupted batches, samples, likelihoods."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from aigc_jax.algorithms.detecting import NUM_DRAWS
from aigc_jax.algorithms.networks import as_condition, condition_of, example_of, hide_at_random, init_network
from aigc_jax.guards.renoise import check_level, renoise_stability
from aigc_jax.players import single_player
from aigc_jax.processes.gaussian import Process
from aigc_jax.processes.prediction import Pair, Parameterization
from aigc_jax.processes.times import TimeSampler
from aigc_jax.rng import example_keys, normal, split_by_name
from aigc_jax.samplers.editing import edit
from aigc_jax.samplers.likelihood import LogLikelihoodFn, bits_per_dim, dequantize
from aigc_jax.samplers.sampling import Sampler
from aigc_jax.samplers.solver import Observer
from aigc_jax.types import (
    Algorithm,
    Batch,
    Condition,
    DenoiseFn,
    Denoising,
    Detector,
    Key,
    Keys,
    Latents,
    LossFn,
    PyTree,
    UsageError,
    Variables,
)

PLAYER = "denoiser"
"""The one player's name in params and model_state."""

RENOISE_LEVELS = (0.8, 0.3, 0.1)
"""Of images in [-1, 1]. On digits any level below 1 finds blends of two, and 0.8 to 1.2 is best for the subtlest
planted fault, the upper half of one on the lower half of another: AUC 0.82, where 0.1 has 0.62 and 4 has 0.60."""

POINT_LEVELS = (0.1, 0.05, 0.25)
"""Of points: one to five standard deviations of a mode, where that is 0.05 as in the worlds of this library."""


class Denoiser(NamedTuple):
    """A network, and its use as a denoiser.

    Args:
        net: Linen module ``(x [B, ...], noise_label [B], condition, *, keys) -> output``; keys are those of the
            dropout, one per example, None for none.
        process: the noise process.
        parameterization: the meaning of the network's output.
        shape: shape of one example.
        num_classes: number of classes, 0 for an unconditional model; class ``num_classes`` stands for no condition.
        bounds: limits to which samples are clipped; None for data without limits.
        num_levels: number of values of a stored number, 256 for images of 8 bits: they are dequantised for likelihoods,
            which are then in bits per dimension too; None for real numbers.
        renoise_levels: noise levels sigma / alpha of the detectors of :mod:`aigc_jax.guards.renoise`, the default
            first.
    """

    net: nn.Module
    process: Process
    parameterization: Parameterization
    shape: tuple[int, ...]
    num_classes: int = 0
    bounds: tuple[float, float] | None = (-1.0, 1.0)
    num_levels: int | None = 256
    renoise_levels: tuple[float, ...] = RENOISE_LEVELS

    def init(self, key: Key, batch: Batch) -> PyTree:
        """Initial parameters; only the shapes of the batch matter."""
        x = example_of(batch)
        if x.shape[1:] != self.shape:
            raise UsageError(f"this model takes examples of shape {self.shape}, got {x.shape[1:]}: change either")
        label = jnp.zeros(x.shape[0])
        return init_network(
            "denoiser",
            self.net,
            key,
            x,
            label,
            self.condition(batch),
            expected=(*x.shape[:-1], None),
            meaning="one vector for each position of the input",
            keys=None,
        )["params"]

    def condition(self, batch: Batch) -> Condition:
        """The condition of each example of a batch, None for an unconditional model."""
        return condition_of(batch, self.num_classes)

    def output(
        self, params: PyTree, x_t: Array, t: Float[Array, " batch"], condition: Condition, keys: Keys | None = None
    ) -> Array:
        """The raw network on corrupted examples [B, ...]; ``keys`` are those of the dropout."""
        scaled, label = self.parameterization.scale_input(x_t, t), self.parameterization.noise_label(t)
        output = self.net.apply({"params": params}, scaled, label, condition, keys=keys)
        assert not isinstance(output, tuple)  # for the type checker: no mutable collections
        return jnp.asarray(output)

    def denoise_fn(self, variables: Variables) -> DenoiseFn:
        """The denoiser of trained weights, ``(x_t, t, condition) -> x_0``."""
        params, num_channels = variables["params"][PLAYER], self.shape[-1]

        def denoise(x_t: Array, t: Array, condition: Condition) -> Array:
            # A network that learned its variance too has more channels behind those of the mean.
            output = self.output(params, x_t, t, condition)[..., :num_channels]
            return self.parameterization.to_x_0(output, x_t, t)

        return denoise


class Corrupted(NamedTuple):
    """A training batch with noise."""

    x_t: Array
    t: Array
    pair: Pair
    condition: Condition  # some of them replaced by "no condition"
    keys: Keys  # of the dropout


def corrupt(
    denoiser: Denoiser, batch: Batch, key: Key, *, time_sampler: TimeSampler, condition_dropout: float
) -> Corrupted:
    """Give each example of a batch its own time and noise, and hide its condition with a probability in [0, 1).

    Reference:
        Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, algorithm 1.
    """
    if not 0 <= condition_dropout < 1:
        raise UsageError(f"expected a condition_dropout in [0, 1), got {condition_dropout}: 0.1 is usual")
    keys = split_by_name(example_keys(key, batch["index"]), "time", "noise", "condition", "dropout")
    x_0, t, condition = example_of(batch), time_sampler(keys["time"]), denoiser.condition(batch)
    epsilon = normal(keys["noise"], denoiser.shape)
    condition = hide_at_random(condition, keys["condition"], condition_dropout, denoiser.num_classes)
    return Corrupted(denoiser.process.corrupt(x_0, epsilon, t), t, Pair(x_0, epsilon), condition, keys["dropout"])


def predicted_examples(
    denoiser: Denoiser, *, time_sampler: TimeSampler, condition_dropout: float
) -> Callable[[PyTree, PyTree, Batch, Key], tuple[Array, Array]]:
    """The x_0 that a denoiser predicts of the corrupted examples of its loss, see :mod:`aigc_jax.losses.semantic`.

    Each counts by its share of signal, alpha^2 / (alpha^2 + sigma^2): of noise alone the mean of all examples is right.
    """

    def predict(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, Array]:
        del model_state
        noisy = corrupt(denoiser, batch, key, time_sampler=time_sampler, condition_dropout=condition_dropout)
        output = denoiser.output(params[PLAYER], noisy.x_t, noisy.t, noisy.condition, noisy.keys)
        signal, noise = (jnp.square(level(noisy.t)) for level in (denoiser.process.alpha, denoiser.process.sigma))
        return denoiser.parameterization.to_x_0(output, noisy.x_t, noisy.t), signal / (signal + noise)

    return predict


def mean_square(error: Array) -> Float[Array, " batch"]:
    """Mean over all but the first axis of the squared error."""
    return jnp.mean(jnp.square(error), axis=tuple(range(1, error.ndim)))


def make_denoising(
    denoiser: Denoiser, sampler: Sampler, denoiser_of: Callable[[Variables], DenoiseFn] | None = None
) -> Denoising:
    """The ``denoising`` of an algorithm; samples are clipped to the denoiser's bounds.

    ``denoiser_of``, ``variables -> denoiser``, gives one with a learned variance; None is that of ``denoiser``.
    """

    def draw(
        denoise: DenoiseFn,
        keys: Keys,
        condition: Condition,
        *,
        noise: Array | None = None,
        start: Array | None = None,
        mask: Array | None = None,
        strength: float = 1.0,
        observer: Observer | None = None,
    ) -> tuple[Array, Any]:
        num_values = denoiser.num_classes + 1  # the last one is "no condition"
        condition, seen = as_condition(condition, len(keys), denoiser.num_classes, num_values=num_values), None
        if start is not None:
            x_0 = edit(sampler, denoise, start, keys, condition, mask=mask, strength=strength)
        elif observer is not None:
            x_0, seen = sampler.observe(observer, denoise, denoiser.shape, keys, condition)
        else:
            x_0 = sampler(denoise, denoiser.shape, keys, condition, noise=noise)
        return x_0 if denoiser.bounds is None else jnp.clip(x_0, *denoiser.bounds), seen

    num_steps = sampler.num_steps if sampler.is_observable else 0
    return Denoising(denoiser.process, denoiser_of or denoiser.denoise_fn, draw, num_steps)


def denoising_algorithm(
    denoiser: Denoiser,
    denoising: Denoising,
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    *,
    log_likelihood: LogLikelihoodFn | None = None,
    ema_decay: float | Callable[[Array], Array] | None,
    num_microbatches: int,
    axis_name: str | None,
) -> Algorithm:
    """The algorithm that trains a denoiser by a loss; its latents are the noise of unit variance at the start."""
    init, step = single_player(
        PLAYER, loss_fn, tx, denoiser.init, ema_decay=ema_decay, num_microbatches=num_microbatches, axis_name=axis_name
    )

    def sample(variables: Variables, key: Array, num_samples: int, condition: Condition = None) -> Array:
        return denoising.draw(denoising.denoiser(variables), example_keys(key, num_samples), condition)[0]

    def draw(key: Array, num_samples: int) -> Array:
        # As drawn by aigc_jax.samplers.sampling.Sampler.
        return normal(split_by_name(example_keys(key, num_samples), "noise")["noise"], denoiser.shape)

    def generate(variables: Variables, latents: Array, key: Array, condition: Condition) -> Array:
        keys = example_keys(key, latents.shape[0])
        return denoising.draw(denoising.denoiser(variables), keys, condition, noise=latents)[0]

    return Algorithm(
        init=init,
        step=step,
        sample=sample,
        evaluate=None if log_likelihood is None else _evaluate_fn(denoiser, log_likelihood),
        latents=Latents(draw, generate),
        denoising=denoising,
        detectors=renoise_detectors(denoiser),
    )


def _evaluate_fn(
    denoiser: Denoiser, log_likelihood: LogLikelihoodFn
) -> Callable[[Variables, Batch, Array], dict[str, Array]]:
    """Exact ``nll`` in nats by the probability-flow ODE; ``bits_per_dim`` too for levels, dequantised uniformly.

    The latter is the bound on the discrete pixels' likelihood of Theis et al. 2016, section 3.1.
    """

    def evaluate(variables: Variables, batch: Batch, key: Array) -> dict[str, Array]:
        x_0, condition = example_of(batch), denoiser.condition(batch)
        keys = split_by_name(example_keys(key, x_0.shape[0]), "dequantize", "trace")
        if denoiser.num_levels is None:
            return {"nll": -log_likelihood(denoiser.denoise_fn(variables), x_0, keys["trace"], condition)}
        level, num_dims = 2.0 / (denoiser.num_levels - 1), math.prod(denoiser.shape)
        x_0 = dequantize(keys["dequantize"], x_0, level)
        log_prob = log_likelihood(denoiser.denoise_fn(variables), x_0, keys["trace"], condition)
        bits = bits_per_dim(log_prob, num_dims, level)
        return {"nll": bits * (num_dims * math.log(2.0)), "bits_per_dim": bits}

    return evaluate


def renoise_detectors(denoiser: Denoiser) -> dict[str, Detector]:
    """Re-noise stability under a trained denoiser: ``renoise`` at its first level, ``renoise_0.5`` and so on at others.

    Without a given condition it scores under "no condition", which a model learns only if conditions are hidden in
    training.
    """

    def detector(level: float) -> Detector:
        check_level(denoiser.process, level)

        def score(variables: Variables, samples: Array, condition: Condition, keys: Keys) -> Array:
            if condition is None and denoiser.num_classes:
                condition = jnp.full(samples.shape[0], denoiser.num_classes)
            denoise = denoiser.denoise_fn(variables)
            return renoise_stability(
                denoiser.process, denoise, samples, keys, condition, level=level, num_draws=NUM_DRAWS
            )

        return Detector(score)

    names = ["renoise", *(f"renoise_{level:g}" for level in denoiser.renoise_levels[1:])]
    return {name: detector(level) for name, level in zip(names, denoiser.renoise_levels, strict=True)}
