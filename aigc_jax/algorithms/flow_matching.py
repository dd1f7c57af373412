"""Flow matching: regress the velocity that carries noise to data along straight lines.

Reference:
    Lipman et al., "Flow Matching for Generative Modeling", 2023, equations 20 to 23; Liu et al., "Flow Straight
    and Fast: Learning to Generate and Transfer Data with Rectified Flow", 2023, equation 1.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import optax
from jaxtyping import Array

from aigc_jax.algorithms.denoiser import (
    PLAYER,
    RENOISE_LEVELS,
    Denoiser,
    corrupt,
    denoising_algorithm,
    make_denoising,
    mean_square,
)
from aigc_jax.processes.gaussian import rectified_flow
from aigc_jax.processes.prediction import predict
from aigc_jax.processes.times import TimeSampler, logit_normal_times
from aigc_jax.samplers.likelihood import LogLikelihoodFn
from aigc_jax.samplers.sampling import Sampler
from aigc_jax.types import Algorithm, Batch, Key, LossTransform, Metrics, PyTree


def rectified_flow_denoiser(
    net: nn.Module,
    shape: tuple[int, ...],
    *,
    num_classes: int = 0,
    bounds: tuple[float, float] | None = (-1.0, 1.0),
    num_levels: int | None = 256,
    renoise_levels: tuple[float, ...] = RENOISE_LEVELS,
) -> Denoiser:
    """A network that predicts the velocity of the straight path from data (t = 0) to noise (t = 1).

    Args:
        net: see :class:`aigc_jax.algorithms.denoiser.Denoiser`.
        shape: shape of one example.
        num_classes: number of classes, 0 for an unconditional model.
        bounds: see :class:`aigc_jax.algorithms.denoiser.Denoiser`; images of 8 bits are the default.
        num_levels: likewise.
        renoise_levels: likewise.
    """
    process = rectified_flow()
    velocity = predict(process, "velocity")
    return Denoiser(net, process, velocity, shape, num_classes, bounds, num_levels, renoise_levels)


def flow_matching(
    denoiser: Denoiser,
    *,
    tx: optax.GradientTransformation,
    sampler: Sampler,
    log_likelihood: LogLikelihoodFn | None = None,
    time_sampler: TimeSampler | None = None,
    condition_dropout: float = 0.1,
    transform: LossTransform = lambda loss_fn: loss_fn,
    ema_decay: float | Callable[[Array], Array] | None = 0.999,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """Flow matching as an :class:`aigc_jax.types.Algorithm`.

    Args:
        denoiser: the network and its path, :func:`rectified_flow_denoiser`.
        tx: its optimiser.
        sampler: from noise to samples, :func:`aigc_jax.samplers.sampling.make_sampler`.
        log_likelihood: of ``evaluate``; None for no ``evaluate``.
        time_sampler: times of the training examples; None for logit-normal ones (Esser et al. 2024).
        condition_dropout: probability in [0, 1) that a condition is hidden, for classifier-free guidance.
        transform: transform of the loss, such as :func:`aigc_jax.losses.semantic.semantic` of
            :func:`aigc_jax.algorithms.denoiser.predicted_examples`.
        ema_decay: decay of the weight average that ``sample`` uses; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` [B, ...] and, for a conditional model, ``condition`` int32 [B].

    >>> import jax, jax.numpy as jnp
    >>> from aigc_jax.nets.mlp import MLPDenoiser
    >>> from aigc_jax.samplers.sampling import make_sampler
    >>> from aigc_jax.samplers.settings import Sampling
    >>> denoiser = rectified_flow_denoiser(MLPDenoiser((8,)), (2,), bounds=None, num_levels=None)
    >>> sampler = make_sampler(denoiser.process, Sampling("euler", num_steps=4))
    >>> algorithm = flow_matching(denoiser, tx=optax.sgd(1e-3), sampler=sampler)
    >>> batch = {"example": jnp.zeros((6, 2))}
    >>> state = algorithm.init(jax.random.key(0), batch)
    >>> state, metrics = jax.jit(algorithm.step)(state, batch, jax.random.key(1))
    >>> algorithm.sample(state.variables, jax.random.key(2), 5, None).shape
    (5, 2)
    """
    times = logit_normal_times() if time_sampler is None else time_sampler

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        noisy = corrupt(denoiser, batch, key, time_sampler=times, condition_dropout=condition_dropout)
        velocity = denoiser.output(params[PLAYER], noisy.x_t, noisy.t, noisy.condition, noisy.keys)
        # Equation 23 with time reversed: the straight line from x_0 to epsilon has the slope epsilon - x_0. Any other
        # path of a denoiser has its own target.
        return mean_square(velocity - denoiser.parameterization.target(noisy.pair, noisy.t)), (model_state, {})

    return denoising_algorithm(
        denoiser,
        make_denoising(denoiser, sampler),
        transform(loss_fn),
        tx,
        log_likelihood=log_likelihood,
        ema_decay=ema_decay,
        num_microbatches=num_microbatches,
        axis_name=axis_name,
    )
