"""Generative adversarial networks: a game of two players, for any pair of networks and any objective.

Reference:
    Goodfellow et al., "Generative Adversarial Networks", 2014, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from aigc_jax.algorithms.networks import as_condition, condition_of, example_of, init_network
from aigc_jax.losses.adversarial import Objective, feature_matching
from aigc_jax.losses.augmentation import AugmentFn
from aigc_jax.losses.discriminator_augmentation import Adaptive, adapted
from aigc_jax.losses.regularizers import interpolate
from aigc_jax.players import init_state, make_step
from aigc_jax.rng import example_keys, normal, split_by_name
from aigc_jax.tree import mean_over_axis
from aigc_jax.types import (
    Algorithm,
    Batch,
    Condition,
    Detector,
    Key,
    Keys,
    Latents,
    LossFn,
    LossTransform,
    Metrics,
    Player,
    PyTree,
    SampleFn,
    ScoreFn,
    TrainState,
    Variables,
)


class GANNetworks(NamedTuple):
    """The two networks of a GAN, and the functions of them that losses and regularisers need.

    Args:
        generator: Linen module ``(latent [B, Z], condition, *, train) -> images`` in [-1, 1].
        discriminator: Linen module ``(images, condition, *, train) -> (logits [B], features [B, F])``.
        latent_dim: Z, the length of the standard normal latent.
        num_classes: number of classes; 0 for an unconditional pair.
    """

    generator: nn.Module
    discriminator: nn.Module
    latent_dim: int = 100
    num_classes: int = 0

    def condition(self, batch: Batch) -> Condition:
        """The condition of each example of a batch, None for an unconditional pair."""
        return condition_of(batch, self.num_classes)

    def generate(self, params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, PyTree]:
        """A fake for each example, under that example's condition; and the new model state."""
        latent = normal(split_by_name(_keys(key, batch), "latent")["latent"], (self.latent_dim,))
        return _apply(self.generator, "generator", params, model_state, (latent, self.condition(batch)))

    def discriminate(
        self, params: PyTree, model_state: PyTree, images: Array, batch: Batch
    ) -> tuple[tuple[Array, Array], PyTree]:
        """Logits [B] and features [B, F] of images under the conditions of a batch; and the new model state."""
        return _apply(self.discriminator, "discriminator", params, model_state, (images, self.condition(batch)))

    def logits(self, params: PyTree, model_state: PyTree, images: Array, batch: Batch) -> Array:
        """Logits alone, for :mod:`aigc_jax.losses.regularizers`."""
        return self.discriminate(params, model_state, images, batch)[0][0]

    def fakes(self, params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> Array:
        """The fakes of the losses under the same key: the points of R2."""
        return self.generate(params, model_state, batch, key)[0]

    def made(self, params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, Array]:
        """The fakes, each of which counts alike, for :func:`aigc_jax.losses.semantic.semantic`."""
        fakes = self.fakes(params, model_state, batch, key)
        return fakes, jnp.ones(len(fakes))

    def between(self, params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> Array:
        """Points between each real example and its fake, of the WGAN gradient penalty."""
        keys = split_by_name(_keys(key, batch), "interpolate")["interpolate"]
        return interpolate(batch["example"], self.fakes(params, model_state, batch, key), keys)


def gan(
    networks: GANNetworks,
    objective: Objective,
    *,
    generator_tx: optax.GradientTransformation,
    discriminator_tx: optax.GradientTransformation,
    regularizer: LossTransform = lambda loss_fn: loss_fn,
    transform: LossTransform = lambda loss_fn: loss_fn,
    n_critic: int = 1,
    feature_matching_weight: float = 0.0,
    augment: AugmentFn | Adaptive | None = None,
    ema_decay: float | Callable[[Array], Array] | None = 0.999,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """A GAN as an :class:`aigc_jax.types.Algorithm`.

    Args:
        networks: generator and discriminator.
        objective: losses of both, from :mod:`aigc_jax.losses.adversarial`.
        generator_tx: the generator's optimiser.
        discriminator_tx: the discriminator's optimiser; end it with :func:`clip_weights` for the original
            Wasserstein GAN.
        regularizer: transform of the discriminator's loss, from :mod:`aigc_jax.losses.regularizers`.
        transform: transform of the generator's loss, such as :func:`aigc_jax.losses.semantic.semantic`.
        n_critic: discriminator updates per step. Each uses its own share of the batch, so give ``step`` a
            batch n_critic times as large as one update needs.
        feature_matching_weight: weight >= 0 of :func:`aigc_jax.losses.adversarial.feature_matching` in the
            generator's loss. In the paper it stands alone: then also pass
            ``objective._replace(generator=lambda real, fake: 0.0 * fake)``.
        augment: change of all images that the discriminator sees, real and fake, in both losses, as of
            :mod:`aigc_jax.losses.discriminator_augmentation`. R1 is then the slope at the changed real images (in
            the papers' code through the change); R2 and WGAN-GP take fakes as they are.
        ema_decay: decay of the generator's weight average, which ``sample`` uses; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` float32 [B, ...], images in [-1, 1], and, for a conditional pair,
        ``condition`` int32 [B].

    >>> from aigc_jax.losses.adversarial import non_saturating
    >>> from aigc_jax.nets.mlp import MLPDiscriminator, MLPGenerator
    >>> networks = GANNetworks(MLPGenerator((4, 4, 1), (8,), num_classes=2), MLPDiscriminator((8,), 2), 3, 2)
    >>> tx = optax.sgd(1e-3)
    >>> algorithm = gan(networks, non_saturating(), generator_tx=tx, discriminator_tx=tx)
    >>> batch = {"example": jnp.zeros((6, 4, 4, 1)), "condition": jnp.zeros(6, jnp.int32)}
    >>> state = algorithm.init(jax.random.key(0), batch)
    >>> state, metrics = jax.jit(algorithm.step)(state, batch, jax.random.key(1))
    >>> algorithm.sample(state.variables, jax.random.key(2), 5, jnp.arange(5) % 2).shape
    (5, 4, 4, 1)
    """
    augmentation = _Augmentation(augment, axis_name)

    def discriminator_loss(
        params: PyTree, model_state: PyTree, batch: Batch, key: Key
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        fake, model_state = networks.generate(params, model_state, batch, key)
        fake = augmentation.change(fake, model_state, batch, key, "augment fakes")
        (real_logits, _), model_state = networks.discriminate(params, model_state, example_of(batch), batch)
        (fake_logits, _), model_state = networks.discriminate(params, model_state, fake, batch)
        model_state, found = augmentation.adapt(model_state, real_logits)
        metrics = {"real_logits": real_logits, "fake_logits": fake_logits, **found}
        return objective.discriminator(real_logits, fake_logits), (model_state, metrics)

    def generator_loss(
        params: PyTree, model_state: PyTree, batch: Batch, key: Key
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        fake, model_state = networks.generate(params, model_state, batch, key)
        fake = augmentation.change(fake, model_state, batch, key, "augment fakes")
        (fake_logits, fake_features), model_state = networks.discriminate(params, model_state, fake, batch)
        real_logits, real_features = fake_logits, fake_features  # not used unless evaluated below
        if objective.uses_real or feature_matching_weight:
            (real_logits, real_features), model_state = networks.discriminate(
                params, model_state, batch["example"], batch
            )
        losses, metrics = objective.generator(real_logits, fake_logits), {}
        if feature_matching_weight:
            metrics["feature_matching"] = feature_matching(real_features, fake_features, axis_name=axis_name)
            losses = losses + feature_matching_weight * metrics["feature_matching"]
        return losses, (model_state, metrics)

    players = [
        Player(
            "discriminator",
            augmentation.of_real(regularizer(discriminator_loss)),
            discriminator_tx,
            num_updates=n_critic,
        ),
        Player("generator", transform(augmentation.of_real(generator_loss)), generator_tx),
    ]
    ema_names = () if ema_decay is None else ("generator",)

    def init(key: Key, batch: Batch) -> TrainState:
        params, model_state = _init(networks, key, batch, axis_name)
        return init_state(players, params, augmentation.init(model_state), ema_names=ema_names)

    return Algorithm(
        init=init,
        step=make_step(players, ema_decay=ema_decay, axis_name=axis_name, num_microbatches=num_microbatches),
        sample=_sampler(networks),
        latents=_latents(networks),
        evaluate=_evaluator(networks),
        detectors={"discriminator_logit": Detector(_critic(networks))},
    )


class _Augmentation:
    """What changes the images that a discriminator sees; its state is a part of the discriminator's."""

    NAME = "augment"

    def __init__(self, how: AugmentFn | Adaptive | None, axis_name: str | None) -> None:
        self.how, self.axis_name = how, axis_name

    def init(self, model_state: PyTree) -> PyTree:
        """With the state of an adaptive one: its probability and the mean sign of real logits."""
        if not isinstance(self.how, Adaptive):
            return model_state
        return self._with(model_state, {"p": jnp.float32(0.0), "sign": jnp.float32(0.0)})

    def _with(self, model_state: PyTree, own: PyTree) -> PyTree:
        return {**model_state, "discriminator": {**model_state["discriminator"], self.NAME: own}}

    def change(self, images: Array, model_state: PyTree, batch: Batch, key: Key, purpose: str) -> Array:
        """Images as the discriminator sees them."""
        if self.how is None:
            return images
        keys = split_by_name(_keys(key, batch), purpose)[purpose]
        if isinstance(self.how, Adaptive):
            return self.how.change(images, keys, model_state["discriminator"][self.NAME]["p"])
        return self.how(images, keys)

    def of_real(self, loss_fn: LossFn) -> LossFn:
        """The loss on changed real images."""
        if self.how is None:
            return loss_fn

        def loss(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> Any:
            real = self.change(example_of(batch), model_state, batch, key, "augment")
            return loss_fn(params, model_state, {**batch, "example": real}, key)

        return loss

    def adapt(self, model_state: PyTree, real_logits: Array) -> tuple[PyTree, Metrics]:
        """The model state with the next probability, and the metric ``augment_p``."""
        if not isinstance(self.how, Adaptive):
            return model_state, {}
        num = len(real_logits) * (1 if self.axis_name is None else jax.lax.axis_size(self.axis_name))
        sign = mean_over_axis(jnp.sign(jax.lax.stop_gradient(real_logits)).mean(), self.axis_name)
        p, sign = adapted(**model_state["discriminator"][self.NAME], batch_sign=sign, num=num, how=self.how)
        return self._with(model_state, {"p": p, "sign": sign}), {"augment_p": p}


def clip_weights(limit: float) -> optax.GradientTransformation:
    """Keep all weights in [-limit, limit], as the last link of an optimiser's chain.

    Args:
        limit: > 0; the paper uses 0.01.

    Reference:
        Arjovsky et al., "Wasserstein GAN", 2017, algorithm 1, line 7.

    >>> tx = optax.chain(optax.sgd(1.0), clip_weights(0.01))
    >>> weights = jnp.array([0.005, -0.005])
    >>> updates, _ = tx.update(jnp.array([1.0, 0.001]), tx.init(weights), weights)
    >>> optax.apply_updates(weights, updates)
    Array([-0.01 , -0.006], dtype=float32)
    """

    def update(updates: optax.Updates, state: optax.OptState, params: optax.Params | None) -> tuple[PyTree, PyTree]:
        if params is None:
            raise ValueError("clip_weights needs the parameters: call tx.update(grads, state, params)")
        return jax.tree.map(lambda u, p: jnp.clip(p + u, -limit, limit) - p, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)  # pyright: ignore


def _keys(key: Key, batch: Batch) -> Array:
    return example_keys(key, batch["index"])


def _apply(
    module: nn.Module, name: str, params: PyTree, model_state: PyTree, inputs: tuple[Array, Condition]
) -> tuple[PyTree, PyTree]:
    """Run a network in training mode; its batch statistics and spectral vectors move."""
    variables = {"params": params[name], **model_state[name]}
    output, updated = module.apply(variables, *inputs, train=True, mutable=list(model_state[name]))
    return output, {**model_state, name: updated}


def _init(networks: GANNetworks, key: Key, batch: Batch, axis_name: str | None) -> tuple[PyTree, PyTree]:
    """Initial parameters and model state of both networks; only the shapes of the batch matter."""
    keys = split_by_name(key, "generator", "discriminator")
    image, condition = example_of(batch), networks.condition(batch)
    latent = jnp.zeros((image.shape[0], networks.latent_dim))
    pair = (
        ("generator", networks.generator, latent, image.shape, "images"),
        ("discriminator", networks.discriminator, image, ((len(image),), (len(image), None)), "(logits, features)"),
    )
    variables = {
        name: init_network(
            name,
            network,
            keys[name],
            x,
            condition,
            expected=shape,
            meaning=words,
            num_classes=networks.num_classes,
            has_state=True,
            axis_name=axis_name,
            train=True,
        )
        for name, network, x, shape, words in pair
    }
    params = {name: tree["params"] for name, tree in variables.items()}
    model_state = {name: {k: v for k, v in tree.items() if k != "params"} for name, tree in variables.items()}
    return params, model_state


def _latents(networks: GANNetworks) -> Latents:
    def draw(key: Array, num_samples: int) -> Array:
        return normal(split_by_name(example_keys(key, num_samples), "latent")["latent"], (networks.latent_dim,))

    def generate(variables: Variables, latents: Array, key: Array, condition: Condition) -> Array:
        del key
        condition = as_condition(condition, len(latents), networks.num_classes)
        weights = {"params": variables["params"]["generator"], **variables["model_state"]["generator"]}
        images = networks.generator.apply(weights, latents, condition, train=False)
        assert isinstance(images, jax.Array)  # for the type checker: no mutable collections, so no tuple
        return images

    return Latents(draw, generate)


def _sampler(networks: GANNetworks) -> SampleFn:
    latents = _latents(networks)

    def sample(variables: Variables, key: Array, num_samples: int, condition: Condition = None) -> Array:
        return latents.generate(variables, latents.draw(key, num_samples), key, condition)

    return sample


def _critic(networks: GANNetworks) -> ScoreFn:
    """The negative logit: how fake the discriminator finds samples; without a condition by its unconditional part."""

    def score(variables: Variables, samples: Array, condition: Condition, keys: Keys) -> Array:
        del keys

        def alone(image: Array, condition: Condition) -> Array:
            condition = None if condition is None else condition[None]
            return -_logits(networks, variables, image[None], condition)[0]

        # Each by itself: a discriminator that compares the images of a batch would score its neighbours too.
        return jax.vmap(alone)(samples, condition)

    return score


def _logits(networks: GANNetworks, variables: Variables, images: Array, condition: Condition) -> Array:
    weights = {"params": variables["params"]["discriminator"], **variables["model_state"]["discriminator"]}
    return networks.discriminator.apply(weights, images, condition, train=False)[0]


def _evaluator(networks: GANNetworks) -> Callable[[Variables, Batch, Key], dict[str, Array]]:
    def evaluate(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        del key
        return {"discriminator_logit": _logits(networks, variables, example_of(batch), networks.condition(batch))}

    return evaluate
