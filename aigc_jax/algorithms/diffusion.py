"""Denoising diffusion (DDPM, EDM): regress the noise of an example, and sample by removing it step by step.

The variants differ in the process, the parameterization, the times and the weight, which are arguments.

Reference:
    Ho et al., "Denoising Diffusion Probabilistic Models", 2020, algorithm 1; Nichol and Dhariwal, "Improved
    Denoising Diffusion Probabilistic Models", 2021, section 3.1; Karras et al., "Elucidating the Design Space of
    Diffusion-Based Generative Models", 2022, equation 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from aigc_jax.algorithms.denoiser import (
    PLAYER,
    Corrupted,
    Denoiser,
    corrupt,
    denoising_algorithm,
    make_denoising,
    mean_square,
)
from aigc_jax.losses.variational import discretized_gaussian, gaussian_kl
from aigc_jax.processes.gaussian import expand, posterior
from aigc_jax.processes.times import TimeSampler, uniform_times
from aigc_jax.processes.weights import WeightFn, simple_weight
from aigc_jax.samplers.ddim import VarianceFn
from aigc_jax.samplers.likelihood import LogLikelihoodFn
from aigc_jax.samplers.sampling import Sampler, WithVariance
from aigc_jax.types import Algorithm, Batch, Condition, DenoiseFn, Key, Metrics, PyTree, UsageError, Variables

Objective = Literal["simple", "vlb", "hybrid"]
"""L_simple; the variational bound in nats per dimension, without the prior's term, which has nothing to learn; L_simple
+ 0.001 L_vlb, which learns the variances of the reverse steps too."""

HYBRID_WEIGHT = 0.001
"""Weight of L_vlb in L_hybrid, Nichol and Dhariwal 2021, equation 16."""


def diffusion(
    denoiser: Denoiser,
    *,
    tx: optax.GradientTransformation,
    sampler: Sampler,
    log_likelihood: LogLikelihoodFn | None = None,
    time_sampler: TimeSampler | None = None,
    weight: WeightFn = simple_weight,
    objective: Objective = "simple",
    num_train_steps: int = 1000,
    condition_dropout: float = 0.1,
    ema_decay: float | Callable[[Array], Array] | None = 0.999,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """A diffusion model as an :class:`aigc_jax.types.Algorithm`.

    Args:
        denoiser: the network, its process and parameterization. For ``vlb`` and ``hybrid`` it outputs twice the
            channels: behind the prediction, the place of each log variance between its two limits.
        tx: its optimiser.
        sampler: from noise to samples, :func:`aigc_jax.samplers.sampling.make_sampler`; a learned variance takes the
            place of that of its settings.
        log_likelihood: of ``evaluate``; None for no ``evaluate``.
        time_sampler: times of the training examples; None for uniform ones. ``vlb`` and ``hybrid`` always take the
            discrete chain's.
        weight: of the squared error at each time, from :mod:`aigc_jax.processes.weights`.
        objective: see :data:`Objective`.
        num_train_steps: T, the length of the discrete chain of ``vlb`` and ``hybrid``.
        condition_dropout: probability in [0, 1) that a condition is hidden, for classifier-free guidance.
        ema_decay: decay of the weight average that ``sample`` uses; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` [B, ...] and, for a conditional model, ``condition`` int32 [B].

    Raises:
        UsageError: an unknown objective.

    >>> from aigc_jax.nets.mlp import MLPDenoiser
    >>> from aigc_jax.processes.gaussian import edm
    >>> from aigc_jax.processes.prediction import precondition
    >>> from aigc_jax.processes.times import lognormal_times
    >>> from aigc_jax.samplers.sampling import make_sampler
    >>> from aigc_jax.samplers.settings import Sampling
    >>> denoiser = Denoiser(MLPDenoiser((8,)), edm(), precondition(edm()), (2,), bounds=None, num_levels=None)
    >>> sampler = make_sampler(edm(), Sampling("heun", num_steps=4))
    >>> algorithm = diffusion(denoiser, tx=optax.sgd(1e-3), sampler=sampler, time_sampler=lognormal_times())
    >>> batch = {"example": jnp.zeros((6, 2))}
    >>> state = algorithm.init(jax.random.key(0), batch)
    >>> state, metrics = jax.jit(algorithm.step)(state, batch, jax.random.key(1))
    >>> algorithm.sample(state.variables, jax.random.key(2), 5, None).shape
    (5, 2)
    """
    if objective not in ("simple", "vlb", "hybrid"):
        raise UsageError(f"expected an objective of simple, vlb or hybrid; got {objective!r}: use simple")
    is_simple, process = objective == "simple", denoiser.process
    times = uniform_times(process, num_steps=None if is_simple else num_train_steps)
    if is_simple and time_sampler is not None:
        times = time_sampler

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        noisy = corrupt(denoiser, batch, key, time_sampler=times, condition_dropout=condition_dropout)
        output = denoiser.output(params[PLAYER], noisy.x_t, noisy.t, noisy.condition, noisy.keys)
        if is_simple:
            return _simple(denoiser, noisy, output, weight), (model_state, {})
        prediction, fraction = jnp.split(output, 2, axis=-1)
        # The bound shapes the variances alone in L_hybrid: the mean learns from L_simple.
        mean = jax.lax.stop_gradient(prediction) if objective == "hybrid" else prediction
        bound = num_train_steps * bound_term(denoiser, noisy, mean, fraction, num_steps=num_train_steps)
        if objective == "vlb":
            return bound, (model_state, {"vlb": bound})
        return _simple(denoiser, noisy, prediction, weight) + HYBRID_WEIGHT * bound, (model_state, {"vlb": bound})

    def with_variance(variables: Variables) -> DenoiseFn:
        return WithVariance(denoiser.denoise_fn(variables), _variance_fn(denoiser, variables))

    return denoising_algorithm(
        denoiser,
        make_denoising(denoiser, sampler, None if is_simple else with_variance),
        loss_fn,
        tx,
        log_likelihood=log_likelihood,
        ema_decay=ema_decay,
        num_microbatches=num_microbatches,
        axis_name=axis_name,
    )


def bound_term(
    denoiser: Denoiser, noisy: Corrupted, output: Array, fraction: Array, *, num_steps: int
) -> Float[Array, " batch"]:
    """L_{i-1} of the variational bound at the time t = i / num_steps of each example, in nats per dimension [B].

    It is a KL divergence between Gaussians, and for i = 1 the negative log likelihood of the pixels (of the Gaussian's
    density where the data are no images). ``fraction`` is the place of the log variance between that of the posterior
    (-1) and that of the forward step (1), elementwise; values outside are allowed.

    Reference:
        Ho et al. 2020, equation 5; the variance, Nichol and Dhariwal 2021, equation 15.
    """
    process, x_0, x_t = denoiser.process, noisy.pair.x_0, noisy.x_t
    length = process.t_max / num_steps
    is_first = noisy.t < 1.5 * length
    at = posterior(process, jnp.where(is_first, process.t_min, noisy.t - length), noisy.t)
    mean, logvar = reverse_step(denoiser, x_t, noisy.t, output, fraction, num_steps=num_steps)
    true_mean = expand(at.scale_x_t, x_t) * x_t + expand(at.scale_x_0, x_t) * x_0
    true_logvar = expand(2.0 * jnp.log(jnp.where(is_first, 1.0, at.std)), x_t)
    kl = gaussian_kl(true_mean, true_logvar, mean, logvar)
    if denoiser.num_levels is not None:
        nll = -discretized_gaussian(x_0, mean, logvar, num_levels=denoiser.num_levels)
    else:
        nll = 0.5 * (math.log(2.0 * math.pi) + logvar + jnp.square(x_0 - mean) * jnp.exp(-logvar))
    return jnp.mean(jnp.where(expand(is_first, x_0), nll, kl), axis=tuple(range(1, x_0.ndim)))


def reverse_step(
    denoiser: Denoiser, x_t: Array, t: Array, output: Array, fraction: Array, *, num_steps: int
) -> tuple[Array, Array]:
    """Mean and log variance of p(x_s | x_t), one step of a chain of ``num_steps``, at t = i / num_steps * t_max.

    Reference:
        Nichol and Dhariwal 2021, equations 10 and 15. The first posterior has no width; like theirs, its lower limit
        is that of the second step.
    """
    process, length = denoiser.process, denoiser.process.t_max / num_steps
    is_first = t < 1.5 * length
    at = posterior(process, jnp.where(is_first, process.t_min, t - length), t)
    second = posterior(process, jnp.float32(length), jnp.float32(2.0 * length))
    x_0 = denoiser.parameterization.to_x_0(output, x_t, t)
    mean = expand(at.scale_x_t, x_t) * x_t + expand(at.scale_x_0, x_t) * x_0
    lower = expand(2.0 * jnp.log(jnp.where(is_first, second.std, at.std)), x_t)
    upper = expand(2.0 * jnp.log(at.forward_std), x_t)
    return mean, lower + 0.5 * (fraction + 1.0) * (upper - lower)


def _variance_fn(denoiser: Denoiser, variables: Variables) -> VarianceFn:
    """The learned variance, by one more pass of the network: its place between its limits, in [0, 1]."""

    def share(x_t: Array, t: Array, condition: Condition) -> Array:
        output = denoiser.output(variables["params"][PLAYER], x_t, t, condition)
        return 0.5 * (output[..., denoiser.shape[-1] :] + 1.0)

    return share


def _simple(denoiser: Denoiser, noisy: Corrupted, output: Array, weight: WeightFn) -> Float[Array, " batch"]:
    """Equation 14 of Ho et al., with a weight, for any output of the network."""
    return weight(noisy.t) * mean_square(output - denoiser.parameterization.target(noisy.pair, noisy.t))
