"""Consistency models: one network evaluation from noise to data, learned with or without a teacher.

Reference:
    Song et al., "Consistency Models", 2023, algorithms 2 and 3; Song and Dhariwal, "Improved Techniques for
    Training Consistency Models", 2023, whose times, weights, metric and curriculum are used here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from aigc_jax.algorithms.denoiser import PLAYER, Denoiser, corrupt, denoising_algorithm, make_denoising
from aigc_jax.processes.gaussian import Process, expand
from aigc_jax.processes.times import TimeSampler, lognormal_times
from aigc_jax.samplers.sampling import Sampler
from aigc_jax.types import Algorithm, Batch, DenoiseFn, Key, Metrics, PyTree, UsageError


class Curriculum(NamedTuple):
    """Number of noise levels over time: few at first, twice as many after each stage.

    Args:
        num_steps: K, training steps in all.
        first: s_0, intervals at the beginning.
        last: s_1, intervals at the end.

    Reference:
        Song and Dhariwal 2023, section 3.4 and table 1.
    """

    num_steps: int
    first: int = 10
    last: int = 1280

    def num_intervals(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """N(k) - 1 after k steps, as a float."""
        stage_length = int(self.num_steps / (math.log2(self.last // self.first) + 1))
        stage = (step // max(stage_length, 1)).astype(jnp.float32)
        return jnp.minimum(self.first * jnp.exp2(stage), float(self.last))


def consistency(
    denoiser: Denoiser,
    curriculum: Curriculum,
    *,
    tx: optax.GradientTransformation,
    sampler: Sampler,
    teacher: DenoiseFn | None = None,
    time_sampler: TimeSampler | None = None,
    rho: float = 7.0,
    condition_dropout: float = 0.0,
    ema_decay: float | Callable[[Array], Array] | None = 0.999,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """A consistency model as an :class:`aigc_jax.types.Algorithm`.

    Args:
        denoiser: the network with :func:`aigc_jax.processes.boundary.with_boundary`.
        curriculum: the number of noise levels over time.
        tx: its optimiser.
        sampler: of the kind ``multistep``; one step suffices.
        teacher: a trained denoiser of the same process, guided or not (:func:`in_noise_levels` brings one of another
            process): consistency distillation. None: consistency training.
        time_sampler: noise levels of the training examples; None for ln(sigma) ~ N(-1.1, 2^2) between the ends of
            the process.
        rho: of the grid of noise levels.
        condition_dropout: probability in [0, 1) that a condition is hidden.
        ema_decay: decay of the weight average that ``sample`` uses; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches as for :func:`aigc_jax.algorithms.flow_matching.flow_matching`.

    Raises:
        UsageError: a curriculum without intervals, or with fewer at its end than at its beginning.

    >>> from aigc_jax.nets.mlp import MLPDenoiser
    >>> from aigc_jax.processes.boundary import with_boundary
    >>> from aigc_jax.processes.gaussian import edm
    >>> from aigc_jax.samplers.sampling import make_sampler
    >>> from aigc_jax.samplers.settings import Sampling
    >>> denoiser = Denoiser(MLPDenoiser((8,)), edm(), with_boundary(edm()), (2,), bounds=None, num_levels=None)
    >>> sampler = make_sampler(edm(), Sampling("multistep", num_steps=1), is_consistency=True)
    >>> algorithm = consistency(denoiser, Curriculum(100), tx=optax.sgd(1e-3), sampler=sampler)
    >>> batch = {"example": jnp.zeros((6, 2))}
    >>> state = algorithm.init(jax.random.key(0), batch)
    >>> state, metrics = jax.jit(algorithm.step)(state, batch, jax.random.key(1))
    >>> algorithm.sample(state.variables, jax.random.key(2), 5, None).shape
    (5, 2)
    """
    if not 1 <= curriculum.first <= curriculum.last:
        got = f"{curriculum.first} and {curriculum.last}"
        raise UsageError(f"expected 1 <= first <= last intervals, got {got}: use 10 and 1280")
    process = denoiser.process
    times = lognormal_times(-1.1, 2.0, limits=(process.t_min, process.t_max)) if time_sampler is None else time_sampler
    huber = 0.00054 * math.sqrt(math.prod(denoiser.shape))

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        num_intervals = curriculum.num_intervals(model_state["step"])
        noisy = corrupt(denoiser, batch, key, time_sampler=times, condition_dropout=condition_dropout)
        s, t = neighbours(process, noisy.t, num_intervals, rho)
        x_t = process.corrupt(*noisy.pair, t)
        x_s = process.corrupt(*noisy.pair, s)
        if teacher is not None:
            x_s = _heun_step(teacher, x_t, t, s, noisy.condition)

        def denoise(x: Array, time: Array) -> Array:
            # Both with the same dropout, as in the improved techniques.
            output = denoiser.output(params[PLAYER], x, time, noisy.condition, noisy.keys)
            return denoiser.parameterization.to_x_0(output, x, time)

        error = denoise(x_t, t) - jax.lax.stop_gradient(denoise(x_s, s))
        squared = jnp.sum(jnp.square(error), axis=tuple(range(1, error.ndim)))
        # Pseudo-Huber metric and weight 1 / (t - s): equations 9 and 8 of the improved techniques.
        distance = jnp.sqrt(squared + huber**2) - huber
        return distance / (t - s), (model_state, {"distance": distance, "num_intervals": num_intervals})

    # Its denoising is not offered: no other denoiser maps along the paths of the ODE.
    return denoising_algorithm(
        denoiser,
        make_denoising(denoiser, sampler),
        loss_fn,
        tx,
        ema_decay=ema_decay,
        num_microbatches=num_microbatches,
        axis_name=axis_name,
    )._replace(denoising=None)


def neighbours(
    process: Process, t: Float[Array, " batch"], num_intervals: Array | float, rho: float = 7.0
) -> tuple[Array, Array]:
    """The two neighbouring noise levels of a grid between which each time lies; those outside count as its ends.

    Reference:
        Karras et al. 2022, equation 5; Song and Dhariwal 2023, equation 10, in the form of a draw.

    >>> from aigc_jax.processes.gaussian import edm
    >>> low, high = neighbours(edm(1.0, 3.0), jnp.array([2.2]), 2.0, rho=1.0)
    >>> float(low[0]), float(high[0])
    (2.0, 3.0)
    """
    low, high = process.t_min ** (1.0 / rho), process.t_max ** (1.0 / rho)
    place = (jnp.clip(t, process.t_min, process.t_max) ** (1.0 / rho) - low) / (high - low)
    number = jnp.clip(jnp.floor(place * num_intervals), 0.0, num_intervals - 1.0)

    def level(number: Array) -> Array:
        return (low + number / num_intervals * (high - low)) ** rho

    return level(number), level(number + 1.0)


def in_noise_levels(denoise: DenoiseFn, process: Process) -> DenoiseFn:
    """A denoiser of any process as one of the EDM process, whose time is the noise level sigma / alpha.

    Args:
        denoise: the denoiser.
        process: the process it was trained with.

    Returns:
        ``(x, sigma, condition) -> x_0`` for x = x_0 + sigma epsilon.

    Reference:
        Karras et al. 2022, equation 19 with the scale undone.

    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> half = in_noise_levels(lambda x_t, t, condition: x_t, rectified_flow())
    >>> half(jnp.array([[3.0]]), jnp.array([1.0]), None)  # sigma = 1 is t = 1/2, and alpha = 1/2 there
    Array([[1.5]], dtype=float32)
    """

    def denoise_at(x: Array, sigma: Array, condition: Array | None) -> Array:
        t = process.time_at(sigma)
        return denoise(expand(process.alpha(t), x) * x, t, condition)

    return denoise_at


def _heun_step(denoise: DenoiseFn, x: Array, t: Array, s: Array, condition: Array | None) -> Array:
    """One step of the probability-flow ODE dx / dt = (x - D(x, t)) / t, each example between its own times."""
    slope = (x - denoise(x, t, condition)) / expand(t, x)
    x_s = x + expand(s - t, x) * slope
    slope_s = (x_s - denoise(x_s, s, condition)) / expand(s, x)
    return x + expand(s - t, x) * 0.5 * (slope + slope_s)
