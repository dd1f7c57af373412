"""Exact log-likelihoods by the probability-flow ODE and the instantaneous change of variables.

The ODE is integrated on the straight path y = x / (alpha + sigma) = (1 - w) x_0 + w epsilon, w = sigma / (alpha +
sigma), which every process follows. Its slope dy / dw = (y - x_0) / w has no singularity at either end, other than in
t, where the slope of sigma may be infinite.

Reference:
    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", 2021, appendix D.2;
    Grathwohl et al., "FFJORD", 2019, for the trace estimator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.processes.gaussian import Process
from aigc_jax.rng import split_by_name
from aigc_jax.samplers.grids import karras
from aigc_jax.types import Condition, DenoiseFn, Keys, UsageError

LEVEL = 1.0 / 127.5
"""Distance between two grey levels of an 8-bit image that is scaled to [-1, 1]."""

LogLikelihoodFn = Callable[[DenoiseFn, Array, Keys, Condition], Array]
"""``(denoise, x_0 [B, ...], keys [B], condition) -> log density in nats [B]``."""


@dataclass(frozen=True)
class Likelihood:
    """Settings of log-likelihoods."""

    num_steps: int = 50
    """Steps of the ODE solver from the data to the noise."""
    num_probes: int = 1
    """Random directions in which the trace of the Jacobian is estimated; 0 computes it exactly, in all of them."""
    solver: Literal["heun", "rk4"] = "rk4"
    """Order 2 at two evaluations a step, or order 4 at four."""
    sigma_min: float = 0.002
    """The noise level sigma / alpha of the data themselves, where the integration begins."""


class Point(NamedTuple):
    """A time t on the straight path, and w = sigma / (alpha + sigma), in (0, 1]."""

    t: Array
    w: Array


FlowFn = Callable[[Array, Point], tuple[Array, Array]]
"""``(y [B, ...], point) -> (dy / dw [B, ...], its divergence [B])``."""


def make_log_likelihood(process: Process, likelihood: Likelihood | None = None) -> LogLikelihoodFn:
    """The log-likelihood of the model that a denoiser and a process define.

    Args:
        process: the noise process.
        likelihood: the settings; None for the defaults.

    Returns:
        ``(denoise, x_0 [B, ...], keys [B], condition) -> log p(x_0)`` in nats [B]. Example i depends on ``keys[i]``
        alone, which draws its Rademacher probes. With probes it is an unbiased estimate of the solver's result.

    Reference:
        Song et al. 2021, equations 39 and 40.

    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> log_likelihood = make_log_likelihood(rectified_flow(), Likelihood(num_probes=0))
    >>> denoise = lambda x, t, condition: x * ((1 - t) / ((1 - t) ** 2 + t**2))[:, None]  # data N(0, 1)
    >>> log_prob = log_likelihood(denoise, jnp.zeros((1, 1)), jax.random.split(jax.random.key(0), 1), None)
    >>> round(float(log_prob[0]), 4)
    -0.9189
    """
    settings = likelihood or Likelihood()
    _check(settings)
    points = _points(process, settings)
    step = {"heun": _heun, "rk4": _rk4}[settings.solver]

    def log_likelihood(denoise: DenoiseFn, x_0: Array, keys: Keys, condition: Condition = None) -> Array:
        probes = _probes(settings.num_probes, keys, x_0)
        flow = _flow(process, denoise, condition, probes, is_exact=settings.num_probes == 0)

        def body(state: tuple[Array, Array], ends: tuple[Point, Point]) -> tuple[tuple[Array, Array], None]:
            y, total = state
            move, gain = step(process, flow, y, *ends)
            return (y + move, total + gain), None

        begin, num_dims = points.w[0], math.prod(x_0.shape[1:])
        # p(x_0) is the density of x = alpha x_0 at the first time, where noise of sigma_min has been added.
        start = (1.0 - begin) * x_0, 0.0 * _log_normal(x_0, begin)  # zeros of the examples' own devices
        ends = Point(points.t[:-1], points.w[:-1]), Point(points.t[1:], points.w[1:])
        (y, total), _ = jax.lax.scan(body, start, ends)
        return _log_normal(y, points.w[-1]) + total + num_dims * jnp.log1p(-begin)

    return log_likelihood


def _check(settings: Likelihood) -> None:
    if settings.num_steps < 1 or settings.num_probes < 0 or not settings.sigma_min > 0:
        raise UsageError(
            f"expected num_steps >= 1, num_probes >= 0 (0: exact trace) and sigma_min > 0; got {settings.num_steps}, "
            f"{settings.num_probes} and {settings.sigma_min}"
        )
    if settings.solver not in ("heun", "rk4"):
        raise UsageError(f"no likelihood solver {settings.solver!r}: expected heun or rk4")


def _points(process: Process, settings: Likelihood) -> Point:
    """The grid from the data to the noise: a Karras grid without its last step, backwards."""
    grid = karras(sigma_min=settings.sigma_min)
    with jax.ensure_compile_time_eval():
        times = grid(process, settings.num_steps)
        if process.sigma(times[-1]) == 0:
            times = grid(process, settings.num_steps + 1)[:-1]
        times = times[::-1]
        alpha, sigma = process.alpha(times), process.sigma(times)
        return Point(times, sigma / (alpha + sigma))


def _probes(num_probes: int, keys: Keys, like: Array) -> Array:
    """Directions [P, B, ...]: random signs, or the unit vectors for the exact trace."""
    shape = like.shape[1:]
    if num_probes == 0:
        size = math.prod(shape)
        units = jnp.eye(size, dtype=like.dtype).reshape(size, 1, *shape)
        return units + 0.0 * like[None]
    draw = jax.vmap(lambda key: jax.random.rademacher(key, (num_probes, *shape), like.dtype))
    return jnp.swapaxes(draw(split_by_name(keys, "probe")["probe"]), 0, 1)


def _flow(process: Process, denoise: DenoiseFn, condition: Condition, probes: Array, *, is_exact: bool) -> FlowFn:
    """The slope of the straight path and its divergence."""

    def flow(y: Array, point: Point) -> tuple[Array, Array]:
        scale, times = process.alpha(point.t) + process.sigma(point.t), jnp.broadcast_to(point.t, y.shape[:1])

        def x_0_of(y: Array) -> Array:
            return denoise(scale * y, times, condition).astype(y.dtype)

        def along(probe: Array) -> tuple[Array, Array]:
            x_0, change = jax.jvp(x_0_of, (y,), (probe,))
            return x_0, jnp.sum(probe * change, axis=tuple(range(1, y.ndim)))

        x_0, traces = jax.vmap(along, out_axes=(None, 0))(probes)
        trace = jnp.sum(traces, axis=0) if is_exact else jnp.mean(traces, axis=0)
        return (y - x_0) / point.w, (math.prod(y.shape[1:]) - trace) / point.w

    return flow


def _heun(process: Process, flow: FlowFn, y: Array, begin: Point, end: Point) -> tuple[Array, Array]:
    h = end.w - begin.w
    first = flow(y, begin)
    second = flow(y + h * first[0], end)
    return 0.5 * h * (first[0] + second[0]), 0.5 * h * (first[1] + second[1])


def _rk4(process: Process, flow: FlowFn, y: Array, begin: Point, end: Point) -> tuple[Array, Array]:
    h, w = end.w - begin.w, 0.5 * (begin.w + end.w)
    middle = Point(process.time_at(w / (1.0 - w)), w)
    first = flow(y, begin)
    second = flow(y + 0.5 * h * first[0], middle)
    third = flow(y + 0.5 * h * second[0], middle)
    fourth = flow(y + h * third[0], end)
    move, gain = (
        h / 6.0 * (a + 2.0 * b + 2.0 * c + d) for a, b, c, d in zip(first, second, third, fourth, strict=True)
    )
    return move, gain


def _log_normal(y: Array, std: Float[Array, ""]) -> Float[Array, " batch"]:
    """Log density of N(0, std^2 I)."""
    num_dims = math.prod(y.shape[1:])
    square = jnp.sum(jnp.square(y / std), axis=tuple(range(1, y.ndim)))
    return -0.5 * square - num_dims * (0.5 * math.log(2.0 * math.pi) + jnp.log(std))


def dequantize(keys: Keys, image: Float[Array, "batch *shape"], level: float = LEVEL) -> Float[Array, "batch *shape"]:
    """Add uniform noise of one grey level: images of discrete levels, scaled to [-1, 1], get a density.

    Reference:
        Theis et al., "A note on the evaluation of generative models", 2016, section 3.1.
    """
    draw = jax.vmap(lambda key: jax.random.uniform(key, image.shape[1:], image.dtype, -0.5, 0.5))
    return image + level * draw(split_by_name(keys, "dequantize")["dequantize"])


def bits_per_dim(log_prob: Float[Array, " batch"], num_dims: int, level: float = LEVEL) -> Float[Array, " batch"]:
    """Bits per dimension of a discrete example, an upper bound in expectation, from the density of the dequantized one.

    >>> num_dims, side = 3, 256 * LEVEL  # a density that is constant over all 256 grey levels
    >>> float(bits_per_dim(jnp.array([-num_dims * math.log(side)]), num_dims)[0])
    8.0
    """
    return -(log_prob / num_dims + math.log(level)) / math.log(2.0)
