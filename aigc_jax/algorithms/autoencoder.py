"""What VAEs of one level share, however they are trained: the model, its bounds, its samples, its latents."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.algorithms.networks import as_condition, condition_of, init_network
from aigc_jax.losses.bounds import LogWeightsFn, importance_bound
from aigc_jax.losses.likelihoods import (
    Likelihood,
    binarize,
    bits_per_dim,
    normal_log_prob,
    standard_normal_log_prob,
)
from aigc_jax.rng import example_keys, normal, split_by_name
from aigc_jax.types import Batch, Condition, Key, Keys, PyTree, UsageError, Variables

NAME = "vae"
"""The player's name in params."""


class Model(NamedTuple):
    """A latent-variable model and its recognition network: all of a VAE but how it is trained.

    p(z) = N(0, I), p(x | z) is the likelihood of the decoder's outputs, q(z | x) = N(mean, e^logvar) of the encoder.

    Attributes:
        encoder: Linen module ``(image, condition) -> [B, ..., 2 Z]``: means, then log variances.
        decoder: Linen module ``(latent, condition) -> [B, H, W, C * likelihood.num_outputs]``.
        latent_shape: shape of one latent, Z its last entry.
        likelihood: from :mod:`aigc_jax.losses.likelihoods`.
        num_classes: number of classes that both networks are told; 0 for an unconditional model.
        is_binarized: whether the pixels are drawn black or white at each look: dynamic binarization.
        num_importance_samples: k of the bound L_k that ``evaluate`` gives as ``-nll``; up to thousands.
        chunk_size: draws of the latent that ``evaluate`` computes at once; memory only.
        is_pixel_sampled: whether samples have the likelihood's noise, instead of being its means.
    """

    encoder: nn.Module
    decoder: nn.Module
    latent_shape: tuple[int, ...]
    likelihood: Likelihood
    num_classes: int = 0
    is_binarized: bool = False
    num_importance_samples: int = 1
    chunk_size: int = 50
    is_pixel_sampled: bool = False

    def init(self, key: Key, batch: Batch) -> PyTree:
        """Initial parameters; only the shapes of the batch matter."""
        keys, image = split_by_name(key, "encoder", "decoder"), batch["example"]
        condition = condition_of(batch, self.num_classes)
        latent = jnp.zeros((image.shape[0], *self.latent_shape))
        return {
            "encoder": init_network(
                "encoder",
                self.encoder,
                keys["encoder"],
                image,
                condition,
                expected=(len(image), *self.latent_shape[:-1], 2 * self.latent_shape[-1]),
                meaning="means, then log variances, in one array",
            )["params"],
            "decoder": init_network(
                "decoder",
                self.decoder,
                keys["decoder"],
                latent,
                condition,
                expected=(*image.shape[:-1], image.shape[-1] * self.likelihood.num_outputs),
                meaning="the likelihood's numbers",
            )["params"],
        }

    def preprocess(self, batch: Batch, keys: Keys) -> tuple[Array, Condition]:
        """The images as the model sees them, binarized by ``keys`` where it is a model of binary images."""
        image = batch["example"]
        if self.is_binarized:
            image = binarize(image, split_by_name(keys, "binarize")["binarize"])
        return image, condition_of(batch, self.num_classes)

    def posterior(self, params: PyTree, image: Array, condition: Condition) -> tuple[Array, Array]:
        """Mean and log variance of q(z | x), each [B, *latent_shape]."""
        outputs = apply(self.encoder, params["encoder"], image, condition)
        mean, logvar = jnp.split(outputs, 2, axis=-1)
        return mean, logvar

    def outputs(self, params: PyTree, latent: Array, condition: Condition) -> Array:
        """What the decoder says of each pixel."""
        return apply(self.decoder, params["decoder"], latent, condition)

    def log_weights(
        self, params: PyTree, image: Array, condition: Condition, keys: Keys
    ) -> Float[Array, "batch num_draws"]:
        """Log p(x, z) - log q(z | x) of n draws of z for each image, under keys [B, n]."""
        mean, logvar = self.posterior(params, image, condition)

        def draw(keys: Keys) -> Array:
            latent = mean + jnp.exp(0.5 * logvar) * normal(keys, self.latent_shape)
            log_likelihood = self.likelihood.log_prob(self.outputs(params, latent, condition), image)
            return log_likelihood + standard_normal_log_prob(latent) - normal_log_prob(latent, mean, logvar)

        return jax.vmap(draw, in_axes=1, out_axes=1)(keys)

    def sample(self, variables: Variables, key: Array, num_samples: int, condition: Condition = None) -> Array:
        """Decode latents drawn from the prior, see :class:`aigc_jax.types.SampleFn`."""
        return self.generate(variables, self.latent(key, num_samples), key, condition)

    def latent(self, key: Array, num_samples: int) -> Array:
        """Latents from the prior [num_samples, *latent_shape]."""
        return normal(split_by_name(example_keys(key, num_samples), "latent")["latent"], self.latent_shape)

    def generate(self, variables: Variables, latents: Array, key: Array, condition: Condition) -> Array:
        """Decode latents [B, *latent_shape], and draw pixels where samples are drawn to the pixel."""
        condition = as_condition(condition, len(latents), self.num_classes)
        outputs = self.outputs(variables["params"][NAME], latents, condition)
        if not self.is_pixel_sampled:
            return self.likelihood.mean(outputs)
        return self.likelihood.sample(outputs, split_by_name(example_keys(key, len(latents)), "pixel")["pixel"])

    def evaluate(self, variables: Variables, batch: Batch, key: Array) -> dict[str, Array]:
        """``elbo``, ``nll`` = -L_k and, of discrete pixels, ``bits_per_dim``: nats or bits per example."""
        keys, params = example_keys(key, batch["example"].shape[0]), variables["params"][NAME]
        image, condition = self.preprocess(batch, keys)
        return bound_rows(
            lambda keys: self.log_weights(params, image, condition, keys),
            keys,
            likelihood=self.likelihood,
            num_dims=image[0].size,
            num_importance_samples=self.num_importance_samples,
            chunk_size=self.chunk_size,
        )

    def encode(self, variables: Variables, batch: Batch, key: Array) -> Array:
        """Posterior means [B, *latent_shape] of the images as they are: nothing is drawn, nor binarised."""
        del key
        return self.posterior(variables["params"][NAME], batch["example"], condition_of(batch, self.num_classes))[0]

    def decode(self, variables: Variables, latents: Array, condition: Condition) -> Array:
        """Mean images in [-1, 1] of latents [B, *latent_shape]."""
        condition = as_condition(condition, len(latents), self.num_classes)
        return self.likelihood.mean(self.outputs(variables["params"][NAME], latents, condition))


def bound_rows(
    log_weights_fn: LogWeightsFn,
    keys: Keys,
    *,
    likelihood: Likelihood,
    num_dims: int,
    num_importance_samples: int = 1,
    chunk_size: int = 50,
) -> dict[str, Array]:
    """What an evaluation says of each example, from the bounds of its log-likelihood.

    Args:
        log_weights_fn: see :data:`aigc_jax.losses.bounds.LogWeightsFn`.
        keys: one key per example [B].
        likelihood: whether bits per dimension have a meaning.
        num_dims: numbers in an image.
        num_importance_samples: k.
        chunk_size: draws at once.

    Returns:
        ``elbo`` and ``nll`` = -L_k in nats and, of discrete pixels, ``bits_per_dim``; each [B].

    >>> from aigc_jax.losses.likelihoods import bernoulli
    >>> keys = example_keys(jax.random.key(0), 2)
    >>> bound_rows(lambda keys: jnp.full(keys.shape, -3.0), keys, likelihood=bernoulli(), num_dims=4)["nll"]
    Array([3., 3.], dtype=float32)
    """
    keys = split_by_name(keys, "latent")["latent"]
    bounds = importance_bound(log_weights_fn, keys, num_samples=num_importance_samples, chunk_size=chunk_size)
    rows = {"elbo": bounds.elbo, "nll": -bounds.importance}
    return {**rows, "bits_per_dim": bits_per_dim(rows["nll"], num_dims)} if likelihood.is_discrete else rows


def check_bound(latent_shape: tuple[int, ...], num_importance_samples: int, chunk_size: int) -> None:
    """Refuse a latent or a bound that cannot be, before anything is trained.

    Args:
        latent_shape: shape of one latent.
        num_importance_samples: k of the bound that an evaluation gives.
        chunk_size: draws computed at once.

    Raises:
        UsageError: one of them is below 1.
    """
    if not latent_shape or min(latent_shape) < 1:
        raise UsageError(f"expected latents of at least one number, got the shape {latent_shape}: use 8")
    if min(num_importance_samples, chunk_size) < 1:
        raise UsageError(
            f"expected num_importance_samples and chunk_size of at least 1, got {num_importance_samples} and "
            f"{chunk_size}: use 1 and 50"
        )


def apply(module: nn.Module, params: PyTree, *inputs: Array | None) -> Array:
    """The output of a network that has parameters only.

    Args:
        module: the network, of one array out.
        params: its parameters.
        *inputs: its arguments.

    Returns:
        The array.

    >>> float(apply(nn.Dense(1), {"kernel": jnp.ones((2, 1)), "bias": jnp.zeros(1)}, jnp.ones((1, 2)))[0, 0])
    2.0
    """
    outputs = module.apply({"params": params}, *inputs)
    assert isinstance(outputs, jax.Array)  # for the type checker: no mutable collections, so no tuple
    return outputs
