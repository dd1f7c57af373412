"""Importance-weighted autoencoders: the model of a VAE, trained on the bound of many draws of the latent.

Reference:
    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016, equations 8 and 13.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from aigc_jax.algorithms.autoencoder import NAME, Model, model_algorithm
from aigc_jax.losses.bounds import draw_keys, log_mean_exp
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Algorithm, Batch, Key, Metrics, PyTree, UsageError


def iwae(
    model: Model,
    tx: optax.GradientTransformation,
    *,
    num_importance_samples: int = 50,
    ema_decay: float | Callable[[Array], Array] | None = None,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """An importance-weighted autoencoder as an :class:`aigc_jax.types.Algorithm`.

    Args:
        model: the networks and the likelihood; its own ``num_importance_samples`` is that of ``evaluate``.
        tx: the optimiser.
        num_importance_samples: k of the bound L_k that is maximised; 1 gives a plain VAE.
        ema_decay: decay of the weight average, which samples and evaluations use; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`; k draws of each example are held at once.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` float32 [B, H, W, C] in [-1, 1] and, for a conditional model,
        ``condition`` int32 [B]. Reported are ``elbo`` (the mean log weight) and ``effective_samples``,
        (sum w)^2 / sum w^2, from 1 to k.

    Raises:
        UsageError: num_importance_samples below 1.

    >>> from aigc_jax.losses.likelihoods import bernoulli
    >>> from aigc_jax.nets.vae import MLPDecoder, MLPEncoder
    >>> model = Model(MLPEncoder((3,), (8,)), MLPDecoder((4, 4, 1), (8,)), (3,), bernoulli())
    >>> algorithm = iwae(model, optax.sgd(1e-3), num_importance_samples=5)
    >>> batch = {"example": jnp.zeros((6, 4, 4, 1))}
    >>> state = algorithm.init(jax.random.key(0), batch)
    >>> state, metrics = jax.jit(algorithm.step)(state, batch, jax.random.key(1))
    >>> bool(1 <= metrics["vae/effective_samples"] <= 5)
    True
    """
    if num_importance_samples < 1:
        raise UsageError(f"expected num_importance_samples >= 1, got {num_importance_samples}: use 1 for a plain VAE")

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        keys = example_keys(key, batch["index"])
        image, condition = model.preprocess(batch, keys)
        draws = draw_keys(split_by_name(keys, "latent")["latent"], jnp.arange(num_importance_samples, dtype=jnp.int32))
        log_weights = model.log_weights(params[NAME], image, condition, draws)
        weights = jax.nn.softmax(log_weights, axis=1)
        metrics = {
            "elbo": jnp.mean(log_weights, axis=1),
            "effective_samples": 1.0 / jnp.sum(jnp.square(weights), axis=1),
        }
        return -log_mean_exp(log_weights), (model_state, metrics)

    return model_algorithm(
        model, loss_fn, tx, ema_decay=ema_decay, num_microbatches=num_microbatches, axis_name=axis_name
    )
