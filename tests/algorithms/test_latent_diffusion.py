"""Latent diffusion: samples are outputs of the decoder, whatever their range."""

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.algorithms.latent_diffusion import latent_diffusion
from aigc_jax.types import Algorithm, Autoencoder


def test_latent_diffusion_samples_are_those_of_the_decoder():
    autoencoder = Autoencoder(
        encode=lambda variables, batch, key: 0.5 * batch["example"],
        decode=lambda variables, latents, condition: 2.0 * latents,
    )
    inner = Algorithm(None, None, sample=lambda variables, key, num, condition: jnp.full((num, 2), 3.0))
    algorithm = latent_diffusion(inner, Algorithm(None, None, autoencoder=autoencoder), {}, scale=0.5)
    # 3 in units of the scale is the latent 6, and decoded 12: far beyond images, as points may be.
    np.testing.assert_array_equal(algorithm.sample({}, jax.random.key(0), 4, None), np.full((4, 2), 12.0))
