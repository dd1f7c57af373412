"""Basic types of the contracts: arrays, players of a game and their state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import optax
from flax import struct
from jaxtyping import Array, Float

PyTree = Any
"""Any nest of tuples, lists, dicts and dataclasses with arrays as leaves."""

Batch = Mapping[str, Array]
"""Arrays that share their leading axis: ``example`` [B, ...] and, where there are conditions, ``condition`` [B]."""

Key = Array
"""One typed PRNG key, as from ``jax.random.key``: an array of shape ()."""

Keys = Array
"""One PRNG key per example: a key array of shape [B]."""

Metrics = dict[str, Array]
"""Named scalars (or per-example arrays, averaged by ``make_step``) that a step reports."""

Variables = Mapping[str, PyTree]
"""A trained model: ``{"params": {...}, "model_state": {...}}``, the EMA weights where there are any."""

Condition = PyTree
"""The condition of each sample: class labels int32 [B], arrays of prompts, or None for an unconditional model."""


NUM_TOKENS = "num_tokens"
"""Number of tokens of each example, in ``evaluate`` of a model over tokens."""


NUM_BYTES = "num_bytes"
"""Number of bytes of each example, in ``evaluate`` of a model of text."""


class Weighted(NamedTuple):
    """Losses of examples with unequal weights, such as sequences of different lengths.

    ``make_step`` minimises sum(weight * loss) / sum(weight) over the whole batch: exactly so over micro-batches and
    devices, however the weights are spread over them.
    """

    loss: Array  # of each example [B]; of a sequence, the mean over its tokens
    weight: Array  # of each example [B], >= 0; of a sequence, its number of tokens


@runtime_checkable
class LossFn(Protocol):
    """The loss of a player: a function of all parameters that returns one value per example."""

    def __call__(
        self, params: PyTree, model_state: PyTree, batch: Batch, key: Key
    ) -> tuple[Float[Array, " batch"] | Weighted, tuple[PyTree, Metrics]]:
        """Evaluate the loss.

        Args:
            params: the parameters of *all* players, ``{name: tree}``. ``make_step`` differentiates with respect to the
                player's own entry only, so that no ``stop_gradient`` is needed.
            model_state: the non-trained state of all players (batch statistics, spectral norm vectors), ``{name:
                tree}``. During the loss it also holds ``model_state["step"]``, the int32 number of steps made so far,
                for schedules. The returned one has the same structure.
            batch: the examples. ``batch["index"]`` (int32 [B]) is each one's index in the global batch.
            key: the key of this update. The key of an example is ``fold_in(key, batch["index"][i])``
                (:func:`aigc_jax.rng.example_keys`).

        Returns:
            The loss of each example, with its weight where weights differ (:class:`Weighted`), and ``(model_state,
            metrics)``. Metrics are scalars or per-example arrays; ``make_step`` averages them over examples and
            devices.
        """
        ...


LossTransform = Callable[[LossFn], LossFn]
"""A remedy of the shape loss -> loss: R1, gradient penalty, augmentation, adversarial training."""


class Player(NamedTuple):
    """A player of a game: its loss and its optimiser.

    Attributes:
        name: its entry in ``params``, ``opt_state`` and ``model_state``; ``step`` is reserved.
        loss_fn: its loss, see :class:`LossFn`.
        tx: its optimiser. Gradient clipping belongs here: ``optax.chain(optax.clip_by_global_norm(1.0), ...)``.
        num_updates: updates per step, n_critic for the discriminator of a Wasserstein GAN.
    """

    name: str
    loss_fn: LossFn
    tx: optax.GradientTransformation
    num_updates: int = 1


class TrainState(struct.PyTreeNode):
    """The state of training between steps: plain pytrees, no key inside.

    Attributes:
        step: number of steps made, int32 scalar.
        params: ``{player: parameters}``.
        opt_state: ``{player: optimiser state}``.
        model_state: ``{player: batch statistics, spectral vectors}``.
        ema_params: exponential moving average of those entries of ``params`` that it names; {} for none.
        ema_model_state: the same average of their ``model_state``: batch statistics belong to their weights.
    """

    # Not Int[Array, ""]: a tree of shapes, of numpy arrays or of shardings is built of this class too.
    step: PyTree
    params: PyTree
    opt_state: PyTree
    model_state: PyTree
    ema_params: PyTree
    ema_model_state: PyTree = struct.field(default_factory=dict)

    @property
    def variables(self) -> Variables:
        """The weights to sample with: the averaged ones where an average is kept."""
        return {
            "params": {**self.params, **self.ema_params},
            "model_state": {**self.model_state, **self.ema_model_state},
        }
