"""The latent-variable model of VAEs with one level: networks, bounds, samples and latents, however it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from aigc_jax.algorithms.detecting import NUM_DRAWS, elbo_detector
from aigc_jax.algorithms.networks import as_condition, condition_of, example_of, init_network
from aigc_jax.losses.bounds import LogWeightsFn, free_bits, importance_bound
from aigc_jax.losses.likelihoods import (
    Likelihood,
    binarize,
    bits_per_dim,
    normal_log_prob,
    standard_normal_log_prob,
    sum_per_example,
)
from aigc_jax.players import single_player
from aigc_jax.rng import example_keys, normal, split_by_name
from aigc_jax.types import (
    Algorithm,
    Autoencoder,
    Batch,
    Condition,
    Key,
    Keys,
    Latents,
    LossFn,
    Metrics,
    PyTree,
    UsageError,
    Variables,
)

NAME = "vae"
"""The player's name in params."""

MEANING = "means, then log variances, in one array"


class Model(NamedTuple):
    """A latent-variable model and its recognition network, without a training method.

    p(z) = N(0, I), p(x | z) is the likelihood of the decoder's outputs, q(z | x) = N(mean, e^logvar) of the encoder.

    Args:
        encoder: Linen module ``(image, condition) -> [B, ..., 2 Z]``: means, then log variances.
        decoder: Linen module ``(latent, condition) -> [B, H, W, C * likelihood.num_outputs]``.
        latent_shape: shape of one latent, Z its last entry.
        likelihood: from :mod:`aigc_jax.losses.likelihoods`.
        num_classes: classes of both networks; 0 for an unconditional model.
        is_binarized: whether the pixels are drawn black or white at each use: dynamic binarization.
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
        return init_pair(self, key, batch, encoded_dim=2 * self.latent_shape[-1], meaning=MEANING)

    def preprocess(self, batch: Batch, keys: Keys) -> tuple[Array, Condition]:
        """The images, binarized by ``keys`` in a model of binary images, and the condition."""
        image = example_of(batch)
        if self.is_binarized:
            image = binarize(image, split_by_name(keys, "binarize")["binarize"])
        return image, condition_of(batch, self.num_classes)

    def posterior(self, params: PyTree, image: Array, condition: Condition) -> tuple[Array, Array]:
        """Mean and log variance of q(z | x), each [B, *latent_shape]."""
        outputs = apply(self.encoder, params["encoder"], image, condition)
        mean, logvar = jnp.split(outputs, 2, axis=-1)
        return mean, logvar

    def outputs(self, params: PyTree, latent: Array, condition: Condition) -> Array:
        """The decoder's numbers for each pixel."""
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
        """Decode latents [B, *latent_shape], and draw pixels if ``is_pixel_sampled``."""
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
        """Posterior means [B, *latent_shape] of the images as they are, without noise or binarization."""
        del key
        return self.posterior(variables["params"][NAME], example_of(batch), condition_of(batch, self.num_classes))[0]

    def decode(self, variables: Variables, latents: Array, condition: Condition) -> Array:
        """Mean images in [-1, 1] of latents [B, *latent_shape]."""
        condition = as_condition(condition, len(latents), self.num_classes)
        return self.likelihood.mean(self.outputs(variables["params"][NAME], latents, condition))


def init_pair(model: Any, key: Key, batch: Batch, *, encoded_dim: int, meaning: str) -> PyTree:
    """Initial parameters of the encoder and the decoder of a model; only the shapes of the batch matter."""
    keys, image, condition = (
        split_by_name(key, "encoder", "decoder"),
        example_of(batch),
        condition_of(batch, model.num_classes),
    )
    latent = jnp.zeros((len(image), *model.latent_shape))
    outputs = (*image.shape[:-1], image.shape[-1] * model.likelihood.num_outputs)
    networks = (
        ("encoder", model.encoder, image, (*latent.shape[:-1], encoded_dim), meaning),
        ("decoder", model.decoder, latent, outputs, "the likelihood's numbers"),
    )
    return {
        name: init_network(name, network, keys[name], x, condition, expected=shape, meaning=words)["params"]
        for name, network, x, shape, words in networks
    }


def weighted_bound(
    log_likelihood: Array, kl: Array, *, beta: float | Callable[[Array], Array], minimum_kl: float, step: Array
) -> tuple[Array, Array, Metrics]:
    """Loss of each example, the negative bound with weighted KLs [B, ...] and free bits; its total KL; metrics."""
    weight = beta(step) if callable(beta) else jnp.float32(beta)
    losses = weight * sum_per_example(free_bits(kl, minimum_kl)) - log_likelihood
    total = sum_per_example(kl)
    return losses, total, {"elbo": log_likelihood - total, "log_likelihood": log_likelihood, "beta": weight}


def check_weights(beta: float | Callable[[Array], Array], minimum_kl: float) -> None:
    """Raise UsageError for negative weights of :func:`weighted_bound`."""
    if not minimum_kl >= 0 or (not callable(beta) and not beta >= 0):
        raise UsageError(f"expected beta >= 0 and minimum_kl >= 0, got {beta} and {minimum_kl}: use 1 and 0")


def model_algorithm(
    model: Model,
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    *,
    ema_decay: float | Callable[[Array], Array] | None,
    num_microbatches: int,
    axis_name: str | None,
) -> Algorithm:
    """The algorithm that trains a model by a loss."""
    check_bound(model.latent_shape, model.num_importance_samples, model.chunk_size)
    init, step = single_player(
        NAME, loss_fn, tx, model.init, ema_decay=ema_decay, num_microbatches=num_microbatches, axis_name=axis_name
    )
    return Algorithm(
        init,
        step,
        model.sample,
        model.evaluate,
        Autoencoder(model.encode, model.decode),
        Latents(model.latent, model.generate),
        detectors={"elbo": elbo_detector(model._replace(num_importance_samples=NUM_DRAWS).evaluate, model.num_classes)},
    )


def bound_rows(
    log_weights_fn: LogWeightsFn,
    keys: Keys,
    *,
    likelihood: Likelihood,
    num_dims: int,
    num_importance_samples: int = 1,
    chunk_size: int = 50,
) -> dict[str, Array]:
    """``elbo`` and ``nll`` = -L_k in nats and, of discrete pixels, ``bits_per_dim`` of each example [B]."""
    keys = split_by_name(keys, "latent")["latent"]
    bounds = importance_bound(log_weights_fn, keys, num_samples=num_importance_samples, chunk_size=chunk_size)
    rows = {"elbo": bounds.elbo, "nll": -bounds.importance}
    return {**rows, "bits_per_dim": bits_per_dim(rows["nll"], num_dims)} if likelihood.is_discrete else rows


def check_bound(latent_shape: tuple[int, ...], num_importance_samples: int, chunk_size: int) -> None:
    """Raise UsageError for an impossible latent or bound, before anything is trained."""
    if not latent_shape or min(latent_shape) < 1:
        raise UsageError(f"expected latents of at least one number, got the shape {latent_shape}: use 8")
    if min(num_importance_samples, chunk_size) < 1:
        raise UsageError(
            f"expected num_importance_samples and chunk_size of at least 1, got {num_importance_samples} and "
            f"{chunk_size}: use 1 and 50"
        )


def apply(module: nn.Module, params: PyTree, *inputs: Array | None) -> Array:
    """The output of a network that has parameters only."""
    outputs = module.apply({"params": params}, *inputs)
    assert isinstance(outputs, jax.Array)  # for the type checker: no mutable collections, so no tuple
    return outputs
