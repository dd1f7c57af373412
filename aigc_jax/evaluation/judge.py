"""Judges of samples: a world with an exact oracle, or a classifier and its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from aigc_jax.data.images import IMAGE
from aigc_jax.train.worlds import modality_of
from aigc_jax.types import Modality, UsageError, World


class Predictions(NamedTuple):
    """What a judge says of N examples.

    Attributes:
        features: where they lie, float32 [N, F].
        predicted: the class that each shows, int [N], or None.
        logits: of the classes [N, K], or None.
        violation: what is wrong with each, an index of the judge's ``violation_names``, or None.
        log_prob: log density of each in nats, or None.
        second: the class that a second judge sees in each, int [N], or None.
        attributes: ``{attribute: int [N]}``, the value that each shows, -1 for none.
    """

    features: Float[np.ndarray, "num feature"]
    predicted: Int[np.ndarray, " num"] | None = None
    logits: Float[np.ndarray, "num num_classes"] | None = None
    violation: Int[np.ndarray, " num"] | None = None
    log_prob: Float[np.ndarray, " num"] | None = None
    second: Int[np.ndarray, " num"] | None = None
    attributes: Mapping[str, np.ndarray] = {}


@runtime_checkable
class PredictFn(Protocol):
    """Shows examples to a judge."""

    def __call__(self, examples: np.ndarray) -> Predictions:
        """``examples float32 [num, ...] -> what is said of each``."""
        ...


class Judge(NamedTuple):
    """What knows good examples from bad ones, by proof (a world) or by experience (a classifier).

    Attributes:
        name: of the world, or of the classifier and encoder: every distance is named with it.
        predict: shows it examples.
        class_names: what the classes are called; () where it knows none.
        world: the world, where the truth is decidable; None for a classifier.
        encoder: the network whose features are compared, if it is another.
        second_name: of the classifier that gives a second opinion; "" for none.
        modality: the kind of examples that it sees.
    """

    name: str
    predict: PredictFn
    class_names: Sequence[str] = ()
    world: World | None = None
    encoder: str = ""
    second_name: str = ""
    modality: Modality = IMAGE

    @property
    def encoder_name(self) -> str:
        """The name to give with every distance."""
        return self.encoder or self.name

    @property
    def violation_names(self) -> Sequence[str]:
        """What can be wrong with an example; entry 0 is ``valid``."""
        return ("valid", "off the data") if self.world is None else self.world.violation_names


def world_judge(world: World) -> Judge:
    """A world as a judge: it decides what is valid, and examples themselves are the features.

    Args:
        world: the world.

    Returns:
        The judge.

    >>> from aigc_jax.worlds.mixture import ring
    >>> world_judge(ring()).predict(np.zeros((1, 2), np.float32)).violation
    array([2], dtype=int32)
    """

    def predict(examples: np.ndarray) -> Predictions:
        x = jnp.asarray(examples)
        log_prob = None if world.log_prob is None else np.asarray(world.log_prob(x))
        attributes = {} if world.read is None else world.read(x)
        return Predictions(
            examples.reshape(len(examples), -1).astype(np.float32),
            predicted=np.asarray(world.mode(x)),
            violation=np.asarray(world.violation(x)),
            log_prob=log_prob,
            attributes={name: np.asarray(values) for name, values in attributes.items()},
        )

    names = [f"mode {index}" for index in range(world.num_modes)]
    return Judge(world.name, predict, names, world, modality=modality_of(world))


def classifier_judge(
    name: str, encode_fn: Callable[[np.ndarray], Mapping[str, Any]], class_names: Sequence[str]
) -> Judge:
    """A classifier as a judge: a stand-in for the truth, wrong as often as it is wrong on real images.

    Args:
        name: of the classifier, for ``FD[name]``.
        encode_fn: ``images -> {"logits": [num, K], "features": [num, F]}``.
        class_names: what its classes are called.

    Returns:
        The judge.
    """

    def predict(examples: np.ndarray) -> Predictions:
        said = encode_fn(examples)
        logits = _logits(name, said, class_names)
        return Predictions(np.asarray(said["features"], np.float32), logits.argmax(axis=-1), logits)

    return Judge(name, predict, class_names)


def with_second_opinion(judge: Judge, name: str, encode_fn: Callable[[np.ndarray], Mapping[str, Any]]) -> Judge:
    """A judge beside whom a classifier of another architecture says what it sees: who pleases one may not please both.

    Args:
        judge: the first; all else remains its word.
        name: of the second classifier.
        encode_fn: ``images -> {"logits": [num, K]}`` of the second, which need have no features.

    Returns:
        The judge.

    >>> blind = lambda images: {"logits": np.eye(2)[[0] * len(images)], "features": images}
    >>> contrary = lambda images: {"logits": np.eye(2)[[1] * len(images)]}
    >>> both = with_second_opinion(classifier_judge("blind", blind, ["a", "b"]), "contrary", contrary)
    >>> both.predict(np.zeros((3, 1))).predicted, both.predict(np.zeros((3, 1))).second
    (array([0, 0, 0]), array([1, 1, 1]))
    """

    def predict(examples: np.ndarray) -> Predictions:
        second = _logits(name, encode_fn(examples), judge.class_names).argmax(axis=-1)
        return judge.predict(examples)._replace(second=second)

    return judge._replace(predict=predict, second_name=name)


def _logits(name: str, said: Mapping[str, Any], class_names: Sequence[str]) -> np.ndarray:
    """What a classifier says of each class, of which it must know as many as the data."""
    logits = np.asarray(said["logits"], np.float32)
    if logits.shape[-1] < len(class_names):
        raise UsageError(
            f"the data have {len(class_names)} classes, the classifier {name} has {logits.shape[-1]}: "
            "name a classifier of the same data set"
        )
    return logits
