"""Judges of examples: a world with an exact oracle, a classifier and its features, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from aigc_jax.data.images import IMAGE
from aigc_jax.train.worlds import modality_of, mode_names
from aigc_jax.types import Modality, UsageError, World

NO_JUDGE = "none"
"""The name of a judge without predictions."""


class Predictions(NamedTuple):
    """The predictions of a judge for N examples; None where it makes none."""

    features: Float[np.ndarray, "num feature"] | None = None
    predicted: Int[np.ndarray, " num"] | None = None
    """The class of each."""
    logits: Float[np.ndarray, "num num_classes"] | None = None
    violation: Int[np.ndarray, " num"] | None = None
    """An index of the judge's ``violation_names``."""
    log_prob: Float[np.ndarray, " num"] | None = None
    """Log density in nats."""
    second: Int[np.ndarray, " num"] | None = None
    """The class by a second classifier."""
    attributes: Mapping[str, np.ndarray] = {}
    """``{attribute: value int [N]}``, -1 for none."""


PredictFn = Callable[[np.ndarray], Predictions]
"""``examples [num, ...], as models of the judge's modality see them -> predictions``."""


class Judge(NamedTuple):
    """Judges examples, exactly (a world) or approximately (a classifier)."""

    name: str
    predict: PredictFn
    class_names: Sequence[str] = ()
    """() where it predicts no classes."""
    world: World | None = None
    encoder: str = ""
    """Name of the network whose features are compared, if it is another."""
    second_name: str = ""
    """Name of the classifier that gives a second opinion."""
    modality: Modality = IMAGE
    """The kind of examples that it sees."""
    learned_from: str = ""
    """The examples that its classifiers learned from, in words; "" where it has not learned from the data."""
    why_no_second: str = "a single classifier judges: leave --single-judge out"
    """Why there is no second opinion, where there is none."""
    why_none: str = ""
    """Why it predicts neither features nor classes; "" for a judge that does."""

    @property
    def encoder_name(self) -> str:
        """The name to give with every distance."""
        return self.encoder or self.name

    @property
    def violation_names(self) -> Sequence[str]:
        """The kinds of violations; entry 0 is ``valid``."""
        return ("valid", "off the data") if self.world is None else self.world.violation_names


def no_judge(modality: Modality, reason: str) -> Judge:
    """A judge without predictions: measurements that need none are made all the same."""
    return Judge(NO_JUDGE, lambda examples: Predictions(), modality=modality, why_none=reason)


def world_judge(world: World) -> Judge:
    """A world as a judge: exact, and examples themselves are the features, of tokens none."""
    modality = modality_of(world)

    def predict(examples: np.ndarray) -> Predictions:
        x = jnp.asarray(examples)
        attributes = {} if world.read is None else world.read(x)
        return Predictions(
            features=None if modality.distance is None else examples.reshape(len(examples), -1).astype(np.float32),
            predicted=np.asarray(world.mode(x)),
            violation=np.asarray(world.violation(x)),
            log_prob=None if world.log_prob is None else np.asarray(world.log_prob(x)),
            attributes={name: np.asarray(values) for name, values in attributes.items()},
        )

    return Judge(world.name, predict, mode_names(world), world, modality=modality)


def classifier_judge(
    name: str,
    encode_fn: Callable[[np.ndarray], Mapping[str, Any]],
    class_names: Sequence[str],
    modality: Modality = IMAGE,
) -> Judge:
    """A network as a judge: ``encode_fn`` gives ``logits`` [num, K], ``features`` [num, F] or both of examples."""

    def predict(examples: np.ndarray) -> Predictions:
        outputs = encode_fn(examples)
        features = None if "features" not in outputs else np.asarray(outputs["features"], np.float32)
        logits = _logits(name, outputs, class_names) if "logits" in outputs else None
        return Predictions(features, None if logits is None else logits.argmax(axis=-1), logits)

    return Judge(name, predict, class_names, modality=modality)


def with_second_opinion(judge: Judge, name: str, encode_fn: Callable[[np.ndarray], Mapping[str, Any]]) -> Judge:
    """A judge and a second classifier of another architecture: samples that fool one may not fool both."""

    def predict(examples: np.ndarray) -> Predictions:
        second = _logits(name, encode_fn(examples), judge.class_names).argmax(axis=-1)
        return judge.predict(examples)._replace(second=second)

    return judge._replace(predict=predict, second_name=name)


def with_features(judge: Judge, name: str, encode_fn: Callable[[np.ndarray], Mapping[str, Any]]) -> Judge:
    """A judge whose features are those of another network."""

    def predict(examples: np.ndarray) -> Predictions:
        return judge.predict(examples)._replace(features=np.asarray(encode_fn(examples)["features"], np.float32))

    return judge._replace(predict=predict, encoder=name, name=name if judge.name == NO_JUDGE else judge.name)


def _logits(name: str, outputs: Mapping[str, Any], class_names: Sequence[str]) -> np.ndarray:
    logits = np.asarray(outputs["logits"], np.float32)
    if logits.shape[-1] < len(class_names):
        raise UsageError(
            f"the data have {len(class_names)} classes, the classifier {name} has {logits.shape[-1]}: "
            "name a classifier of the same data set"
        )
    return logits
