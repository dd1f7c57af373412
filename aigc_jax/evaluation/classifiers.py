"""Judges of a data set: its world, classifiers that are trained on first use and cached, or runs named by the user."""

from __future__ import annotations

import dataclasses
import functools
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.fingerprint import fingerprint
from aigc_jax.data.images import IMAGE
from aigc_jax.data.pipeline import load
from aigc_jax.evaluation.classifier_cache import Entry, load_or_train
from aigc_jax.evaluation.judge import Judge, classifier_judge, no_judge, with_features, with_second_opinion, world_judge
from aigc_jax.evaluation.model import AccuracyFn
from aigc_jax.inference.inception import ENCODER_NAME, make_inception_encoder
from aigc_jax.inference.sampling import make_encode_fn
from aigc_jax.nets.inception import InceptionV3
from aigc_jax.runs import load_config, load_run, run_training
from aigc_jax.train.checkpoint import load_variables
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.experiment import IMAGE_JUDGES
from aigc_jax.train.loop import abstract_state
from aigc_jax.types import Data, Experiment, UsageError, Variables

MAX_EPOCHS = 200
"""Passes of a classifier over its examples at most: few examples are learned long before the steps of its config."""


class Classifier(NamedTuple):
    """A trained network that judges examples."""

    name: str
    experiment: Experiment
    variables: Variables
    encode_fn: Callable[[np.ndarray], Mapping[str, Any]]
    """``examples -> {"logits": [num, K], "features": [num, F]}``, compiled."""


def load_classifier(name: str, config: TrainConfig, data: Data) -> Classifier:
    """The classifier of a data set (one of ``Experiment.judges``), trained on first use and cached."""
    if data.for_judges is not None:
        data = data._replace(train=data.for_judges, for_judges=None)
    settings, experiment = _untrained(name, config, data)
    shapes = abstract_state(experiment)
    # What the classifier learns from, and not where it lies or what it is called: a folder may change under its name.
    identity = {
        **dataclasses.asdict(dataclasses.replace(settings, data=data.name, data_dir=None)),
        "data": fingerprint(data),
        "net": str(shapes),
    }
    kind = {"mixer_digits": " (mixer)", "text_transformer": " (transformer)"}.get(name, "")
    title = f"{data.name} classifier{kind}"
    entry = Entry(title, identity, settings.steps, shapes)
    variables = load_or_train(entry, functools.partial(_train_into, name, experiment, settings, data))
    return Classifier(title, experiment, variables, make_encode_fn(experiment, variables))


def _untrained(name: str, config: TrainConfig, data: Data) -> tuple[TrainConfig, Experiment]:
    """The settings of a data set's classifier, and the experiment that they build."""
    module = load_config(name)
    default = module.Config()
    batch_size = min(default.batch_size, len(data.train))
    first = data.train[0]
    own = {"image_shape": first[IMAGE.name].shape} if IMAGE.name in first else _text_settings(config)
    settings = module.Config(
        **own,
        steps=min(default.steps, MAX_EPOCHS * -(-len(data.train) // batch_size)),
        data=config.data,
        data_dir=config.data_dir,
        num_classes=len(data.class_names),
        batch_size=batch_size,
        parallel="jit",
        log_every=250,
    )
    return settings, module.build(settings)


def _text_settings(config: TrainConfig) -> dict[str, Any]:
    """A classifier of texts sees them as the model does: in its tokens."""
    return {name: getattr(config, name) for name in ("tokenizer", "vocabulary", "length")}


class LoadedJudge(NamedTuple):
    """A judge, and the classifier whose features are differentiable, for path lengths; None for none."""

    judge: Judge
    classifier: Classifier | None = None


def load_judge(
    experiment: Experiment,
    config: TrainConfig,
    data: Data,
    *,
    given: Sequence[Path] = (),
    has_second_opinion: bool = False,
) -> LoadedJudge:
    """The judge of a model's samples: the world that the data come from, else classifiers of them, else none.

    ``given``: a run whose ``evaluate`` gives logits or features judges instead; the features of a file of the published
    Inception weights take the place of the run's or the classifier's.
    """
    files, runs = [path for path in given if path.is_file()], [path for path in given if not path.is_file()]
    if len(files) > 1 or len(runs) > 1:
        raise UsageError("expected one run and one weight file at most: pass --judge RUN FILE")
    if experiment.world is not None and not given:
        return LoadedJudge(world_judge(experiment.world))
    reason = _why_no_classifier(experiment, data)
    classifier, learned_from = None, ""
    if runs:
        classifier = _given_run(runs[0], experiment)
    elif not reason:
        classifier = load_classifier(experiment.judges[0], config, data)
        learned_from = (
            "the training examples: train with --judge-split 0.2 for examples that the model never sees"
            if data.for_judges is None
            else f"{len(data.for_judges)} examples reserved for them"
        )
    if classifier is None:
        judge = no_judge(experiment.modality, reason)
    else:
        judge = classifier_judge(classifier.name, classifier.encode_fn, data.class_names, experiment.modality)
        judge = judge._replace(learned_from=learned_from)
    if has_second_opinion and not reason and len(experiment.judges) > 1:
        second = load_classifier(experiment.judges[1], config, data)
        judge = with_second_opinion(judge, second.name, second.encode_fn)
    if files:
        if experiment.modality.load is not IMAGE.load:
            raise UsageError(
                f"the Inception network sees images, this run makes {experiment.modality.name} examples: leave "
                f"{files[0]} out of --judge"
            )
        judge = with_features(judge, ENCODER_NAME, make_inception_encoder(files[0], InceptionV3()))
    return LoadedJudge(judge, classifier)


def judge_of_data(data: Data, *, given: Sequence[Path] = (), has_second_opinion: bool = False) -> Judge:
    """The judge of images that no run of ours made: classifiers of the data, or those that the user names."""
    module = load_config(IMAGE_JUDGES[0])
    shape, num_classes = data.train[0][IMAGE.name].shape, len(data.class_names) or module.Config().num_classes
    config = module.Config(data=data.name, image_shape=shape, num_classes=num_classes)
    experiment = module.build(config)._replace(judges=IMAGE_JUDGES)
    return load_judge(experiment, config, data, given=given, has_second_opinion=has_second_opinion).judge


def _why_no_classifier(experiment: Experiment, data: Data) -> str:
    """Why no classifier of the data can judge; "" where one can."""
    if not experiment.judges:
        return f"no classifier is known for examples of the kind {experiment.modality.name}: pass --judge RUN"
    if len(data.class_names) < 2:
        num = len(data.class_names) or "no"
        return f"{data.name} has {num} class{'' if num == 1 else 'es'}, so no classifier can judge: pass --judge"
    return ""


def _given_run(run: Path, experiment: Experiment) -> Classifier:
    """A run that the user names as a judge."""
    other, _, variables = load_run(run)
    if other.example_shape != experiment.example_shape:
        raise UsageError(
            f"{run} sees examples of shape {other.example_shape}, this model makes {experiment.example_shape}: "
            "name another --judge"
        )
    evaluate = other.algorithm.evaluate
    outputs = {} if evaluate is None else jax.eval_shape(evaluate, variables, other.batch_spec, jax.random.key(0))
    if not {"logits", "features"} & set(outputs):
        raise UsageError(f"{run} gives neither logits nor features of examples: name the run of a classifier")
    return Classifier(run.resolve().name, other, variables, make_encode_fn(other, variables))


def make_accuracy_fn(name: str, config: TrainConfig, data: Data) -> AccuracyFn:
    """Classification accuracy scores: a classifier learns from samples alone, and is tested on real images.

    Also the reverse, and of real on real; ``name`` is that of the classifier's config.

    Reference:
        Ravuri & Vinyals, "Classification Accuracy Score for Conditional Generative Models", 2019, section 3.
    """

    def accuracies(images: np.ndarray, condition: np.ndarray) -> dict[str, tuple[int, int]]:
        samples = Data("samples", ArraySource(images, condition.astype(np.int32)), data.held_out, data.class_names)
        settings, experiment = _untrained(name, config, samples)
        print("training a classifier on the samples alone", file=sys.stderr)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            workdir = Path(folder) / "run"
            _train_into(name, experiment, settings, samples, workdir)
            from_samples = make_encode_fn(experiment, load_variables(workdir, abstract_state(experiment)))
        from_real = load_classifier(name, config, data).encode_fn
        real = load(data.held_out, np.arange(len(data.held_out)))
        cases = {
            "accuracy_from_samples": (from_samples, real["example"], real["condition"]),
            "accuracy_on_samples": (from_real, IMAGE.load(images), condition),
            "accuracy_from_real": (from_real, real["example"], real["condition"]),
        }
        return {
            name: (int(np.sum(encode_fn(examples)["logits"].argmax(axis=-1) == truth)), len(examples))
            for name, (encode_fn, examples, truth) in cases.items()
        }

    return accuracies


def _train_into(name: str, experiment: Experiment, settings: TrainConfig, data: Data, workdir: Path) -> None:
    """Train a classifier into a new run directory; a signal interrupts the command that needs it."""
    result = run_training(
        experiment,
        settings,
        workdir,
        data=data,
        name=name,
        resume_command=None,
        # On one device, however many there are: neither the weights nor the possible batch sizes depend on them.
        devices=jax.local_devices()[:1],
    )
    if result.stopped_by is not None:
        raise KeyboardInterrupt
