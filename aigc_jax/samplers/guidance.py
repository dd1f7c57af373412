"""Guidance: transforms of a denoiser, DenoiseFn -> DenoiseFn, that strengthen the effect of the condition.

All combine predictions of x_0. At a given x_t, epsilon, v and the score are affine in x_0 with the same coefficients
for all predictions, so that u + w (c - u) means the same in each of them.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.processes.gaussian import Process, expand
from aigc_jax.types import Condition, DenoiseFn, Guidance, UsageError

WeightFn = Callable[[Array], Array]
"""``t [B] -> w [B]``: a guidance weight that depends on the noise level, as from :func:`interval`."""

MAX_RATIO = 1000.0
"""Noise level sigma / alpha to which inputs of a classifier are limited."""

LogProbFn = Callable[[Array, Array, Condition], Array]
"""``(x_t [B, ...], t [B], condition) -> log p(condition | x_t)`` [B]: a classifier that sees noisy examples."""


def chain(*guidances: Guidance) -> Guidance:
    """Several guidances one after the other; the first one sees the bare denoiser.

    >>> double = lambda denoise: lambda x, t, condition: 2 * denoise(x, t, condition)
    >>> chain(double, double)(lambda x, t, condition: x)(jnp.ones(1), jnp.ones(1), None)
    Array([4.], dtype=float32)
    """

    def guide(denoise: DenoiseFn) -> DenoiseFn:
        for guidance in guidances:
            denoise = guidance(denoise)
        return denoise

    return guide


def classifier_free(weight: float | WeightFn, *, null: int | None = None, phi: float = 0.0) -> Guidance:
    """Classifier-free guidance: u + w (c - u) from the conditional prediction c and the unconditional u.

    Args:
        weight: w >= 0, or a function of the time. 1 is the conditional model itself and costs one evaluation, 0 the
            unconditional one likewise.
        null: the condition that means none, ``num_classes``: both predictions are then made in one call, on a batch of
            twice the size. None calls the denoiser twice, the second time with the condition None.
        phi: share in [0, 1] of :func:`rescale`.

    Raises:
        UsageError: negative weight or phi outside [0, 1]; a call of the denoiser without a condition.

    Reference:
        Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, equation 6, whose weight is w - 1.

    >>> denoise = lambda x, t, condition: 0 * x + (0.0 if condition is None else 1.0)
    >>> classifier_free(3.0)(denoise)(jnp.ones((1, 1)), jnp.ones(1), jnp.zeros(1, jnp.int32))
    Array([[3.]], dtype=float32)
    """
    _check(weight, phi)

    def guide(denoise: DenoiseFn) -> DenoiseFn:
        def without(x: Array, t: Array, condition: Condition) -> Array:
            return denoise(x, t, None if null is None or condition is None else jnp.full_like(condition, null))

        def both(x: Array, t: Array, condition: Condition) -> tuple[Array, Array]:
            if condition is None:
                raise UsageError("classifier-free guidance needs a condition, got None: pass one, or guidance 1")
            if null is None:
                return denoise(x, t, condition), without(x, t, None)
            conditions = jnp.concatenate([condition, jnp.full_like(condition, null)])
            double = denoise(jnp.concatenate([x, x]), jnp.concatenate([t, t]), conditions)
            return double[: x.shape[0]], double[x.shape[0] :]

        return without if weight == 0 else _extrapolate(weight, denoise, both, phi)

    return guide


def negative_condition(weight: float | WeightFn, negative: int, *, phi: float = 0.0) -> Guidance:
    """Guidance away from another condition: n + w (c - n), with the prediction n for it in place of u.

    Args:
        weight: w >= 1, or a function of the time.
        negative: the condition to avoid, in [0, num_classes].
        phi: share in [0, 1] of :func:`rescale`.

    Reference:
        Liu et al., "Compositional Visual Generation with Composable Diffusion Models", 2022, section 4.2.

    >>> denoise = lambda x, t, condition: 0 * x + condition[:, None].astype(jnp.float32)
    >>> negative_condition(2.0, 5)(denoise)(jnp.ones((1, 1)), jnp.ones(1), jnp.array([1]))
    Array([[-3.]], dtype=float32)
    """
    return classifier_free(weight, null=negative, phi=phi)


def autoguidance(weight: float | WeightFn, weak: DenoiseFn, *, phi: float = 0.0) -> Guidance:
    """Guidance away from a bad version of the same model: b + w (d - b), also for unconditional models.

    Args:
        weight: w >= 1, or a function of the time; 1 is the good model alone.
        weak: a smaller network, or one trained for less long, under the same condition.
        phi: share in [0, 1] of :func:`rescale`.

    Reference:
        Karras et al., "Guiding a Diffusion Model with a Bad Version of Itself", 2024, equation 3.

    >>> weak = lambda x, t, condition: 0.5 * x
    >>> autoguidance(2.0, weak)(lambda x, t, condition: x)(jnp.ones((1, 1)), jnp.ones(1), None)
    Array([[1.5]], dtype=float32)
    """
    _check(weight, phi)

    def guide(denoise: DenoiseFn) -> DenoiseFn:
        return _extrapolate(weight, denoise, lambda *inputs: (denoise(*inputs), weak(*inputs)), phi)

    return guide


def _extrapolate(
    weight: float | WeightFn,
    denoise: DenoiseFn,
    both: Callable[[Array, Array, Condition], tuple[Array, Array]],
    phi: float,
) -> DenoiseFn:
    """From the weak prediction to the strong one and beyond; ``denoise`` alone makes the strong one."""
    if not callable(weight):
        if weight == 1:
            return denoise
        return lambda x, t, condition: _mix(*both(x, t, condition), jnp.full_like(t, weight), phi)

    def guided(x: Array, t: Array, condition: Condition) -> Array:
        w = weight(t)
        # A branch: where no example is guided the weak prediction is not made. A sampler has all at one time.
        return jax.lax.cond(
            jnp.any(w != 1),
            lambda: _mix(*both(x, t, condition), w, phi),
            lambda: denoise(x, t, condition),
        )

    return guided


def _mix(strong: Array, weak: Array, weight: Float[Array, " batch"], phi: float) -> Array:
    guided = rescale(weak + expand(weight, weak) * (strong - weak), strong, phi)
    # Exactly the strong model for weight 1, where rounding would leave a trace of the weak one.
    return jnp.where(expand(weight, weak) == 1, strong, guided)


def _check(weight: float | WeightFn, phi: float) -> None:
    if not callable(weight) and not weight >= 0:
        raise UsageError(f"expected a guidance weight >= 0, got {weight}: 1 is no guidance, 2 to 4 are common")
    if not 0 <= phi <= 1:
        raise UsageError(f"expected a share of rescaling in [0, 1], got {phi}: the paper uses 0.7")


def rescale(guided: Array, plain: Array, phi: float) -> Array:
    """Scale a guided prediction back to the standard deviation, example by example, of the plain one.

    Args:
        guided: the guided prediction [B, ...].
        plain: the conditional prediction [B, ...].
        phi: share in [0, 1] of the rescaled prediction in the result.

    Reference:
        Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2024, equations 15 and 16.

    >>> rescale(jnp.array([[-4.0, 4.0]]), jnp.array([[-1.0, 1.0]]), 0.5)
    Array([[-2.5,  2.5]], dtype=float32)
    """
    if phi == 0:
        return guided
    axes = tuple(range(1, guided.ndim))
    plain_std, guided_std = jnp.std(plain, axis=axes), jnp.std(guided, axis=axes)
    # A constant prediction has no contrast to correct.
    factor = jnp.where(guided_std > 0, plain_std / jnp.where(guided_std > 0, guided_std, 1.0), 1.0)
    return expand(phi * factor + (1.0 - phi), guided) * guided


def interval(process: Process, weight: float | WeightFn, low: float, high: float) -> WeightFn:
    """A guidance weight inside a range of noise levels sigma / alpha, and 1 (no guidance, no cost) outside.

    Args:
        process: the noise process.
        weight: w inside, or a function of the time.
        low: there is no guidance at and below it; >= 0.
        high: there is none above it; ``math.inf`` for no limit.

    Returns:
        The weight, for :func:`classifier_free`, :func:`negative_condition` and :func:`autoguidance`.

    Reference:
        Kynkaanniemi et al., "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in
        Diffusion Models", 2024, equation 5.

    >>> from aigc_jax.processes.gaussian import edm
    >>> interval(edm(), 3.0, 0.5, 2.0)(jnp.array([0.5, 1.0, 2.0, 4.0]))
    Array([1., 3., 3., 1.], dtype=float32)
    """
    if not 0 <= low < high:
        raise UsageError(
            f"expected a guidance interval 0 <= low < high in sigma / alpha, got {low} and {high}: use 0.3 and 5"
        )
    _check(weight, 0.0)

    def weight_at(t: Array) -> Array:
        ratio = process.noise_ratio(t)
        inside = weight(t) if callable(weight) else weight
        return jnp.where((ratio > low) & (ratio <= high), inside, jnp.ones_like(ratio))

    return weight_at


def classifier(process: Process, log_prob_fn: LogProbFn, scale: float = 1.0) -> Guidance:
    """Classifier guidance: the score of x_t plus ``scale`` times the gradient of log p(condition | x_t).

    Args:
        process: the noise process.
        log_prob_fn: a classifier of noisy examples.
        scale: >= 0; 1 samples from the posterior that the two models define.

    Returns:
        The guidance: x_0 moves by scale * sigma^2 / alpha times the gradient.

    Reference:
        Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, algorithm 2.

    >>> from aigc_jax.processes.gaussian import edm
    >>> guide = classifier(edm(), lambda x, t, condition: 3.0 * x[:, 0])
    >>> guide(lambda x, t, condition: x)(jnp.ones((1, 1)), jnp.full(1, 2.0), None)
    Array([[13.]], dtype=float32)
    """
    if not scale >= 0:
        raise UsageError(f"expected a classifier scale >= 0, got {scale}: 1 is Bayes' rule, 0 no guidance")

    def guide(denoise: DenoiseFn) -> DenoiseFn:
        def guided(x: Array, t: Array, condition: Condition) -> Array:
            # Without signal the gradient is 0 and its factor infinite: their product's limit, from a little before.
            ratio = process.noise_ratio(t)
            before = jnp.where(ratio > MAX_RATIO, process.time_at(jnp.minimum(ratio, MAX_RATIO)), t)
            gradient = jax.grad(lambda x: jnp.sum(log_prob_fn(x, before, condition)))(x)
            factor = scale * jnp.square(process.sigma(before)) / process.alpha(before)
            return denoise(x, t, condition) + expand(factor, x) * gradient

        return guided

    return guide


def reward(process: Process, log_prob_fn: Callable[[Array], Array], scale: float = 1.0) -> Guidance:
    """Guidance by a function of clean examples, such as minus the energy of a rule, at the predicted x_0.

    If x_0 given x_t is normal with variance r^2 = sigma^2 / (alpha^2 + sigma^2), as of data of unit variance, a factor
    p(x_0) moves its mean by r^2 grad log p: exactly, where log p is linear. No gradient goes through the denoiser.

    Args:
        process: the noise process.
        log_prob_fn: ``x_0 [B, ...] -> [B]``, a log probability of what samples are to be, such as
            minus :func:`aigc_jax.losses.semantic.semantic_loss` of what a reader sees in them.
        scale: >= 0; 1 is Bayes' rule under these assumptions, more than 1 is common.

    Returns:
        The guidance.

    Reference:
        Song et al., "Pseudoinverse-Guided Diffusion Models for Inverse Problems", 2023, section 3 (r); Bansal et al.,
        "Universal Guidance for Diffusion Models", 2023 (functions of the predicted x_0).

    >>> from aigc_jax.processes.gaussian import edm
    >>> guide = reward(edm(), lambda x_0: 3.0 * x_0[:, 0])
    >>> round(guide(lambda x, t, condition: 0.5 * x)(jnp.ones((1, 1)), jnp.full(1, 2.0), None).item(), 4)
    2.9
    """
    if not scale >= 0:
        raise UsageError(f"expected a scale of guidance >= 0, got {scale}: 1 is Bayes' rule, 0 no guidance")

    def guide(denoise: DenoiseFn) -> DenoiseFn:
        def guided(x: Array, t: Array, condition: Condition) -> Array:
            x_0 = denoise(x, t, condition)
            gradient = jax.grad(lambda x_0: jnp.sum(log_prob_fn(x_0)))(x_0)
            signal, noise = jnp.square(process.alpha(t)), jnp.square(process.sigma(t))
            return x_0 + expand(scale * noise / (signal + noise), x_0) * gradient

        return guided

    return guide
