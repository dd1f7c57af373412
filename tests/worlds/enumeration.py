"""The posterior mean of a world of few images by listing all of them, in float64."""

import jax.numpy as jnp
import numpy as np

from tests.worlds.opened import fast_jit

NUM = 12


def mean_of(world, images, shares, modes, *, levels):
    """Compare a world's denoiser with the mean over all its images.

    Args:
        world: the world.
        images: all legal images.
        shares: the probability of each.
        modes: the mode of each.
        levels: (alpha, sigma) of the noise.
    """
    alpha, sigma = levels
    random = np.random.default_rng(0)
    chosen = random.choice(len(images), NUM, p=shares)
    x_t = alpha * images[chosen] + sigma * random.normal(size=images[chosen].shape)
    squares = np.sum((x_t[:, None] - alpha * images[None]) ** 2, axis=tuple(range(2, images.ndim + 1)))
    logs = -0.5 * squares / max(sigma, 1e-3) ** 2
    denoise = fast_jit(world.denoise)
    for condition in (None, np.arange(NUM) % world.num_modes, np.full(NUM, world.num_modes)):
        weights = np.broadcast_to(shares, logs.shape)
        if condition is not None and condition.max() < world.num_modes:
            weights = np.where(modes[None] == condition[:, None], 1.0, 0.0)
        with np.errstate(divide="ignore"):
            logits = np.log(weights) + logs
        posterior = np.exp(logits - logits.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
        expected = np.tensordot(posterior, images, axes=1)
        given = denoise(
            jnp.asarray(x_t, jnp.float32),
            jnp.full(NUM, alpha),
            jnp.full(NUM, sigma),
            None if condition is None else jnp.asarray(condition, jnp.int32),
        )
        np.testing.assert_allclose(given, expected, atol=3e-4)
