"""Data sets, worlds with an exact oracle, experiments and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array

from aigc_jax.types.algorithm import Algorithm, ExactDenoiseFn
from aigc_jax.types.base import Condition, PyTree
from aigc_jax.types.modality import Conditions, Modality


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
        """The example at ``index``, for example ``image`` uint8 [H, W, C] and ``label`` int32 []."""
        ...


class Data(NamedTuple):
    """An opened data set.

    Attributes:
        name: as in reports, ``digits``, ``tfds:mnist``, ``folder:NAME``.
        train: the examples to train on.
        held_out: examples that no training sees.
        class_names: names of the labels 0 ... K-1; () where there are no labels.
        remarks: how it was opened, for the user, such as files that were passed over.
        for_judges: examples that neither the generator nor an evaluation sees, for classifiers to learn from; None for
            none.
        checksum: changes with the examples, and not with their place; None to compute it from examples.
    """

    name: str
    train: DataSource
    held_out: DataSource
    class_names: Sequence[str]
    remarks: Sequence[str] = ()
    checksum: str | None = None
    for_judges: DataSource | None = None


class Readings(NamedTuple):
    """Attributes that rules speak of, see :mod:`aigc_jax.rules.formula`."""

    attributes: Mapping[str, Sequence[str]]  # {attribute: names of its values}
    read: Callable[[Array], dict[str, Array]]  # examples -> {attribute: index of its value, int32 [N]}, -1 for none
    groups: Mapping[str, Sequence[str]] = {}  # {name: attributes}, such as the cells of a row


class World(NamedTuple):
    """A synthetic data set with an exact oracle: unlimited examples, and a judgement of any sample without a model.

    Example i of ``sample`` depends on its own key alone; condition None draws the modes too. Modes leave those
    attributes free that are not in ``mode_attributes``.
    """

    name: str  # as in configs and reports, ``world:ring8``
    num_modes: int  # K; modes are the conditions
    mode_weights: Sequence[float]  # probabilities
    violation_names: Sequence[str]  # entry 0 is ``valid``
    sample: Callable[[Array, int, Condition], Array]  # (key or keys, num_samples, condition) -> examples
    violation: Callable[[Array], Array]  # examples [N, ...] -> index of violation_names, int32 [N]
    mode: Callable[[Array], Array]  # examples [N, ...] -> own or nearest mode, int32 [N]
    modality: str  # name of the kind of its examples: ``image``, ``point`` or ``tokens``
    log_prob: Callable[[Array], Array] | None = None  # examples [N, ...] -> log density in nats [N], if known
    denoise: ExactDenoiseFn | None = None  # the exact denoiser, if known
    withheld: Sequence[int] = ()  # legal modes that are not in the training data
    attributes: Mapping[str, Sequence[str]] = {}  # {attribute: names of its values}, combined or left free by modes
    mode_attributes: Mapping[str, np.ndarray] = {}  # {attribute: value of each mode, int32 [num_modes]}
    read: Callable[[Array], dict[str, Array]] | None = None  # examples -> {attribute: int32 [N]}, -1 for unreadable
    mode_names: Sequence[str] = ()  # of the modes; () for numbers
    vocabulary: Sequence[bytes] = ()  # what each token but the last, the boundary, spells; () for bytes
    statements: Callable[[], np.ndarray] | None = None  # all possible examples by question and answer, int32 [Q, A, L]
    parts: Readings | None = None  # finer attributes than these, such as the digit of each cell

    @property
    def readings(self) -> Readings | None:
        """The attributes that rules speak of: the finest; None for a world without any."""
        return Readings(self.attributes, self.read) if self.parts is None and self.read is not None else self.parts

    def is_valid(self, examples: Array) -> Array:
        """Whether each example has no violation: bool [N]."""
        return self.violation(examples) == 0


class Experiment(NamedTuple):
    """The result of ``build(config)`` of a config file.

    Attributes:
        algorithm: the model and its training.
        open_data: opens the data set; called only by commands that need it.
        batch_spec: shape and dtype of one batch as ``jax.ShapeDtypeStruct`` leaves, as ``algorithm.init`` takes it:
            ``example`` and, for a conditional model, ``condition``, of the shape that ``conditions.array`` gives.
        modality: the kind of its examples.
        conditions: of its samples; None for an unconditional model.
        world: exact judge of samples; None for data without one.
        judges: names of the configs of classifiers that judge samples, trained on the same data: the first gives
            features too, the second a second opinion; () for none.
    """

    algorithm: Algorithm
    open_data: Callable[[], Data]
    batch_spec: Mapping[str, PyTree]
    modality: Modality
    conditions: Conditions | None = None
    world: World | None = None
    judges: Sequence[str] = ()

    @property
    def num_conditions(self) -> int | None:
        """Number of conditions; None for an unconditional model."""
        return None if self.conditions is None else len(self.conditions.names)

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one example, as the model sees it."""
        return self.batch_spec["example"].shape[1:]

    def condition_ids(self, start: int, num: int) -> np.ndarray | None:
        """The conditions in turn, see :meth:`Conditions.ids`; None for an unconditional model."""
        return None if self.conditions is None else self.conditions.ids(start, num)

    def to_condition(self, ids: Array | None) -> Condition:
        """The algorithm's input for numbered conditions, see :attr:`Conditions.array`; None for None."""
        return None if ids is None or self.conditions is None else self.conditions.array(ids)

    def to_batch(self, loaded: Mapping[str, Any]) -> Mapping[str, Any]:
        """A batch as the algorithm takes it: the condition numbers of a loaded one replaced by the conditions.

        The trainer calls it within the compiled step. A training loop of your own does the same, with batches of
        :func:`aigc_jax.data.pipeline.batches`: ``algorithm.step(state, experiment.to_batch(batch), key)``.
        """
        if self.conditions is None or "condition" not in loaded:
            return loaded
        return {**loaded, "condition": self.conditions.array(loaded["condition"])}
