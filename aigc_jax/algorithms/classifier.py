"""A classifier: a game of one player that generates nothing, but judges samples."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array

from aigc_jax.algorithms.finetuning import finetuned
from aigc_jax.algorithms.networks import example_of
from aigc_jax.nets.adapters import Adapter
from aigc_jax.players import single_player
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Algorithm, Batch, Key, LossTransform, Metrics, PyTree, Variables

NAME = "classifier"

KINDS = (jnp.floating, jnp.signedinteger)
"""Numbers that a network may take: bytes are images as stored, on which it would train in another unit."""


def classifier(
    net: nn.Module,
    tx: optax.GradientTransformation,
    *,
    transform: LossTransform = lambda loss_fn: loss_fn,
    has_dropout: bool = False,
    adapter: Adapter | None = None,
    ema_decay: float | None = None,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """A classifier of images or texts, trained by cross-entropy, as an :class:`aigc_jax.types.Algorithm`.

    Args:
        net: Linen module ``examples -> (logits [B, K], features [B, F])``.
        tx: the optimiser.
        transform: transform of the loss, for example :func:`aigc_jax.losses.augmentation.augmented`.
        has_dropout: whether ``net`` takes ``keys`` in training, one dropout key per example.
        adapter: what is trained in place of the network, see :mod:`aigc_jax.algorithms.finetuning`; None for all.
        ema_decay: decay of the weight average that is used for evaluation; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` [B, ...] and ``condition`` int32 [B]. ``evaluate`` gives
        ``logits`` [B, K] and ``features`` [B, F] and, where the batch has labels, ``nll`` (nats) and
        ``is_correct``. ``sample`` is None.

    >>> import jax
    >>> from aigc_jax.nets.classifier import ConvClassifier
    >>> algorithm = classifier(ConvClassifier(2, (4,), 8), optax.sgd(1e-3))
    >>> batch = {"example": jnp.zeros((3, 8, 8, 1)), "condition": jnp.zeros(3, jnp.int32)}
    >>> state = algorithm.init(jax.random.key(0), batch)
    >>> algorithm.evaluate(state.variables, batch, jax.random.key(0))["features"].shape
    (3, 8)
    """

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        options: Any = {}
        if has_dropout:
            options["keys"] = split_by_name(example_keys(key, batch["index"]), "dropout")["dropout"]
        logits, _ = net.apply({"params": params[NAME]}, batch["example"], **options)
        accuracy = jnp.argmax(logits, axis=-1) == batch["condition"]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["condition"])
        return losses, (model_state, {"accuracy": accuracy})

    def evaluate(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        del key
        logits, features = net.apply({"params": variables["params"][NAME]}, example_of(batch, *KINDS))
        rows = {"logits": logits, "features": features}
        if "condition" in batch:
            rows["nll"] = optax.softmax_cross_entropy_with_integer_labels(logits, batch["condition"])
            rows["is_correct"] = jnp.argmax(logits, axis=-1) == batch["condition"]
        return rows

    transformed = transform(loss_fn)

    def checked_loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> Any:
        example_of(batch, *KINDS)  # before the transform, which may change the dtype
        return transformed(params, model_state, batch, key)

    def init_fn(key: Key, batch: Batch) -> PyTree:
        return net.init(key, example_of(batch, *KINDS))["params"]

    options: Any = {"ema_decay": ema_decay, "num_microbatches": num_microbatches, "axis_name": axis_name}
    init, step = single_player(NAME, checked_loss_fn, tx, init_fn, **options)
    algorithm = Algorithm(init=init, step=step, evaluate=evaluate)
    if adapter is None:
        return algorithm
    return finetuned(algorithm, NAME, checked_loss_fn, tx, init_fn, adapter, **options)
