"""A reader of attributes: a network that gives probabilities of the values of each, trained on what a world reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array

from aigc_jax.algorithms.networks import example_of
from aigc_jax.losses.augmentation import AugmentFn
from aigc_jax.players import single_player
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Algorithm, Batch, Key, LossTransform, Metrics, PyTree, Readings, Variables

NAME = "reader"

LOGITS = "attribute_logits"
"""Entry of ``evaluate``: the logits of all values of all attributes, one attribute after the other."""


def attribute_reader(
    net: nn.Module,
    readings: Readings,
    tx: optax.GradientTransformation,
    *,
    transform: LossTransform = lambda loss_fn: loss_fn,
    augment: AugmentFn = lambda examples, keys: examples,
    ema_decay: float | Callable[[Array], Array] | None = None,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """A reader of attributes as an :class:`aigc_jax.types.Algorithm`.

    A world reads attributes exactly, but without a gradient, and malformed examples not at all. A network that has
    learned from it guides and trains other models; an example of the batch that the world cannot read counts for
    nothing.

    Args:
        net: Linen module ``examples -> (logits [B, K], features [B, F])``, K the number of values of all attributes.
        readings: attributes, and how a world reads them.
        tx: the optimiser.
        transform: transform of the loss, before the world reads.
        augment: change of the examples after the world has read them, such as noise.
        ema_decay: decay of the weight average that is used for evaluation; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` [B, ...]. ``evaluate`` gives ``attribute_logits`` [B, K], and
        ``nll`` (nats, all attributes together) and ``is_correct`` (all of them). ``sample`` is None.

    >>> import jax
    >>> from aigc_jax.nets.classifier import ConvClassifier
    >>> readings = Readings({"white": ("no", "yes")}, lambda x: {"white": (x.mean(axis=(1, 2, 3)) > 0).astype(int)})
    >>> algorithm = attribute_reader(ConvClassifier(2, (4,), 8), readings, optax.sgd(1e-3))
    >>> batch = {"example": jnp.ones((3, 8, 8, 1))}
    >>> state = algorithm.init(jax.random.key(0), batch)
    >>> algorithm.evaluate(state.variables, batch, jax.random.key(0))["attribute_logits"].shape
    (3, 2)
    """
    ends = jnp.cumsum(jnp.array([len(values) for values in readings.attributes.values()]))[:-1]

    def compared(logits: Array, examples: Array) -> tuple[Array, Array]:
        """Nats of each example, and whether all attributes are right."""
        found = readings.read(examples)
        losses, rights = [], []
        for name, own in zip(readings.attributes, jnp.split(logits, ends.tolist(), axis=-1), strict=True):
            truth = found[name]
            loss = optax.softmax_cross_entropy_with_integer_labels(own, jnp.maximum(truth, 0))
            losses.append(jnp.where(truth >= 0, loss, 0.0))
            rights.append(jnp.argmax(own, axis=-1) == truth)
        return jnp.stack(losses).sum(axis=0), jnp.stack(rights).all(axis=0)

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        keys = split_by_name(example_keys(key, batch["index"]), "augment after reading")["augment after reading"]
        logits, _ = net.apply({"params": params[NAME]}, augment(batch["example"], keys))
        losses, accuracy = compared(logits, batch["example"])
        return losses, (model_state, {"accuracy": accuracy})

    def evaluate(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        del key
        logits, _ = net.apply({"params": variables["params"][NAME]}, example_of(batch))
        losses, is_correct = compared(logits, batch["example"])
        return {LOGITS: logits, "nll": losses, "is_correct": is_correct}

    transformed = transform(loss_fn)

    def checked_loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> Any:
        example_of(batch)  # before the transform, which may change the dtype
        return transformed(params, model_state, batch, key)

    def init_fn(key: Key, batch: Batch) -> PyTree:
        return net.init(key, example_of(batch))["params"]

    options: Any = {"ema_decay": ema_decay, "num_microbatches": num_microbatches, "axis_name": axis_name}
    init, step = single_player(NAME, checked_loss_fn, tx, init_fn, **options)
    return Algorithm(init=init, step=step, evaluate=evaluate)
