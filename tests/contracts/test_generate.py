"""Samples are functions of their latents: given, perturbed and truncated ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.metrics.consistency import unit_change

from .table import ROWS, plain_run

WITHOUT = {
    "classifier": "draws no samples",
    "classifier-attributes": "draws no samples",
    "classifier-text-lora": "draws no samples",
    "autoregressive": "starts from one token",
    "autoregressive-lora": "starts from one token",
    "autoregressive-classes-guidance": "starts from one token",
    "preference": "starts from one token",
    "discrete-absorbing": "starts from tokens",
    "discrete-uniform-microbatches": "starts from tokens",
    "vqvae": "its prior is over codes",
    "vqvae-logistic": "its prior is over codes",
    "hvae": "its latents are drawn one after another",
}


@pytest.mark.parametrize("name", ROWS)
def test_sample_equals_generate_of_its_latents(name):
    run, row = plain_run(name), ROWS[name]
    algorithm = run.algorithm
    if name in WITHOUT:
        assert algorithm.latents is None
        return
    variables, keys = run.states[-1].variables, jax.random.split(jax.random.key(5), 4)
    condition = jnp.arange(4) % row.num_classes if row.num_classes else None

    @jax.jit
    def both(variables):
        latents = algorithm.latents.draw(keys, 4)
        zero = algorithm.latents.generate(variables, jnp.zeros_like(latents), keys, condition)
        return (
            algorithm.sample(variables, keys, 4, condition),
            algorithm.latents.generate(variables, latents, keys, condition),
            zero,
        )

    samples, made, zero = both(variables)
    np.testing.assert_array_equal(samples, made)
    assert jnp.any(samples != zero)  # the latent is looked at


@pytest.mark.parametrize("name", ["gan-relativistic_average-minibatch", "diffusion-hybrid"])
def test_generate_derivative_matches_finite_differences(name):
    run, row = plain_run(name), ROWS[name]
    algorithm, variables, keys = run.algorithm, run.states[-1].variables, jax.random.split(jax.random.key(5), 4)
    condition = jnp.arange(4) % row.num_classes if row.num_classes else None
    latents = algorithm.latents.draw(keys, 4)
    generate = jax.jit(lambda z: algorithm.latents.generate(variables, z, keys, condition))
    u = jax.random.normal(jax.random.key(6), latents.shape)
    changes = np.asarray(jax.jit(lambda z: unit_change(generate, z, u))(latents)).reshape(4, -1)
    step = 1e-2 * u / jnp.linalg.norm(u.reshape(4, -1), axis=1).reshape(-1, *[1] * (u.ndim - 1))
    moved = [np.asarray(generate(latents + sign * step), np.float64).reshape(4, -1) for sign in (1, -1)]
    assert np.linalg.norm(changes, axis=1).min() > 0
    error = np.linalg.norm((moved[0] - moved[1]) / 2e-2 - changes, axis=1) / np.linalg.norm(changes, axis=1)
    assert error.max() < 0.02


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith(("flow", "diffusion"))])
def test_denoising_draw_takes_an_exact_denoiser(name):
    run, row = plain_run(name), ROWS[name]
    denoising = run.algorithm.denoising
    condition = jnp.arange(4) % row.num_classes if row.num_classes else None
    keys = jax.random.split(jax.random.key(5), 4)

    # All data are at one point: every sampler ends there.
    samples = jax.jit(lambda: denoising.draw(lambda x, t, condition: 0 * x + 0.25, keys, condition)[0])()
    np.testing.assert_allclose(samples, np.full_like(samples, 0.25), atol=1e-5)
