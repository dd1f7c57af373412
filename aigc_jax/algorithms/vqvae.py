"""Vector-quantised autoencoders: each position of the latent map is one of a codebook's vectors.

The codebook is no parameter but an average over time of the encoder's outputs (``model_state``), the same on all
devices. Its codes are drawn from the first batch; one that falls out of use is drawn anew.

Reference:
    van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning", 2017, equations 1 to 3 and
    appendix A.1 (averages); Dhariwal et al., "Jukebox", 2020, section 3.2 (codes drawn anew).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from aigc_jax.algorithms.autoencoder import apply, init_pair
from aigc_jax.algorithms.codebook import Codebook, draw_vectors, nearest, new_codebook, restart, update
from aigc_jax.algorithms.detecting import elbo_detector
from aigc_jax.algorithms.networks import as_condition, condition_of, example_of
from aigc_jax.losses.likelihoods import Likelihood, bits_per_dim, sum_per_example
from aigc_jax.players import init_state, make_step
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import (
    Algorithm,
    Autoencoder,
    Batch,
    Condition,
    Key,
    Metrics,
    Player,
    PyTree,
    TrainState,
    UsageError,
    Variables,
)

NAME = "vqvae"
SMOOTHING = 1e-3
"""Share of the prior that is spread evenly over all codes: an unseen code is rare, not impossible."""


class Model(NamedTuple):
    """The networks, the likelihood and the codebook's size.

    Samples draw the code of each position from its frequency there in training, independently of all others: the
    simplest prior, whose samples are incoherent. A prior over maps of codes (an autoregressive or a diffusion model on
    ``encode``) belongs on top.

    Args:
        encoder: Linen module ``(image, condition) -> [B, h, w, D]``, ``num_outputs=1``.
        decoder: Linen module ``(latent [B, h, w, D], condition) -> [B, H, W, C * likelihood.num_outputs]``.
        latent_shape: (h, w, D).
        likelihood: from :mod:`aigc_jax.losses.likelihoods`.
        num_codes: M.
        num_classes: classes of both networks; 0 for an unconditional model.
    """

    encoder: nn.Module
    decoder: nn.Module
    latent_shape: tuple[int, int, int]
    likelihood: Likelihood
    num_codes: int = 512
    num_classes: int = 0

    def init(self, key: Key, batch: Batch) -> tuple[PyTree, PyTree]:
        """Initial parameters, and an unused codebook."""
        params = init_pair(self, key, batch, encoded_dim=self.latent_shape[-1], meaning="vectors")
        height, width, dim = self.latent_shape
        return params, new_codebook(self.num_codes, dim, height * width)._asdict()

    def prior(self, state: PyTree) -> Float[Array, "position num_codes"]:
        """Log probability of each code at each position."""
        return jnp.log((1 - SMOOTHING) * state["frequencies"] + SMOOTHING / self.num_codes)

    def sample(self, variables: Variables, key: Array, num_samples: int, condition: Condition = None) -> Array:
        """Decode codes drawn position by position, see :class:`aigc_jax.types.SampleFn`."""
        condition = as_condition(condition, num_samples, self.num_classes)
        state, keys = variables["model_state"][NAME], split_by_name(example_keys(key, num_samples), "codes")["codes"]
        index = jax.vmap(lambda key: jax.random.categorical(key, self.prior(state)))(keys)
        return self._images(variables, state["codes"][index].reshape(-1, *self.latent_shape), condition)

    def evaluate(self, variables: Variables, batch: Batch, key: Array) -> dict[str, Array]:
        """``elbo`` = log p(x | z) + log p(z) at the codes z, ``nll``, ``mse``, ``bits_per_dim`` of discrete pixels."""
        del key
        state, image = variables["model_state"][NAME], example_of(batch)
        condition, latents = condition_of(batch, self.num_classes), self.encode(variables, batch, None)
        index = nearest(latents.reshape(-1, self.latent_shape[-1]), state["codes"]).reshape(len(image), -1)
        outputs = apply(self.decoder, variables["params"][NAME]["decoder"], latents, condition)
        log_prior = jnp.take_along_axis(self.prior(state)[None], index[..., None], axis=2)
        elbo = self.likelihood.log_prob(outputs, image) + sum_per_example(log_prior)
        mse = sum_per_example(jnp.square(self.likelihood.mean(outputs) - image)) / image[0].size
        rows = {"elbo": elbo, "nll": -elbo, "mse": mse}
        return {**rows, "bits_per_dim": bits_per_dim(-elbo, image[0].size)} if self.likelihood.is_discrete else rows

    def encode(self, variables: Variables, batch: Batch, key: Array | None) -> Array:
        """The quantised latents [B, h, w, D]."""
        del key
        condition = condition_of(batch, self.num_classes)
        latents = apply(self.encoder, variables["params"][NAME]["encoder"], example_of(batch), condition)
        return self._quantise(variables, latents)

    def decode(self, variables: Variables, latents: Array, condition: Condition) -> Array:
        """Mean images in [-1, 1] of latents [B, h, w, D], each position moved to its nearest code first."""
        condition = as_condition(condition, len(latents), self.num_classes)
        return self._images(variables, self._quantise(variables, latents), condition)

    def _quantise(self, variables: Variables, latents: Array) -> Array:
        codes = variables["model_state"][NAME]["codes"]
        return codes[nearest(latents.reshape(-1, latents.shape[-1]), codes)].reshape(latents.shape)

    def _images(self, variables: Variables, quantised: Array, condition: Condition) -> Array:
        return self.likelihood.mean(apply(self.decoder, variables["params"][NAME]["decoder"], quantised, condition))


def vqvae(
    model: Model,
    tx: optax.GradientTransformation,
    *,
    commitment: float = 0.25,
    codebook_decay: float = 0.99,
    restart_below: float = 0.01,
    ema_decay: float | Callable[[Array], Array] | None = None,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """A vector-quantised autoencoder as an :class:`aigc_jax.types.Algorithm`.

    Args:
        model: the networks, the likelihood and the codebook's size.
        tx: the optimiser of the networks.
        commitment: weight >= 0 of the squared distance of the encoder's outputs from their codes, beta.
        codebook_decay: decay of the codebook's averages in [0, 1), gamma.
        restart_below: a code whose share of use falls below this, as a part of the even share 1 / M, is drawn anew
            from the batch; 0 does so for codes that were never used, or so long ago that their average is 0.
        ema_decay: decay of the networks' weight average, which samples and evaluations use; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`; each is a step for the codebook.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` float32 [B, H, W, C] in [-1, 1] and, for a conditional model,
        ``condition`` int32 [B]. Reported are ``log_likelihood``, ``commitment``, ``perplexity`` (of the batch's codes,
        from 1 to M) and ``restarts``. ``evaluate`` is :meth:`Model.evaluate`.

    Raises:
        UsageError: a number out of range.

    >>> from aigc_jax.losses.likelihoods import gaussian
    >>> from aigc_jax.nets.vae import ConvDecoder, ConvEncoder
    >>> shape = (2, 2, 3)
    >>> encoder, decoder = ConvEncoder(shape, (4, 4), num_outputs=1), ConvDecoder((8, 8, 1), (4, 4))
    >>> algorithm = vqvae(Model(encoder, decoder, shape, gaussian(0.5), num_codes=5), optax.sgd(1e-3))
    >>> batch = {"example": jax.random.normal(jax.random.key(0), (6, 8, 8, 1))}
    >>> state = algorithm.init(jax.random.key(0), batch)
    >>> state, metrics = jax.jit(algorithm.step)(state, batch, jax.random.key(1))
    >>> int(metrics["vqvae/restarts"]), bool(1 <= metrics["vqvae/perplexity"] <= 5)
    (5, True)
    """
    if commitment < 0 or not 0 <= codebook_decay < 1 or not 0 <= restart_below < 1:
        raise UsageError(
            f"expected commitment >= 0, 0 <= codebook_decay < 1 and 0 <= restart_below < 1, got {commitment}, "
            f"{codebook_decay} and {restart_below}: use 0.25, 0.99 and 0.01"
        )

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        own, image, condition = params[NAME], example_of(batch), condition_of(batch, model.num_classes)
        latents = apply(model.encoder, own["encoder"], image, condition)
        vectors = jax.lax.stop_gradient(latents).reshape(latents.shape[0], -1, latents.shape[-1])
        book = Codebook(**model_state[NAME])
        is_dead = book.usage <= restart_below / model.num_codes
        book = restart(book, is_dead, draw_vectors(vectors, key, batch["index"], model.num_codes, axis_name=axis_name))
        index = nearest(vectors.reshape(-1, vectors.shape[-1]), book.codes)
        quantised = book.codes[index].reshape(latents.shape)
        # Straight through: the decoder sees the codes, the encoder gets the gradient with respect to them.
        outputs = apply(model.decoder, own["decoder"], latents + jax.lax.stop_gradient(quantised - latents), condition)
        log_likelihood = model.likelihood.log_prob(outputs, image)
        distance = sum_per_example(jnp.square(latents - quantised))
        book, share = update(book, vectors, index, decay=codebook_decay, axis_name=axis_name)
        metrics = {
            "log_likelihood": log_likelihood,
            "commitment": distance,
            "perplexity": jnp.exp(-jnp.sum(jax.scipy.special.xlogy(share, share))),
            "restarts": jnp.sum(is_dead, dtype=jnp.float32),
        }
        return commitment * distance - log_likelihood, ({**model_state, NAME: book._asdict()}, metrics)

    def init(key: Key, batch: Batch) -> TrainState:
        params, state = model.init(key, batch)
        ema_names = () if ema_decay is None else (NAME,)
        # The codebook is an average already; a second one would put codes where no encoder's output is.
        return init_state(players, {NAME: params}, {NAME: state}, ema_names=ema_names).replace(ema_model_state={})

    players = [Player(NAME, loss_fn, tx)]
    step = make_step(players, ema_decay=ema_decay, axis_name=axis_name, num_microbatches=num_microbatches)
    return Algorithm(
        init,
        step,
        model.sample,
        model.evaluate,
        Autoencoder(model.encode, model.decode),
        detectors={"elbo": elbo_detector(model.evaluate, model.num_classes)},
    )
