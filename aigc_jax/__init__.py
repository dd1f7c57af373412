"""aigc_jax: generative models in JAX that people can rely on."""
