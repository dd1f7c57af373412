"""The contracts: everything that one room of the library may know of another.

A method (a GAN, a VAE, a diffusion model) is an :class:`Algorithm`: a tuple of pure functions. It is
built from one or more :class:`Player` entries by :func:`aigc_jax.players.make_step`; the trainer, the
sampler and the report see nothing but the :class:`Algorithm`. This module imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float

PyTree = Any
"""Any nest of tuples, lists, dicts and dataclasses with arrays as leaves."""

Batch = Mapping[str, Array]
"""Named arrays that share their leading axis, for example ``image`` [B, H, W, C] and ``label`` [B]."""

Key = Array
"""One typed PRNG key, as from ``jax.random.key``: an array of shape ()."""

Keys = Array
"""One PRNG key per example: a key array of shape [B]."""

Metrics = dict[str, Array]
"""Named scalars (or per-example arrays, averaged by ``make_step``) that a step reports."""

Variables = Mapping[str, PyTree]
"""What a trained model is: ``{"params": {...}, "model_state": {...}}``, the EMA weights where there are any."""

Condition = Array | None
"""What a sample shall be: class labels int32 [B], or None for an unconditional model."""


class UsageError(ValueError):
    """A mistake that the user can mend.

    Its message is one line that says what was expected, what came and what to do. The command line prints
    it without a traceback and exits with status 2; every other exception is a defect of the library.
    """


@runtime_checkable
class LossFn(Protocol):
    """What a player minimises: a function of all parameters that returns one value per example."""

    def __call__(
        self, params: PyTree, model_state: PyTree, batch: Batch, key: Key
    ) -> tuple[Float[Array, " batch"], tuple[PyTree, Metrics]]:
        """Evaluate the loss.

        Args:
            params: the parameters of *all* players, ``{name: tree}``. ``make_step`` differentiates with
                respect to the player's own entry only, so that no ``stop_gradient`` is needed.
            model_state: the non-trained state of all players (batch statistics, spectral norm vectors),
                ``{name: tree}``. During the loss it also holds ``model_state["step"]``, the int32 number
                of steps made so far, for schedules. It must come back with the same structure.
            batch: the examples. ``batch["index"]`` (int32 [B]) is each one's index in the global batch.
            key: the key of this update. The key of an example is ``fold_in(key, batch["index"][i])``
                (:func:`aigc_jax.rng.example_keys`).

        Returns:
            The loss of each example, and ``(model_state, metrics)``. Metrics are scalars or per-example
            arrays; ``make_step`` averages them over examples and devices.
        """
        ...


LossTransform = Callable[[LossFn], LossFn]
"""A remedy of the shape loss -> loss: R1, gradient penalty, augmentation, adversarial training."""


class Player(NamedTuple):
    """Who moves, what it minimises, how it moves.

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
    """Everything that training carries from one step to the next: plain pytrees, no key inside.

    Attributes:
        step: number of steps made, int32 scalar.
        params: ``{player: parameters}``.
        opt_state: ``{player: optimiser state}``.
        model_state: ``{player: batch statistics and the like}``.
        ema_params: exponential moving average of those entries of ``params`` that it names; {} for none.
        ema_model_state: the same average of their ``model_state``: batch statistics belong to the weights that
            made them.
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


@runtime_checkable
class StepFn(Protocol):
    """One training step; ``make_step`` builds it, the trainer compiles and repeats it."""

    def __call__(self, state: TrainState, batch: Batch, key: Key) -> tuple[TrainState, Metrics]:
        """Make one step. ``key`` is the step key, ``rng.step_key(root, state.step)``."""
        ...


@runtime_checkable
class SampleFn(Protocol):
    """Draws samples from a trained model."""

    def __call__(self, variables: Variables, key: Array, num_samples: int, condition: Condition) -> Array:
        """Draw ``num_samples`` samples.

        Args:
            variables: the trained model.
            key: one key, or a key array [num_samples] with one key per sample. Sample i depends on its
                own key alone (``fold_in(key, i)`` for a single key), never on ``num_samples``.
            num_samples: how many.
            condition: int32 [num_samples], or None for an unconditional model.

        Returns:
            The samples, images as float32 [num_samples, H, W, C] in [-1, 1].
        """
        ...


@runtime_checkable
class EditFn(Protocol):
    """Changes given examples with a trained model."""

    def __call__(
        self,
        variables: Variables,
        key: Array,
        image: Array,
        condition: Condition,
        *,
        mask: Array | None = None,
        strength: float = 1.0,
    ) -> Array:
        """Change images [B, H, W, C] in [-1, 1], with one key or one per example, into what ``condition`` says.

        ``mask`` is 1 where a pixel stays, 0 where it is made up (None: all may change); the less ``strength`` in
        (0, 1], the more the result resembles the example.
        """
        ...


class Algorithm(NamedTuple):
    """A trainable model as four pure functions: all that trainer, sampler and report ever see.

    Attributes:
        init: ``(key, batch) -> TrainState``; only the shapes of ``batch`` matter.
        step: ``(state, batch, key) -> (state, metrics)``.
        sample: ``(variables, key, num_samples, condition) -> samples``, or None (a classifier has none).
        evaluate: ``(variables, batch, key) -> {name: array with one row per example}``, or None. ``key`` is one
            key, or a key array with one per example.
        encode: ``(variables, batch, key) -> latents`` [B, ...] of a model with an encoder, or None.
        decode: ``(variables, latents, condition) -> samples``, or None.
        edit: changes given examples, see :class:`EditFn`, or None.
    """

    init: Callable[[Key, Batch], TrainState]
    step: StepFn
    sample: SampleFn | None = None
    evaluate: Callable[[Variables, Batch, Array], dict[str, Array]] | None = None
    encode: Callable[[Variables, Batch, Array], Array] | None = None
    decode: Callable[[Variables, Array, Condition], Array] | None = None
    edit: EditFn | None = None


class Metric(NamedTuple):
    """A streaming metric: pure functions, batching-invariant, ``merge(init(), a) == a``.

    Attributes:
        init: ``() -> state`` of no examples.
        update: ``(state, *arrays) -> state`` with the examples of one batch added.
        merge: ``(state, state) -> state`` of both sets of examples.
        compute: ``state -> dict`` of named results.
    """

    init: Callable[[], Any]
    update: Callable[..., Any]
    merge: Callable[[Any, Any], Any]
    compute: Callable[[Any], dict[str, Any]]


@runtime_checkable
class DataSource(Protocol):
    """Random access to examples: numpy arrays by index, in any order, from any process."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """The example at ``index``, for example ``{"image": uint8 [H, W, C], "label": int32 []}``."""
        ...


class Data(NamedTuple):
    """An opened data set.

    Attributes:
        name: as given on the command line, ``digits``, ``tfds:mnist``, ``folder:DIR``.
        train: the examples to train on.
        held_out: examples that no training sees.
        class_names: what the labels 0 ... K-1 are called; () where there are no labels.
    """

    name: str
    train: DataSource
    held_out: DataSource
    class_names: Sequence[str]


class World(NamedTuple):
    """Data with a decidable truth: examples without end, and a judgement of any sample that needs no model.

    Attributes:
        name: as in configs and reports, ``world:ring8``.
        num_modes: K, the number of modes; they are the conditions.
        mode_weights: the probability of each mode.
        violation_names: what can be wrong with a sample; entry 0 is ``valid``.
        sample: ``(key or keys, num_samples, condition int32 [num_samples] or None) -> examples [num_samples, ...]``;
            condition None draws the modes too. Example i depends on its own key alone.
        violation: ``examples [N, ...] -> int32 [N]``, an index of ``violation_names``; 0 where nothing is wrong.
        mode: ``examples [N, ...] -> int32 [N]``, the mode that each is of or nearest to.
        log_prob: ``examples [N, ...] -> log density in nats [N]``, or None where it is not known.
    """

    name: str
    num_modes: int
    mode_weights: Sequence[float]
    violation_names: Sequence[str]
    sample: Callable[[Array, int, Condition], Array]
    violation: Callable[[Array], Array]
    mode: Callable[[Array], Array]
    log_prob: Callable[[Array], Array] | None = None

    def is_valid(self, examples: Array) -> Array:
        """Whether nothing is wrong with each example: bool [N]."""
        return self.violation(examples) == 0


class Experiment(NamedTuple):
    """What the ``build(config)`` of a config file returns.

    Attributes:
        algorithm: the model and how it is trained.
        open_data: opens the data set; called by commands that need it, and by none that do not.
        batch_spec: shape and dtype of one batch as ``jax.ShapeDtypeStruct`` leaves, for ``algorithm.init``.
        num_classes: the conditions are 0 ... num_classes - 1; None for an unconditional model.
        world: what judges samples, for data of which the truth is decidable; None where a classifier must.
    """

    algorithm: Algorithm
    open_data: Callable[[], Data]
    batch_spec: Mapping[str, jax.ShapeDtypeStruct]
    num_classes: int | None = None
    world: World | None = None

    @property
    def example_name(self) -> str:
        """What the model's examples are called, the entry of ``batch_spec`` that is no label: ``image``, ``point``."""
        return next(name for name in self.batch_spec if name != "label")


DenoiseFn = Callable[[Array, Array, Condition], Array]
"""``(x_t, t, condition) -> x_0``: a denoiser, whatever it was trained to predict."""

Guidance = Callable[[DenoiseFn], DenoiseFn]
"""A remedy of the shape denoiser -> denoiser; composes like ``optax.chain``."""
