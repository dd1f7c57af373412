"""What a report looks at: a model as functions of sample numbers, and a judge of examples, as one shape for all.

A GAN, a VAE and a diffusion model differ in which of these functions they have; what one lacks the report leaves out
and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from aigc_jax.types import UsageError, World

Sampler = Callable[[int, np.ndarray | None, int], Any]
"""``(start, condition int32 [num] or None, num) -> examples`` of the samples start ... start + num - 1."""

Scorer = Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]
"""``(examples [num, ...], condition or None, start) -> score [num]``; higher is less reliable."""

Tracer = Callable[[int, np.ndarray | None, int], tuple[np.ndarray, dict[str, np.ndarray]]]
"""A :data:`Sampler` that also gives ``{detector: score [num]}`` of each sample's making."""


Reconstructor = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""``(images float32 [num, H, W, C] in [-1, 1], condition or None) -> what comes back of them``."""


class Counterpart(NamedTuple):
    """The model with one thing changed: sample i has the noise and the condition of the model's own sample i.

    Attributes:
        measurement: the measurement it is for, ``checkpoint_consistency`` say.
        title: what was changed: "checkpoint of step 1250".
        sample_fn: draws the counterparts.
    """

    measurement: str
    title: str
    sample_fn: Sampler


class Variant(NamedTuple):
    """The model at one point of a sweep.

    Attributes:
        sweep: which figure it belongs to: ``sampler``, ``guidance``, ``truncation``.
        series: which curve of it: the name of the sampler.
        x: where on the axis: number of evaluations, guidance weight.
        sample_fn: draws samples.
        is_ideal: whether the world's own exact denoiser takes the place of the network: the floor.
    """

    sweep: str
    series: str
    x: float
    sample_fn: Sampler
    is_ideal: bool = False


class Repeat(NamedTuple):
    """The same samples, computed another way.

    Attributes:
        title: what was different: "batches of 16".
        sample_fn: draws them.
        tolerance: largest difference that rounding explains; 0 where results must be equal bit for bit.
        num: how many samples are repeated.
        is_judged: whether a difference lights the light, or is only told: another compilation may round otherwise.
        gross: a difference that no rounding explains. Where given, the light is judged by it in place of the
            tolerance: lit where more than half of the samples differ by more, as those do that see their neighbours.
        is_eight_bit: whether they come from a file of 8 bits: the samples are rounded so before they are compared.
    """

    title: str
    sample_fn: Sampler
    tolerance: float = 0.0
    num: int = 64
    is_eight_bit: bool = False
    is_judged: bool = True
    gross: float | None = None


class Scored(NamedTuple):
    """A detector of given samples.

    Attributes:
        name: what it is called.
        score_fn: scores samples.
        is_typical_best: see :class:`aigc_jax.types.Detector`.
    """

    name: str
    score_fn: Scorer
    is_typical_best: bool = False


class Subject(NamedTuple):
    """The model that is measured.

    Attributes:
        sample_fn: draws its samples.
        num_classes: conditions are 0 ... num_classes - 1; None for an unconditional model.
        withheld: conditions that its training data never showed.
        repeats: the same samples once more, for determinism.
        counterparts: the model with one thing changed.
        detectors: what scores given samples.
        trace_fn: samples with scores of their making, or None.
        variants: points of sweeps.
        guidance: the guidance weight that its samples are drawn with; None for a model without guidance.
        takes_rescaling: whether guidance can be rescaled, and kept to an interval of noise levels.
        path_lengths: lengths [num] of the path in feature space per unit of latent, or None.
        latent_changes: changes [num, ...] of the first samples per unit of their latents, or None.
        accuracy_fn: ``(images, condition) -> {"accuracy_from_samples", "accuracy_on_samples"}`` as (right, n), or None.
        reconstruct: encodes images and decodes them again, or None where the model cannot.
        left_out: ``{name: why the model has no such thing}``.
    """

    sample_fn: Sampler
    num_classes: int | None = None
    withheld: Sequence[int] = ()
    repeats: Sequence[Repeat] = ()
    counterparts: Sequence[Counterpart] = ()
    detectors: Sequence[Scored] = ()
    trace_fn: Tracer | None = None
    variants: Sequence[Variant] = ()
    guidance: float | None = None
    takes_rescaling: bool = False
    path_lengths: Callable[[int], np.ndarray] | None = None
    latent_changes: Callable[[int], np.ndarray] | None = None
    accuracy_fn: Callable[[np.ndarray, np.ndarray], Mapping[str, tuple[int, int]]] | None = None
    reconstruct: Reconstructor | None = None
    left_out: Mapping[str, str] = {}


class Verdicts(NamedTuple):
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
class LookFn(Protocol):
    """Shows examples to a judge."""

    def __call__(self, examples: np.ndarray) -> Verdicts:
        """``examples float32 [num, ...] -> what is said of each``."""
        ...


class Judge(NamedTuple):
    """What knows good examples from bad ones, by proof (a world) or by experience (a classifier).

    Attributes:
        name: of the world, or of the classifier and encoder: every distance is named with it.
        look: shows it examples.
        class_names: what the classes are called; () where it knows none.
        world: the world, where the truth is decidable; None for a classifier.
        encoder: the network whose features are compared, if it is another.
        second_name: of the classifier that gives a second opinion; "" for none.
    """

    name: str
    look: LookFn
    class_names: Sequence[str] = ()
    world: World | None = None
    encoder: str = ""
    second_name: str = ""

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
    >>> world_judge(ring()).look(np.zeros((1, 2), np.float32)).violation
    array([2], dtype=int32)
    """

    def look(examples: np.ndarray) -> Verdicts:
        x = jnp.asarray(examples)
        log_prob = None if world.log_prob is None else np.asarray(world.log_prob(x))
        attributes = {} if world.read is None else world.read(x)
        return Verdicts(
            examples.reshape(len(examples), -1).astype(np.float32),
            predicted=np.asarray(world.mode(x)),
            violation=np.asarray(world.violation(x)),
            log_prob=log_prob,
            attributes={name: np.asarray(values) for name, values in attributes.items()},
        )

    return Judge(world.name, look, [f"mode {index}" for index in range(world.num_modes)], world)


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

    def look(examples: np.ndarray) -> Verdicts:
        said = encode_fn(examples)
        logits = _logits(name, said, class_names)
        return Verdicts(np.asarray(said["features"], np.float32), logits.argmax(axis=-1), logits)

    return Judge(name, look, class_names)


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
    >>> both.look(np.zeros((3, 1))).predicted, both.look(np.zeros((3, 1))).second
    (array([0, 0, 0]), array([1, 1, 1]))
    """

    def look(examples: np.ndarray) -> Verdicts:
        second = _logits(name, encode_fn(examples), judge.class_names).argmax(axis=-1)
        return judge.look(examples)._replace(second=second)

    return judge._replace(look=look, second_name=name)


def _logits(name: str, said: Mapping[str, Any], class_names: Sequence[str]) -> np.ndarray:
    """What a classifier says of each class, of which it must know as many as the data."""
    logits = np.asarray(said["logits"], np.float32)
    if logits.shape[-1] < len(class_names):
        raise UsageError(
            f"the data have {len(class_names)} classes, the classifier {name} has {logits.shape[-1]}: "
            "name a classifier of the same data set"
        )
    return logits
