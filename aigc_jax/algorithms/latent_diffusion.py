"""Latent diffusion: any generative method, trained on the latents of a trained autoencoder.

Reference:
    Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from aigc_jax.rng import split_by_name
from aigc_jax.types import (
    Algorithm,
    Batch,
    Condition,
    DenoiseFn,
    Denoising,
    Key,
    Keys,
    Latents,
    Metrics,
    ScoreFn,
    TrainState,
    UsageError,
    Variables,
)


def latent_diffusion(
    inner: Algorithm, autoencoder: Algorithm, autoencoder_variables: Variables, *, scale: float
) -> Algorithm:
    """A method on latents as a method on examples.

    Args:
        inner: the method that learns the latents: its batches hold latents as ``example`` [B, ...].
        autoencoder: a method with an ``autoencoder`` whose encoder gives means, which do not depend on its key.
        autoencoder_variables: its trained weights; they stay as they are and are no part of the state.
        scale: multiplies the latents, so that their standard deviation is about 1.

    Returns:
        The algorithm. Batches hold inputs of the encoder, samples are outputs of the decoder.

    Raises:
        UsageError: the autoencoder cannot encode or decode, or the scale is not positive.

    >>> import jax, jax.numpy as jnp, optax
    >>> from aigc_jax.types import Autoencoder
    >>> from aigc_jax.algorithms.flow_matching import flow_matching, rectified_flow_denoiser
    >>> from aigc_jax.nets.mlp import MLPDenoiser
    >>> from aigc_jax.samplers.sampling import make_sampler
    >>> from aigc_jax.samplers.settings import Sampling
    >>> half = Algorithm(None, None, autoencoder=Autoencoder(
    ...     encode=lambda variables, batch, key: batch["example"][:, 0, :, 0],
    ...     decode=lambda variables, latents, condition: jnp.tanh(latents)[:, None, :, None]))
    >>> denoiser = rectified_flow_denoiser(MLPDenoiser((8,)), (2,), bounds=None, num_levels=None)
    >>> sampler = make_sampler(denoiser.process, Sampling("euler", num_steps=4))
    >>> algorithm = latent_diffusion(flow_matching(denoiser, tx=optax.sgd(1e-3), sampler=sampler), half, {}, scale=1.0)
    >>> state = algorithm.init(jax.random.key(0), {"example": jnp.zeros((6, 2, 2, 1))})
    >>> algorithm.sample(state.variables, jax.random.key(2), 5, None).shape
    (5, 1, 2, 1)
    """
    if autoencoder.autoencoder is None or inner.sample is None:
        raise UsageError(
            "latent diffusion needs an autoencoder that encodes and decodes, and a method that samples: pass a VAE "
            "and a flow, say"
        )
    if not scale > 0:
        raise UsageError(f"expected scale > 0, got {scale}: one over the standard deviation of the latents")
    (encode, decode_latents), sample_latents = autoencoder.autoencoder, inner.sample

    def to_latents(batch: Batch, key: Key) -> Batch:
        latents = scale * encode(autoencoder_variables, batch, split_by_name(key, "encode")["encode"])
        return {**batch, "example": latents}

    def decode(latents: Array, condition: Condition) -> Array:
        return decode_latents(autoencoder_variables, latents / scale, condition)

    def init(key: Key, batch: Batch) -> TrainState:
        return inner.init(key, to_latents(batch, key))

    def step(state: TrainState, batch: Batch, key: Key) -> tuple[TrainState, Metrics]:
        return inner.step(state, to_latents(batch, key), key)

    def sample(variables: Variables, key: Array, num_samples: int, condition: Condition) -> Array:
        return decode(sample_latents(variables, key, num_samples, condition), condition)

    def in_latents(score: ScoreFn) -> ScoreFn:
        """The inner method's score of the latents of samples; it is a function of the latent's own scale."""

        def score_samples(variables: Variables, samples: Array, condition: Condition, keys: Keys) -> Array:
            batch = {"example": samples} if condition is None else {"example": samples, "condition": condition}
            return score(variables, to_latents(batch, keys)["example"], condition, keys)

        return score_samples

    return Algorithm(
        init=init,
        step=step,
        sample=sample,
        latents=None if inner.latents is None else _decoded_latents(inner.latents, decode),
        denoising=None if inner.denoising is None else _decoded_denoising(inner.denoising, decode),
        detectors={name: each._replace(score=in_latents(each.score)) for name, each in inner.detectors.items()},
    )


DecodeFn = Callable[[Array, Condition], Array]


def _decoded_latents(latents: Latents, decode: DecodeFn) -> Latents:
    def generate(variables: Variables, noise: Array, key: Array, condition: Condition) -> Array:
        return decode(latents.generate(variables, noise, key, condition), condition)

    return latents._replace(generate=generate)


def _decoded_denoising(denoising: Denoising, decode: DecodeFn) -> Denoising:
    def draw(
        denoise: DenoiseFn, keys: Keys, condition: Condition, *, start: Array | None = None, **how: Any
    ) -> tuple[Array, Any]:
        if start is not None:
            raise UsageError("latent diffusion changes no given examples: use a model of the examples themselves")
        latents, seen = denoising.draw(denoise, keys, condition, **how)
        return decode(latents, condition), seen

    return denoising._replace(draw=draw, is_in_latents=True)
