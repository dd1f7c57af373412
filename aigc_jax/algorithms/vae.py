"""Variational autoencoders: a game of one player, for any networks and any likelihood.

Reference:
    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, equations 7 and 10.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array

from aigc_jax.algorithms.autoencoder import NAME, Model, check_weights, model_algorithm, weighted_bound
from aigc_jax.losses.variational import gaussian_kl
from aigc_jax.rng import example_keys, normal, split_by_name
from aigc_jax.types import Algorithm, Batch, Key, Metrics, PyTree


def vae(
    model: Model,
    tx: optax.GradientTransformation,
    *,
    beta: float | Callable[[Array], Array] = 1.0,
    minimum_kl: float = 0.0,
    ema_decay: float | Callable[[Array], Array] | None = None,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """A variational autoencoder as an :class:`aigc_jax.types.Algorithm`.

    Args:
        model: the networks and the likelihood.
        tx: the optimiser.
        beta: weight of the KL >= 0, or a schedule of the number of steps made
            (:func:`aigc_jax.losses.bounds.kl_warmup`); 1 is the bound.
        minimum_kl: free bits, nats per coordinate of the latent (:func:`aigc_jax.losses.bounds.free_bits`).
        ema_decay: decay of the weight average, which samples and evaluations use; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` float32 [B, H, W, C] in [-1, 1] and, for a conditional model,
        ``condition`` int32 [B]. ``evaluate`` is :meth:`Model.evaluate`.

    Raises:
        UsageError: negative beta or minimum_kl.

    >>> import jax
    >>> from aigc_jax.losses.likelihoods import bernoulli
    >>> from aigc_jax.nets.vae import MLPDecoder, MLPEncoder
    >>> model = Model(MLPEncoder((3,), (8,)), MLPDecoder((4, 4, 1), (8,)), (3,), bernoulli())
    >>> algorithm = vae(model, optax.sgd(1e-3))
    >>> batch = {"example": jnp.zeros((6, 4, 4, 1))}
    >>> state = algorithm.init(jax.random.key(0), batch)
    >>> state, metrics = jax.jit(algorithm.step)(state, batch, jax.random.key(1))
    >>> algorithm.autoencoder.encode(state.variables, batch, jax.random.key(2)).shape
    (6, 3)
    """
    check_weights(beta, minimum_kl)

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        keys, own = example_keys(key, batch["index"]), params[NAME]
        image, condition = model.preprocess(batch, keys)
        mean, logvar = model.posterior(own, image, condition)
        noise = normal(split_by_name(keys, "latent")["latent"], model.latent_shape)
        outputs = model.outputs(own, mean + jnp.exp(0.5 * logvar) * noise, condition)
        log_likelihood = model.likelihood.log_prob(outputs, image)
        kl = gaussian_kl(mean, logvar, jnp.zeros(()), jnp.zeros(()))
        losses, total, metrics = weighted_bound(
            log_likelihood, kl, beta=beta, minimum_kl=minimum_kl, step=model_state["step"]
        )
        return losses, (model_state, {**metrics, "kl": total})

    return model_algorithm(
        model, loss_fn, tx, ema_decay=ema_decay, num_microbatches=num_microbatches, axis_name=axis_name
    )
