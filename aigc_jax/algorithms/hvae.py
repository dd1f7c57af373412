"""Hierarchical variational autoencoders: a ladder of stochastic levels, each with its own KL.

Reference:
    Sønderby et al., "Ladder Variational Autoencoders", 2016, for the ladder; its precision-weighted posterior is
    replaced by the residual one of Vahdat and Kautz, "NVAE: A Deep Hierarchical Variational Autoencoder", 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from aigc_jax.algorithms.autoencoder import bound_rows, check_bound, check_weights, weighted_bound
from aigc_jax.algorithms.detecting import NUM_DRAWS, elbo_detector
from aigc_jax.algorithms.networks import as_condition, condition_of, example_of
from aigc_jax.losses.likelihoods import Likelihood, binarize, normal_log_prob, sum_per_example
from aigc_jax.losses.variational import gaussian_kl
from aigc_jax.nets.ladder import Gaussian, Ladder, LadderLatentFn, Level
from aigc_jax.players import single_player
from aigc_jax.rng import example_keys, normal, split_by_name
from aigc_jax.types import (
    Algorithm,
    Autoencoder,
    Batch,
    Condition,
    Key,
    Keys,
    Metrics,
    PyTree,
    Variables,
)

NAME = "hvae"


class Model(NamedTuple):
    """A ladder and its likelihood, without a training method.

    Args:
        ladder: the network, with the ``num_outputs`` of the likelihood.
        likelihood: from :mod:`aigc_jax.losses.likelihoods`.
        is_binarized: whether the pixels are drawn black or white at each use.
        num_importance_samples: k of the bound L_k that ``evaluate`` gives as ``-nll``.
        chunk_size: draws of the latents that ``evaluate`` computes at once; memory only.
    """

    ladder: Ladder
    likelihood: Likelihood
    is_binarized: bool = False
    num_importance_samples: int = 1
    chunk_size: int = 10

    def init(self, key: Key, batch: Batch) -> PyTree:
        """Initial parameters; only the shapes of the batch matter."""
        condition = condition_of(batch, self.ladder.num_classes)
        return self.ladder.init(key, _means, condition, image=example_of(batch))["params"]

    def preprocess(self, batch: Batch, keys: Keys) -> tuple[Array, Condition]:
        """The images, binarized by ``keys`` in a model of binary images, and the condition."""
        image = example_of(batch)
        if self.is_binarized:
            image = binarize(image, split_by_name(keys, "binarize")["binarize"])
        return image, condition_of(batch, self.ladder.num_classes)

    def run_ladder(
        self,
        params: PyTree,
        latent_fn: LadderLatentFn,
        condition: Condition,
        *,
        image: Array | None = None,
        num: int = 1,
    ) -> tuple[Array, list[Level]]:
        """The ladder's outputs and levels, see :class:`aigc_jax.nets.ladder.Ladder`."""
        result: Any = self.ladder.apply({"params": params}, latent_fn, condition, image=image, num=num)
        return result

    def log_weights(
        self, params: PyTree, image: Array, condition: Condition, keys: Keys
    ) -> Float[Array, "batch num_draws"]:
        """Log p(x, z) - log q(z | x) of n draws of all latents for each image, under keys [B, n]."""

        def draw(keys: Keys) -> Array:
            outputs, levels = self.run_ladder(params, drawn(keys), condition, image=image)
            ratios = [
                normal_log_prob(z, *prior) - normal_log_prob(z, *posterior)
                for z, prior, posterior in levels
                if posterior is not None
            ]
            return self.likelihood.log_prob(outputs, image) + jnp.sum(jnp.stack(ratios), axis=0)

        return jax.vmap(draw, in_axes=1, out_axes=1)(keys)

    def sample(self, variables: Variables, key: Array, num_samples: int, condition: Condition = None) -> Array:
        """Decode latents drawn from the top down, see :class:`aigc_jax.types.SampleFn`."""
        condition = as_condition(condition, num_samples, self.ladder.num_classes)
        keys = split_by_name(example_keys(key, num_samples), "latent")["latent"]
        outputs, _ = self.run_ladder(variables["params"][NAME], drawn(keys), condition, num=num_samples)
        return self.likelihood.mean(outputs)

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
        """Posterior means of all levels, from the image to the top, each given the means above it: [B, Z]."""
        del key  # nothing is drawn, nor binarised
        image, condition = example_of(batch), condition_of(batch, self.ladder.num_classes)
        _, levels = self.run_ladder(variables["params"][NAME], _means, condition, image=image)
        return jnp.concatenate([level.latent.reshape(len(image), -1) for level in levels], axis=1)

    def decode(self, variables: Variables, latents: Array, condition: Condition) -> Array:
        """Mean images in [-1, 1] of latents [B, Z] from ``encode``."""
        condition = as_condition(condition, len(latents), self.ladder.num_classes)
        shapes = self.ladder.latent_shapes()
        parts = jnp.split(latents, np.cumsum([np.prod(shape) for shape in shapes])[:-1].tolist(), axis=1)

        def given(level: int, prior: Gaussian, posterior: Gaussian | None) -> Array:
            del prior, posterior
            return parts[level].reshape(-1, *shapes[level])

        outputs, _ = self.run_ladder(variables["params"][NAME], given, condition, num=len(latents))
        return self.likelihood.mean(outputs)


def hvae(
    model: Model,
    tx: optax.GradientTransformation,
    *,
    beta: float | Callable[[Array], Array] = 1.0,
    minimum_kl: float = 0.0,
    ema_decay: float | Callable[[Array], Array] | None = None,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """A hierarchical variational autoencoder as an :class:`aigc_jax.types.Algorithm`.

    Args:
        model: the ladder and the likelihood.
        tx: the optimiser.
        beta: weight of all KLs >= 0, or a schedule of the number of steps made
            (:func:`aigc_jax.losses.bounds.kl_warmup`).
        minimum_kl: free bits of each level, nats: a level's KL below it is not rewarded.
        ema_decay: decay of the weight average, which samples and evaluations use; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` float32 [B, H, W, C] in [-1, 1] and, for a conditional ladder,
        ``condition`` int32 [B]. Reported are ``elbo``, ``log_likelihood`` and ``kl_level_0`` (next to the image) and so
        on, each exact given the latents above it.

    Raises:
        UsageError: negative beta or minimum_kl.

    >>> from aigc_jax.losses.likelihoods import bernoulli
    >>> model = Model(Ladder((8, 8, 1), (4, 4), (1, 2, 3)), bernoulli())
    >>> algorithm = hvae(model, optax.sgd(1e-3))
    >>> batch = {"example": jnp.zeros((6, 8, 8, 1))}
    >>> state = algorithm.init(jax.random.key(0), batch)
    >>> algorithm.autoencoder.encode(state.variables, batch, jax.random.key(2)).shape  # 4 x 4 x 1 + 2 x 2 x 2 + 3
    (6, 27)
    """
    check_bound(tuple(model.ladder.latent_dims), model.num_importance_samples, model.chunk_size)
    check_weights(beta, minimum_kl)

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        keys = example_keys(key, batch["index"])
        image, condition = model.preprocess(batch, keys)
        latent_keys = split_by_name(keys, "latent")["latent"]
        outputs, levels = model.run_ladder(params[NAME], drawn(latent_keys), condition, image=image)
        log_likelihood = model.likelihood.log_prob(outputs, image)
        kls = [
            sum_per_example(gaussian_kl(*posterior, *prior)) for _, prior, posterior in levels if posterior is not None
        ]
        losses, _, metrics = weighted_bound(
            log_likelihood, jnp.stack(kls, axis=1), beta=beta, minimum_kl=minimum_kl, step=model_state["step"]
        )
        return losses, (model_state, metrics | {f"kl_level_{level}": value for level, value in enumerate(kls)})

    init, step = single_player(
        NAME, loss_fn, tx, model.init, ema_decay=ema_decay, num_microbatches=num_microbatches, axis_name=axis_name
    )
    return Algorithm(
        init,
        step,
        model.sample,
        model.evaluate,
        Autoencoder(model.encode, model.decode),
        detectors={
            "elbo": elbo_detector(model._replace(num_importance_samples=NUM_DRAWS).evaluate, model.ladder.num_classes)
        },
    )


def _means(level: int, prior: Gaussian, posterior: Gaussian | None) -> Array:
    del level
    return (posterior or prior)[0]


def drawn(keys: Keys) -> LadderLatentFn:
    """Draw each latent of a ladder under one key per example: from the posterior, else from the prior."""

    def latent_fn(level: int, prior: Gaussian, posterior: Gaussian | None) -> Array:
        mean, logvar = posterior or prior
        noise = normal(split_by_name(keys, f"level_{level}")[f"level_{level}"], mean.shape[1:])
        return mean + jnp.exp(0.5 * logvar) * noise

    return latent_fn
