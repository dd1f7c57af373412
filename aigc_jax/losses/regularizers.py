"""Gradient penalties on a discriminator, as transforms of its loss.

R1, R2 and the WGAN gradient penalty are one formula, weight * (|grad_x C(x)| - target)^2, at different points
x: real examples, fakes, or lines between them. Each transform adds it to a loss and leaves the rest alone.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.types import Batch, Key, LossFn, LossTransform, Metrics, PyTree, UsageError, Weighted

LogitsFn = Callable[[PyTree, PyTree, Array, Batch], Array]
"""``(params, model_state, images, batch) -> logits`` [B]: the discriminator as a function of the images."""

PointsFn = Callable[[PyTree, PyTree, Batch, Key], Array]
"""``(params, model_state, batch, key) -> images`` [B, H, W, C]: where the slope is penalised."""


def r1(logits_fn: LogitsFn, *, gamma: float = 10.0, every: int = 1) -> LossTransform:
    """Penalty on the slope at real examples: gamma / 2 * E |grad_x C(x)|^2.

    It is a transform of a loss; it adds the metric ``r1``, 0 at steps where it is not evaluated.

    Args:
        logits_fn: the discriminator as a function of the images.
        gamma: weight, >= 0. Note the factor 1/2 of the paper; some codes leave it out.
        every: lazy regularisation (Karras et al. 2020, appendix B): evaluate it only at every so many steps, with a
            weight larger by that factor.

    Reference:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018, equation 9.

    >>> logits_fn = lambda params, state, image, batch: 3.0 * image.sum(axis=(1, 2, 3))
    >>> loss_fn = lambda params, state, batch, key: (jnp.zeros(2), (state, {}))
    >>> batch = {"example": jnp.ones((2, 1, 1, 1))}
    >>> r1(logits_fn, gamma=2.0)(loss_fn)({}, {"step": 0}, batch, jax.random.key(0))[0]
    Array([9., 9.], dtype=float32)
    """
    return _penalty("r1", logits_fn, _real_points, weight=gamma / 2, target=0.0, every=every)


def r2(logits_fn: LogitsFn, fakes_fn: PointsFn, *, gamma: float = 10.0, every: int = 1) -> LossTransform:
    """Penalty on the slope at fakes: gamma / 2 * E |grad_x C(G(z))|^2. It adds the metric ``r2``.

    Args:
        logits_fn: the discriminator as a function of the images.
        fakes_fn: draws the fakes of a batch (the same as in the loss, if it uses the key in the same way).
        gamma: weight, >= 0.
        every: lazy regularisation, see :func:`r1`.

    Reference:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018, section 4.1.
    """
    return _penalty("r2", logits_fn, fakes_fn, weight=gamma / 2, target=0.0, every=every)


def gradient_penalty(
    logits_fn: LogitsFn, points_fn: PointsFn, *, weight: float = 10.0, every: int = 1
) -> LossTransform:
    """WGAN-GP: weight * E (|grad_x C(x)| - 1)^2 at points between reals and fakes.

    It is a transform of a loss; it adds the metric ``gradient_penalty``.

    Args:
        logits_fn: the discriminator as a function of the images; it must treat examples one by one, so no batch norm.
        points_fn: draws the points, see :func:`interpolate`.
        weight: lambda of the paper, >= 0.
        every: lazy regularisation, see :func:`r1`.

    Reference:
        Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, equation 3.

    >>> logits_fn = lambda params, state, image, batch: 3.0 * image.sum(axis=(1, 2, 3))
    >>> points_fn = lambda params, state, batch, key: batch["example"]
    >>> loss_fn = lambda params, state, batch, key: (jnp.zeros(1), (state, {}))
    >>> transform = gradient_penalty(logits_fn, points_fn, weight=10.0)
    >>> transform(loss_fn)({}, {"step": 0}, {"example": jnp.ones((1, 1, 1, 1))}, jax.random.key(0))[0]
    Array([40.], dtype=float32)
    """
    return _penalty("gradient_penalty", logits_fn, points_fn, weight=weight, target=1.0, every=every)


def interpolate(
    real: Float[Array, "batch *shape"], fake: Float[Array, "batch *shape"], keys: Array
) -> Float[Array, "batch *shape"]:
    """Points uniformly on the lines between pairs, one key per pair (Gulrajani et al. 2017, algorithm 1)."""
    alpha = jax.vmap(jax.random.uniform)(keys)
    alpha = alpha.reshape(-1, *(1,) * (real.ndim - 1))
    return alpha * real + (1 - alpha) * fake


def _real_points(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> Array:
    del params, model_state, key
    return batch["example"]


def _distance(logits_fn: Callable[[Array], Array], points: Array, target: float) -> Array:
    """(|grad_x C(x)| - target)^2 of each example; the mean has the right gradient in the weights of ``logits_fn``.

    With g = grad_x C(x), the weight gradient of f(|g|^2) is that of <v, g> with v = 2 f' g held fixed: a directional
    derivative. Forward over reverse is several times faster on CPU than reverse over reverse, whose second derivative
    of a strided convolution is slow.
    """
    # The sum over the batch: where each logit depends on its own image, this is every example's own gradient.
    slope = jax.lax.stop_gradient(jax.grad(lambda images: jnp.sum(logits_fn(images)))(points))
    squared = jnp.sum(jnp.square(slope), axis=tuple(range(1, slope.ndim)))
    if target == 0.0:  # a norm has no derivative at 0, its square has: R1 and R2 never take the root
        value, scale = squared, jnp.full_like(squared, 2.0)
    else:
        norm = jnp.sqrt(squared + 1e-12)
        value, scale = jnp.square(norm - target), 2.0 * (1.0 - target / norm)
    direction = slope * scale.reshape(-1, *(1,) * (slope.ndim - 1))
    _, along = jax.jvp(logits_fn, (points,), (direction,))
    return value + along - jax.lax.stop_gradient(along)


def _penalty(
    name: str, logits_fn: LogitsFn, points_fn: PointsFn, *, weight: float, target: float, every: int
) -> LossTransform:
    if weight < 0:
        raise UsageError(f"the weight of {name} must be at least 0, got {weight}: 0 turns it off")
    if every < 1:
        raise UsageError(
            f"every must be at least 1 step, got {every}: 1 penalises at each step, 16 is the usual lazy schedule"
        )

    def transform(loss_fn: LossFn) -> LossFn:
        def penalised(
            params: PyTree, model_state: PyTree, batch: Batch, key: Key
        ) -> tuple[Array | Weighted, tuple[PyTree, Metrics]]:
            found, (new_state, metrics) = loss_fn(params, model_state, batch, key)
            losses = found.loss if isinstance(found, Weighted) else found

            def evaluate() -> Array:
                points = points_fn(params, model_state, batch, key)
                distance = _distance(lambda images: logits_fn(params, model_state, images, batch), points, target)
                return every * weight * distance

            is_due = model_state["step"] % every == 0
            values = evaluate() if every == 1 else jax.lax.cond(is_due, evaluate, lambda: jnp.zeros_like(losses))
            total = losses + values
            penalised_losses = found._replace(loss=total) if isinstance(found, Weighted) else total
            return penalised_losses, (new_state, {**metrics, name: values})

        return penalised

    return transform
