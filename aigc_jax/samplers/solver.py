"""Solvers of diffusion models: the contract, the common loop, and the velocity of the probability-flow ODE.

A solver carries a state from ``times[0]`` down to ``times[-1]``. It is a ``lax.scan`` over the intervals of the time
grid, whatever their number: a thousand steps compile as fast as ten.

Reference:
    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", 2021, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.processes.gaussian import Process
from aigc_jax.processes.prediction import Pair, to_pair
from aigc_jax.rng import normal, split_by_name
from aigc_jax.types import Condition, DenoiseFn, Keys


@runtime_checkable
class Solver(Protocol):
    """A function from a noisy state to a cleaner one, made by a factory from a process and the method's options."""

    def __call__(
        self, denoise: DenoiseFn, x: Array, times: Float[Array, " points"], keys: Keys, condition: Condition = None
    ) -> Array:
        """Integrate from ``times[0]`` to ``times[-1]``, decreasing; the first may have no signal, the last no noise.

        Example i depends on ``keys[i]`` alone; a deterministic solver ignores the keys.
        """
        ...


class Interval(NamedTuple):
    """One step of a solver, from t to s with less noise; ``number`` is int32, 0 for the first step."""

    t: Array
    s: Array
    number: Array


DenoiseAt = Callable[[Array, Array], Array]
"""``(x [B, ...], t []) -> x_0`` [B, ...]: a denoiser with its condition, all examples at one time."""

Carry = Any
"""Memory of a multistep method."""

Advance = Callable[[DenoiseAt, Array, Carry, Interval, Keys], tuple[Array, Carry]]
"""``(denoise, x, carry, interval, keys) -> (x, carry)``: one step; ``keys`` [B] are this step's own. Its first call of
``denoise`` stands outside of any branch or loop: observers see it."""


class Observer(NamedTuple):
    """A function of a solver's path that does not change its result."""

    init: Callable[[Array, Array], Any]  # (x [B, ...], times [N + 1]) -> state, before the first step
    update: Callable[[Any, Array, Interval], Any]  # (state, first prediction of x_0, interval) -> state, after a step
    compute: Callable[[Any], Any]  # state -> results [B, ...]


class StepSolver(NamedTuple):
    """A :class:`Solver` that repeats one step over the time grid, and so can be observed."""

    bind: Callable[[Array, Condition], Advance]  # (times, condition) -> the step
    init: Callable[[Array], Carry] = lambda x: ()

    def __call__(
        self, denoise: DenoiseFn, x: Array, times: Float[Array, " points"], keys: Keys, condition: Condition = None
    ) -> Array:
        """Integrate, see :class:`Solver`."""
        return self.observe(NULL_OBSERVER, denoise, x, times, keys, condition=condition)[0]

    def observe(
        self,
        observer: Observer,
        denoise: DenoiseFn,
        x: Array,
        times: Float[Array, " points"],
        keys: Keys,
        *,
        condition: Condition = None,
    ) -> tuple[Array, Any]:
        """Integrate with an observer of the first prediction of every step; returns state and observation.

        The state is, to the bit, that of a call without observer.
        """
        advance = self.bind(times, condition)

        def denoise_at(x: Array, t: Array) -> Array:
            # A network that computes in bfloat16 must not change the type of the state.
            return denoise(x, jnp.broadcast_to(t, x.shape[:1]), condition).astype(x.dtype)

        def body(state: tuple[Array, Carry, Any], interval: Interval) -> tuple[tuple[Array, Carry, Any], None]:
            (x, carry, seen), predictions = state, []

            def remember(x: Array, t: Array) -> Array:
                predictions.append(_rounded(denoise_at(x, t), interval.number))
                return predictions[-1]

            x, carry = advance(remember, x, carry, interval, fold(keys, interval.number))
            return (x, carry, observer.update(seen, predictions[0], interval)), None

        intervals = Interval(times[:-1], times[1:], jnp.arange(times.shape[0] - 1, dtype=jnp.int32))
        (x, _, seen), _ = jax.lax.scan(body, (x, self.init(x), observer.init(x, times)), intervals)
        return x, observer.compute(seen)


@jax.custom_jvp
def _rounded(x: Array, number: Array) -> Array:
    """The same number, opaque for the compiler.

    A product and a sum may become one operation with one rounding, and whether they do depends on what else is made of
    the product: an observer would change the last digits of a sample. Nothing is contracted across an operation on
    integers. (XLA removes ``optimization_barrier`` on CPU before that.)
    """
    if x.dtype != jnp.float32:
        return x
    never = jnp.minimum(number, 0)  # 0, but the compiler cannot know that steps are not numbered below 0
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(x, jnp.int32) ^ never, jnp.float32)


@_rounded.defjvp
def _rounded_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return _rounded(*primals), tangents[0]


NULL_OBSERVER = Observer(lambda x, times: (), lambda seen, x_0, interval: seen, lambda seen: seen)
"""The observer without state."""


def make_solver(advance: Advance, init: Callable[[Array], Carry] = lambda x: ()) -> StepSolver:
    """A solver that repeats one step over the time grid."""
    return StepSolver(lambda times, condition: advance, init)


def fold(keys: Keys, number: int | Int[Array, ""]) -> Keys:
    """The keys of one step: each example's own, folded with the step's number."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)


def noise(keys: Keys, name: str, like: Array) -> Array:
    """Standard normal noise of the shape and type of a state; different names give independent draws."""
    return normal(split_by_name(keys, name)[name], like.shape[1:]).astype(like.dtype)


def pair_at(process: Process, denoise: DenoiseAt, x: Array, t: Float[Array, ""]) -> Pair:
    """The canonical pair of a denoiser at a state; alpha(t) may be 0, and epsilon is 0 where sigma(t) is."""
    return to_pair(process, "x_0", denoise(x, t), x, jnp.broadcast_to(t, x.shape[:1]))


def velocity(process: Process, pair: Pair, t: Float[Array, ""]) -> Array:
    """The slope of the probability-flow ODE: dx / dt = alpha'(t) x_0 + sigma'(t) epsilon, finite also where alpha is 0.

    Reference:
        Lipman et al., "Flow Matching for Generative Modeling", 2023, theorem 3; it is Song et al. 2021, equation 13,
        with the score -epsilon / sigma.
    """
    alpha_t, sigma_t = process.derivatives(t)
    return alpha_t * pair.x_0 + sigma_t * pair.epsilon


def renoise(process: Process, x: Array, interval: Interval, noise: Array) -> Array:
    """A draw from q(x_t | x_s): noise added to a state at s, so that it is one at the later time t."""
    alpha_s = process.alpha(interval.s)
    # Where there was no signal none can be scaled: the two times are one.
    ratio = jnp.where(alpha_s > 0, process.alpha(interval.t) / jnp.where(alpha_s > 0, alpha_s, 1.0), 1.0)
    # sigma_t^2 - ratio^2 sigma_s^2 as a product: no cancellation for near times.
    scaled = ratio * process.sigma(interval.s)
    sigma = process.sigma(interval.t)
    variance = (sigma - scaled) * (sigma + scaled)
    return ratio * x + jnp.sqrt(jnp.maximum(variance, 0.0)) * noise
