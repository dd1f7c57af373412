"""Predictions of a network (x_0, epsilon, v, score, velocity), converted through one canonical pair (x_0, epsilon).

Any two of x_t, x_0 and epsilon determine the third. Each kind of prediction is a linear combination of x_0 and epsilon,
so 2 N functions serve where N^2 converters would be needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.processes.gaussian import Process, expand
from aigc_jax.types import UsageError

Kind = Literal["x_0", "epsilon", "v", "score", "velocity"]
"""x_0; the noise epsilon; v = alpha epsilon - sigma x_0; the score of x_t; velocity = alpha' x_0 + sigma' epsilon."""

KINDS: tuple[Kind, ...] = ("x_0", "epsilon", "v", "score", "velocity")


class Pair(NamedTuple):
    """The canonical pair: x_t = alpha x_0 + sigma epsilon."""

    x_0: Array
    epsilon: Array


def to_pair(
    process: Process, kind: Kind, value: Float[Array, "batch *shape"], x_t: Array, t: Float[Array, " batch"]
) -> Pair:
    """The canonical pair of a prediction ``value`` made from x_t.

    Where x_t does not determine the other one of the pair (epsilon without noise, x_0 without signal) it is 0.

    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> x_t, t = jnp.array([[0.75]]), jnp.array([0.25])
    >>> to_pair(rectified_flow(), "x_0", jnp.array([[1.0]]), x_t, t).epsilon
    Array([[0.]], dtype=float32)
    """
    alpha, sigma = expand(process.alpha(t), x_t), expand(process.sigma(t), x_t)
    if kind == "x_0":
        return Pair(value, _divide(x_t - alpha * value, sigma))
    if kind == "epsilon":
        return Pair(_divide(x_t - sigma * value, alpha), value)
    if kind == "score":
        epsilon = -sigma * value
        return Pair(_divide(x_t - sigma * epsilon, alpha), epsilon)
    if kind == "v":
        total = jnp.square(alpha) + jnp.square(sigma)
        return Pair((alpha * x_t - sigma * value) / total, (sigma * x_t + alpha * value) / total)
    if kind == "velocity":
        # [x_t; u] = [[alpha, sigma], [alpha', sigma']] [x_0; epsilon]; the determinant is positive where logsnr falls.
        alpha_t, sigma_t = (expand(value, x_t) for value in process.derivatives(t))
        determinant = alpha * sigma_t - alpha_t * sigma
        # Without noise x_t is x_0; the slope of sigma may be infinite there.
        x_0 = jnp.where(sigma == 0, _divide(x_t, alpha), _divide(sigma_t * x_t - sigma * value, determinant))
        return Pair(x_0, _divide(alpha * value - alpha_t * x_t, determinant))
    raise UsageError(f"expected a prediction of one of {', '.join(KINDS)}; got {kind!r}")


def from_pair(process: Process, kind: Kind, pair: Pair, t: Float[Array, " batch"]) -> Array:
    """The quantity of a kind for a canonical pair, the target of a network; the score is 0 where there is no noise."""
    alpha, sigma = expand(process.alpha(t), pair.x_0), expand(process.sigma(t), pair.x_0)
    if kind == "x_0":
        return pair.x_0
    if kind == "epsilon":
        return pair.epsilon
    if kind == "score":
        return -_divide(pair.epsilon, sigma)
    if kind == "v":
        return alpha * pair.epsilon - sigma * pair.x_0
    if kind == "velocity":
        alpha_t, sigma_t = (expand(value, pair.x_0) for value in process.derivatives(t))
        return alpha_t * pair.x_0 + sigma_t * pair.epsilon
    raise UsageError(f"expected a prediction of one of {', '.join(KINDS)}; got {kind!r}")


class Parameterization(NamedTuple):
    """The map from a raw network to a denoiser, and the network's target."""

    scale_input: Callable[[Array, Array], Array]  # (x_t, t) -> network input [B, ...]
    noise_label: Callable[[Array], Array]  # t -> the network's input of time [B], of order 1
    to_x_0: Callable[[Array, Array, Array], Array]  # (output, x_t, t) -> x_0 [B, ...]
    target: Callable[[Pair, Array], Array]  # (pair, t) -> the right output [B, ...]
    x_0_per_output: Callable[[Array], Array]  # t -> d x_0 / d output [B], to convert weights of errors


def predict(process: Process, kind: Kind) -> Parameterization:
    """Parameterization of a network that outputs one of the standard quantities and sees x_t and t as they are.

    Args:
        process: the noise process.
        kind: the output of the network.

    Returns:
        The parameterization. Its noise label is t where t runs over [0, 1], log(t) / 4 where t is sigma.

    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> to_x_0 = predict(rectified_flow(), "velocity").to_x_0
    >>> to_x_0(jnp.array([[2.0]]), jnp.array([[2.0]]), jnp.array([0.5]))
    Array([[1.]], dtype=float32)
    """
    if kind not in KINDS:
        raise UsageError(f"expected a prediction of one of {', '.join(KINDS)}; got {kind!r}")

    def x_0_per_output(t: Array) -> Array:
        # x_0 is linear in the output: its value for output 1 and x_t = 0.
        zeros = jnp.zeros((t.shape[0], 1))
        return to_pair(process, kind, zeros + 1.0, zeros, t).x_0[:, 0]

    is_unit = process.t_max <= 1.0
    return Parameterization(
        scale_input=lambda x_t, t: x_t,
        noise_label=lambda t: t if is_unit else jnp.log(jnp.maximum(t, process.t_min)) / 4.0,
        to_x_0=lambda output, x_t, t: to_pair(process, kind, output, x_t, t).x_0,
        target=lambda pair, t: from_pair(process, kind, pair, t),
        x_0_per_output=x_0_per_output,
    )


def numbered_from_zero(given: Parameterization, num_steps: int) -> Parameterization:
    """The noise label of published networks: they number the steps of a chain, which end at t = n / N, from 0.

    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> numbered_from_zero(predict(rectified_flow(), "epsilon"), 4).noise_label(jnp.array([0.25, 1.0])).tolist()
    [0.0, 0.75]
    """
    return given._replace(noise_label=lambda t: given.noise_label(t) - 1.0 / num_steps)


def precondition(process: Process, sigma_data: float = 0.5) -> Parameterization:
    """EDM preconditioning: network input and output have unit variance at every noise level.

    Args:
        process: the noise process, alpha > 0 everywhere (coefficients are those of x_t / alpha);
            :func:`aigc_jax.processes.gaussian.edm` in the paper.
        sigma_data: standard deviation of the data, > 0.

    Reference:
        Karras et al. 2022, table 1 and equation 7.

    >>> from aigc_jax.processes.gaussian import edm
    >>> round(float(precondition(edm()).x_0_per_output(jnp.array([0.5]))[0] ** 2), 6)
    0.125
    """
    if sigma_data <= 0:
        raise UsageError(f"expected sigma_data > 0, got {sigma_data}: the standard deviation of images is about 0.5")
    if not process.alpha(process.t_max) > 0:
        raise UsageError("EDM preconditioning needs a process that keeps some signal: use edm(), or predict velocity")

    def coefficients(t: Array) -> tuple[Array, Array, Array]:
        ratio = process.noise_ratio(t)
        total = jnp.sqrt(jnp.square(ratio) + sigma_data**2)
        return sigma_data**2 / jnp.square(total), ratio * sigma_data / total, 1.0 / total  # c_skip, c_out, c_in

    def scaled(x_t: Array, t: Array) -> Array:
        return x_t / expand(process.alpha(t), x_t)

    def to_x_0(output: Array, x_t: Array, t: Array) -> Array:
        c_skip, c_out, _ = (expand(value, x_t) for value in coefficients(t))
        return c_skip * scaled(x_t, t) + c_out * output

    def target(pair: Pair, t: Array) -> Array:
        ratio = process.noise_ratio(t)
        # (x_0 - c_skip (x_0 + s epsilon)) / c_out, written so that it holds at s = 0 too.
        total = jnp.sqrt(jnp.square(ratio) + sigma_data**2)
        x_0_scale, epsilon_scale = ratio / (sigma_data * total), sigma_data / total
        return expand(x_0_scale, pair.x_0) * pair.x_0 - expand(epsilon_scale, pair.x_0) * pair.epsilon

    return Parameterization(
        scale_input=lambda x_t, t: expand(coefficients(t)[2], x_t) * scaled(x_t, t),
        noise_label=lambda t: jnp.log(jnp.maximum(process.noise_ratio(t), 1e-6)) / 4.0,
        to_x_0=to_x_0,
        target=target,
        x_0_per_output=lambda t: coefficients(t)[1],
    )


def _divide(value: Array, by: Array) -> Array:
    """The quotient, 0 where the divisor is 0."""
    is_zero = by == 0
    return jnp.where(is_zero, 0.0, value / jnp.where(is_zero, 1.0, by))
