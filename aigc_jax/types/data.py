"""What a model is trained and measured on: examples, worlds of a decidable truth, experiments, metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array

from aigc_jax.types.algorithm import Algorithm, ExactDenoiseFn
from aigc_jax.types.base import Condition
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
        class_names: what the labels 0 ... K-1 are called; () where there are no labels.
        remarks: what a user needs to know of how it was opened, such as files that were passed over.
        checksum: changes with the examples, and not with where they lie; None to compute it from examples.
    """

    name: str
    train: DataSource
    held_out: DataSource
    class_names: Sequence[str]
    remarks: Sequence[str] = ()
    checksum: str | None = None


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
        denoise: ``(x_t [N, ...], alpha [N], sigma [N], condition or None) -> E[x_0 | x_t]`` of the world itself, for
            x_t = alpha x_0 + sigma epsilon: the perfect denoiser, or None where it is not known.
        withheld: modes that training data never show, so that a model must combine what it knows; () for none.
        attributes: ``{attribute: names of its values}`` of all that an example shows beside its mode, or that modes
            combine; {} for nothing.
        mode_attributes: ``{attribute: int32 [num_modes]}``: the value that each mode demands; modes leave those
            attributes free that are not in it.
        read: ``examples [N, ...] -> {attribute: int32 [N]}``: the value that each example shows, -1 for none.
    """

    name: str
    num_modes: int
    mode_weights: Sequence[float]
    violation_names: Sequence[str]
    sample: Callable[[Array, int, Condition], Array]
    violation: Callable[[Array], Array]
    mode: Callable[[Array], Array]
    log_prob: Callable[[Array], Array] | None = None
    denoise: ExactDenoiseFn | None = None
    withheld: Sequence[int] = ()
    attributes: Mapping[str, Sequence[str]] = {}
    mode_attributes: Mapping[str, np.ndarray] = {}
    read: Callable[[Array], dict[str, Array]] | None = None

    def is_valid(self, examples: Array) -> Array:
        """Whether nothing is wrong with each example: bool [N]."""
        return self.violation(examples) == 0


class Experiment(NamedTuple):
    """What the ``build(config)`` of a config file returns.

    Attributes:
        algorithm: the model and how it is trained.
        open_data: opens the data set; called by commands that need it, and by none that do not.
        batch_spec: shape and dtype of one batch as ``jax.ShapeDtypeStruct`` leaves, for ``algorithm.init``: ``example``
            and, for a conditional model, ``condition``.
        modality: the kind of its examples.
        conditions: what samples can be asked for; None for an unconditional model.
        world: judges samples exactly, for data of which the truth is decidable; None where a model must.
        judges: names of the configs of classifiers that judge samples, trained on the same data: the first gives
            features too, the second a second opinion; () where none can.
    """

    algorithm: Algorithm
    open_data: Callable[[], Data]
    batch_spec: Mapping[str, jax.ShapeDtypeStruct]
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
        """What the algorithm is given for numbered conditions, see :attr:`Conditions.array`; None for None."""
        return None if ids is None or self.conditions is None else self.conditions.array(ids)
