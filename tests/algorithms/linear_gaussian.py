"""A linear Gaussian model: p(x) and p(z | x) are Gaussians that scipy and linear algebra know."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal

from aigc_jax.algorithms.autoencoder import Model
from aigc_jax.losses.likelihoods import gaussian

STD, SHAPE, NUM_LATENTS = 0.5, (2, 2, 1), 2
_generator = np.random.default_rng(0)
WEIGHT = _generator.normal(size=(NUM_LATENTS, 4)).astype(np.float32) * 0.6
BIAS = _generator.normal(size=4).astype(np.float32) * 0.1
LOGVAR = np.array([-1.0, -0.5], np.float32)


class Encoder(nn.Module):
    """Linear mean, a variance that is not the posterior's: the bound has a gap."""

    @nn.compact
    def __call__(self, image, condition):
        mean = nn.Dense(NUM_LATENTS, name="mean")(image.reshape(-1, 4))
        return jnp.concatenate([mean, jnp.broadcast_to(LOGVAR, mean.shape)], axis=-1)


class Decoder(nn.Module):
    @nn.compact
    def __call__(self, latent, condition):
        return nn.Dense(4, name="mean")(latent).reshape(-1, *SHAPE)


# The covariance of z given x, and x -> its mean: p(z | x) = N(GAIN (x - BIAS), COVARIANCE).
COVARIANCE = np.linalg.inv(np.eye(NUM_LATENTS) + WEIGHT @ WEIGHT.T / STD**2)
GAIN = COVARIANCE @ WEIGHT / STD**2


def model(**options):
    return Model(Encoder(), Decoder(), (NUM_LATENTS,), gaussian(STD), **options)


def variables(offset=0.2):
    """The exact posterior mean, moved by ``offset``."""
    encoder = {"kernel": GAIN.T, "bias": offset - GAIN @ BIAS}
    params = {"encoder": {"mean": encoder}, "decoder": {"mean": {"kernel": WEIGHT, "bias": BIAS}}}
    return {"params": {"vae": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)}, "model_state": {}}


def draw(num, seed=1):
    """Examples of the model itself."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(num, NUM_LATENTS)) @ WEIGHT + BIAS + STD * generator.normal(size=(num, 4))
    return {"example": jnp.asarray(x.reshape(num, *SHAPE), jnp.float32)}


def log_evidence(batch):
    """log p(x), by scipy."""
    x = np.asarray(batch["example"], np.float64).reshape(-1, 4)
    return multivariate_normal(BIAS, WEIGHT.T @ WEIGHT + STD**2 * np.eye(4)).logpdf(x)


def posterior_kl(offset=0.2):
    """KL(q(z | x) || p(z | x)), the gap of the bound: the same for every x, by the textbook's formula for matrices."""
    precision, difference = np.linalg.inv(COVARIANCE), np.full(NUM_LATENTS, offset)
    trace = np.trace(precision @ np.diag(np.exp(LOGVAR))) + difference @ precision @ difference - NUM_LATENTS
    return 0.5 * (trace + np.linalg.slogdet(COVARIANCE)[1] - LOGVAR.sum())
