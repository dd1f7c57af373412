"""What a solver is, the loop that all of them share, and the velocity of the probability-flow ODE.

A solver carries a state from ``times[0]`` down to ``times[-1]``. It is a ``lax.scan`` over the intervals of the
time grid, whatever their number: a thousand steps compile as fast as ten.

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
    """Carries a noisy state to a cleaner one. Built by a factory from a process and the method's own options."""

    def __call__(
        self, denoise: DenoiseFn, x: Array, times: Float[Array, " points"], keys: Keys, condition: Condition = None
    ) -> Array:
        """Integrate from ``times[0]`` to ``times[-1]``.

        Args:
            denoise: the denoiser, guided or not.
            x: the state at ``times[0]`` [B, ...].
            times: decreasing [N + 1]; the first may be without signal (alpha = 0), the last without noise.
            keys: one key per example [B]; sample i depends on ``keys[i]`` alone. A deterministic solver ignores them.
            condition: int32 [B], or None.

        Returns:
            The state at ``times[-1]`` [B, ...].
        """
        ...


class Interval(NamedTuple):
    """One step of a solver.

    Attributes:
        t: where it begins, a scalar.
        s: where it ends, less noise, a scalar.
        number: int32, 0 for the first step.
    """

    t: Array
    s: Array
    number: Array


DenoiseAt = Callable[[Array, Array], Array]
"""``(x [B, ...], t []) -> x_0`` [B, ...]: a denoiser with its condition, all examples at one time."""

Carry = Any
"""What a multistep method remembers of the steps before."""

Advance = Callable[[DenoiseAt, Array, Carry, Interval, Keys], tuple[Array, Carry]]
"""``(denoise, x, carry, interval, keys) -> (x, carry)``: one step; ``keys`` [B] are this step's own. Its first call of
``denoise`` stands outside of any branch or loop: it is what observers see."""


class Observer(NamedTuple):
    """Looks on while a solver works, and changes nothing.

    Attributes:
        init: ``(x, times) -> state`` before the first step, from the state [B, ...] there and the grid [N + 1].
        update: ``(state, x_0, interval) -> state`` after each step, from its first prediction of x_0 [B, ...].
        compute: ``state -> `` what was seen, [B, ...] each.
    """

    init: Callable[[Array, Array], Any]
    update: Callable[[Any, Array, Interval], Any]
    compute: Callable[[Any], Any]


class StepSolver(NamedTuple):
    """A :class:`Solver` that repeats one step over the time grid, so that one can look on.

    Attributes:
        bind: ``(times, condition) -> advance``: the step, for one grid and one condition.
        init: ``x -> carry`` before the first step.
    """

    bind: Callable[[Array, Condition], Advance]
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
        """Integrate while an observer looks on.

        Args:
            observer: sees the first prediction of every step.
            denoise: see :class:`Solver`, as all that follow.
            x: the state at ``times[0]`` [B, ...].
            times: decreasing [N + 1].
            keys: one key per example [B].
            condition: int32 [B], or None.

        Returns:
            The state at ``times[-1]``, to the bit the one that a call without observer gives; and what was seen.
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
    """The very same number, but an opaque one for the compiler.

    A product and a sum may become one operation with one rounding, and whether they do depends on what else is made of
    the product: a sample would change in its last digits when somebody looks on. Nothing is contracted across an
    operation on integers. (XLA removes ``optimization_barrier`` on CPU before that.)
    """
    if x.dtype != jnp.float32:
        return x
    never = jnp.minimum(number, 0)  # 0, but the compiler cannot know that steps are not numbered below 0
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(x, jnp.int32) ^ never, jnp.float32)


@_rounded.defjvp
def _rounded_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return _rounded(*primals), tangents[0]


NULL_OBSERVER = Observer(lambda x, times: (), lambda seen, x_0, interval: seen, lambda seen: seen)
"""Looks at nothing."""


def make_solver(advance: Advance, init: Callable[[Array], Carry] = lambda x: ()) -> StepSolver:
    """A solver that repeats one step over the time grid.

    Args:
        advance: the step.
        init: ``x -> carry`` before the first step.

    Returns:
        The solver.

    >>> jump = make_solver(lambda denoise, x, carry, interval, keys: (denoise(x, interval.t), carry))
    >>> keys, times = jax.random.split(jax.random.key(0), 1), jnp.linspace(1.0, 0.0, 4)
    >>> jump(lambda x, t, condition: x / 2, jnp.ones((1, 1)), times, keys)
    Array([[0.125]], dtype=float32)
    """
    return StepSolver(lambda times, condition: advance, init)


def fold(keys: Keys, number: int | Int[Array, ""]) -> Keys:
    """The keys of one step: each example's own, folded with the step's number.

    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> bool(fold(keys, 3)[1] == jax.random.fold_in(keys[1], 3))
    True
    """
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)


def noise(keys: Keys, name: str, like: Array) -> Array:
    """Standard normal noise for a state.

    Args:
        keys: one key per example [B].
        name: what it is for; two names give independent draws.
        like: the state [B, ...].

    Returns:
        An array of the shape and type of ``like``.

    >>> noise(jax.random.split(jax.random.key(0), 2), "corrector", jnp.zeros((2, 3))).shape
    (2, 3)
    """
    return normal(split_by_name(keys, name)[name], like.shape[1:]).astype(like.dtype)


def pair_at(process: Process, denoise: DenoiseAt, x: Array, t: Float[Array, ""]) -> Pair:
    """The canonical pair (x_0, epsilon) that a denoiser finds in a state.

    Args:
        process: the noise process.
        denoise: the denoiser.
        x: the state [B, ...].
        t: its time; alpha(t) may be 0, and where sigma(t) is 0 so is epsilon.

    Returns:
        x_0 and epsilon = (x - alpha x_0) / sigma, each [B, ...].
    """
    return to_pair(process, "x_0", denoise(x, t), x, jnp.broadcast_to(t, x.shape[:1]))


def velocity(process: Process, pair: Pair, t: Float[Array, ""]) -> Array:
    """The slope dx / dt of the probability-flow ODE.

    Args:
        process: the noise process.
        pair: x_0 and epsilon at the state [B, ...].
        t: the time.

    Returns:
        alpha'(t) x_0 + sigma'(t) epsilon [B, ...], finite also where alpha is 0.

    Reference:
        Lipman et al., "Flow Matching for Generative Modeling", 2023, theorem 3; it is Song et al. 2021, equation 13,
        with the score -epsilon / sigma.

    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> velocity(rectified_flow(), Pair(jnp.array([[1.0]]), jnp.array([[3.0]])), jnp.float32(1.0))
    Array([[2.]], dtype=float32)
    """
    alpha_t, sigma_t = process.derivatives(t)
    return alpha_t * pair.x_0 + sigma_t * pair.epsilon


def renoise(process: Process, x: Array, interval: Interval, noise: Array) -> Array:
    """A draw from q(x_t | x_s): noise added to a state at s, so that it is one at the later time t.

    Args:
        process: the noise process.
        x: the state at ``interval.s`` [B, ...].
        interval: from t to s, as of the step that it undoes.
        noise: standard normal [B, ...].

    Returns:
        A state at ``interval.t`` [B, ...].

    >>> from aigc_jax.processes.gaussian import edm
    >>> interval = Interval(jnp.float32(5.0), jnp.float32(3.0), jnp.int32(0))
    >>> renoise(edm(), jnp.zeros((1, 1)), interval, jnp.ones((1, 1)))
    Array([[4.]], dtype=float32)
    """
    alpha_s = process.alpha(interval.s)
    # Where there was no signal none can be scaled: the two times are one.
    ratio = jnp.where(alpha_s > 0, process.alpha(interval.t) / jnp.where(alpha_s > 0, alpha_s, 1.0), 1.0)
    # sigma_t^2 - ratio^2 sigma_s^2 as a product: no cancellation for near times.
    scaled = ratio * process.sigma(interval.s)
    sigma = process.sigma(interval.t)
    variance = (sigma - scaled) * (sigma + scaled)
    return ratio * x + jnp.sqrt(jnp.maximum(variance, 0.0)) * noise
