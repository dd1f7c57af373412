"""What models are measured by: the classifier of a data set, and the figures of an evaluation during training.

The layer between the command line and the library, beside :mod:`aigc_jax.runs`.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.fingerprint import fingerprint
from aigc_jax.data.images import IMAGE
from aigc_jax.data.pipeline import epoch, load
from aigc_jax.evaluation.classifier_cache import Entry, load_or_train
from aigc_jax.evaluation.evaluate import Settings, evaluate
from aigc_jax.evaluation.judge import Judge, Predictions, classifier_judge, with_second_opinion, world_judge
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.inference.inception import ENCODER_NAME, make_inception_encoder
from aigc_jax.inference.sampling import compile_sampler, make_encode_fn
from aigc_jax.nets.inception import InceptionV3
from aigc_jax.report.schema import Report
from aigc_jax.runs import load_config, run_training
from aigc_jax.train.checkpoint import load_variables
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.loop import EvaluateFn, abstract_state
from aigc_jax.types import Data, Experiment, UsageError, Variables

AccuracyFn = Callable[[np.ndarray, np.ndarray], Mapping[str, tuple[int, int]]]
"""``(images uint8 [num, H, W, C], condition int [num]) -> {name: (right, n)}``."""

Architecture = Literal["conv", "mixer"]
"""Of a classifier, see ``configs/classifier_digits.py``."""

Encoder = Callable[[np.ndarray], Mapping[str, Any]]
"""``images -> {"logits": [num, K], "features": [num, F]}``."""


def load_encoder(config: TrainConfig, data: Data, architecture: Architecture = "conv") -> tuple[str, Encoder]:
    """The classifier of a data set as an encoder, see :func:`load_classifier`.

    Args:
        config: names the data, image shape and classes.
        data: the opened data.
        architecture: of the classifier.

    Returns:
        Its name, and the function images -> logits and features.

    Raises:
        UsageError: the data has no classes to tell apart.
    """
    name, experiment, variables = load_classifier(config, data, architecture)
    return name, make_encode_fn(experiment, variables)


def load_classifier(
    config: TrainConfig, data: Data, architecture: Architecture = "conv"
) -> tuple[str, Experiment, Variables]:
    """The classifier of a data set, trained on first use and cached.

    Args:
        config: names the data, image shape and classes.
        data: the opened data; the classifier learns from its training part.
        architecture: of the classifier; the first opinion is conv's.

    Returns:
        Its name, what was trained, and its weights.

    Raises:
        UsageError: the data has no classes to tell apart.
    """
    if not data.class_names:
        raise UsageError(f"{data.name} has no classes, so no classifier can judge: evaluate on labelled data")
    settings, experiment = _classifier(config, data, architecture)
    title = f"{data.name} classifier" + ("" if architecture == "conv" else f" ({architecture})")
    shapes = abstract_state(experiment)
    # What the classifier learns from, and not where it lies or what it is called: a folder may change under its name.
    identity = {
        **dataclasses.asdict(dataclasses.replace(settings, data=data.name, data_dir=None)),
        "data": fingerprint(data),
        "net": str(shapes),
    }
    entry = Entry(title, identity, settings.steps, shapes)
    return title, experiment, load_or_train(entry, functools.partial(_train_into, experiment, settings, data))


def _classifier(config: TrainConfig, data: Data, architecture: Architecture = "conv") -> tuple[TrainConfig, Experiment]:
    """The settings of a data set's classifier, and what they build."""
    module = load_config("classifier_digits")
    settings = module.Config(
        architecture=architecture,
        data=config.data,
        data_dir=config.data_dir,
        image_shape=config.image_shape,
        num_classes=len(data.class_names),
        batch_size=min(module.Config().batch_size, len(data.train)),
        parallel="jit",
        log_every=250,
    )
    return settings, module.build(settings)


def make_accuracy_fn(config: TrainConfig, data: Data) -> AccuracyFn:
    """Classification accuracy scores: a classifier learns from samples alone, and is tested on real images.

    Args:
        config: names the data, image shape and classes.
        data: the opened data.

    Returns:
        ``(images uint8, condition) -> {name: (right, n)}``: learned from samples and tested on real held-out
        images, learned from real ones and tested on the samples, and real on real.

    Reference:
        Ravuri & Vinyals, "Classification Accuracy Score for Conditional Generative Models", 2019, section 3.
    """

    def accuracies(images: np.ndarray, condition: np.ndarray) -> dict[str, tuple[int, int]]:
        made = Data("samples", ArraySource(images, condition.astype(np.int32)), data.held_out, data.class_names)
        settings, experiment = _classifier(config, made)
        print("training a classifier on the samples alone", file=sys.stderr)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            workdir = Path(folder) / "run"
            _train_into(experiment, settings, made, workdir)
            from_samples = make_encode_fn(experiment, load_variables(workdir, abstract_state(experiment)))
        _, from_real = load_encoder(config, data)
        real = load(data.held_out, np.arange(len(data.held_out)))
        return {
            "accuracy_from_samples": _num_right(from_samples, real["example"], real["condition"]),
            "accuracy_on_samples": _num_right(from_real, IMAGE.load(images), condition),
            "accuracy_from_real": _num_right(from_real, real["example"], real["condition"]),
        }

    return accuracies


def _num_right(encode: Encoder, images: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """How many images are classified right, and of how many."""
    blocks = [encode(images[first : first + 256])["logits"].argmax(axis=-1) for first in range(0, len(images), 256)]
    return int(np.sum(np.concatenate(blocks) == truth)), len(images)


def make_evaluate_fn(experiment: Experiment, config: TrainConfig, data: Data) -> EvaluateFn:
    """What is measured during training: samples of a generator, held-out examples of any other model."""
    if experiment.algorithm.sample is None:
        return functools.partial(_held_out_means, experiment, data)
    judge, sampler = load_judge(experiment, config, data), compile_sampler(experiment)

    def evaluate_samples(variables: Variables, step: int) -> dict[str, float]:
        del step
        subject = EvaluatedModel(sampler(variables, config.seed), experiment.num_conditions, experiment.modality)
        settings = Settings(1000, num_detected=0, num_swept=0)
        return _figures(evaluate(subject=subject, judge=judge, data=data, settings=settings).report)

    return evaluate_samples


def load_judge(experiment: Experiment, config: TrainConfig, data: Data) -> Judge:
    """What looks at examples: the world that the data come from, or else a classifier of them.

    Args:
        experiment: what was trained.
        config: its settings, for the classifier.
        data: the opened data.

    Returns:
        The judge.

    Raises:
        UsageError: there is neither a world nor a class to tell apart.
    """
    if experiment.world is not None:
        return world_judge(experiment.world)
    name, encode_fn = load_encoder(config, data)
    return classifier_judge(name, encode_fn, data.class_names)


def with_second_classifier(judge: Judge, config: TrainConfig, data: Data) -> Judge:
    """A judge beside whom a classifier of another architecture gives a second opinion.

    Args:
        judge: the first.
        config: names the data, image shape and classes.
        data: the opened data; the second classifier is trained once and cached, as the first.

    Returns:
        The judge; a world as it is, which is never wrong.
    """
    return judge if judge.world is not None else with_second_opinion(judge, *load_encoder(config, data, "mixer"))


def with_inception(judge: Judge, weights: Path) -> Judge:
    """A judge whose features are those of the published Inception network, so that FD is the published FID.

    Args:
        judge: whose word on classes is kept.
        weights: the published weight file.

    Returns:
        The judge.

    Raises:
        UsageError: the file is missing, or another one.
    """
    encode = make_inception_encoder(weights, InceptionV3())

    def predict(examples: np.ndarray) -> Predictions:
        return judge.predict(examples)._replace(features=encode(examples)["features"])

    return judge._replace(predict=predict, encoder=ENCODER_NAME)


def _figures(report: Report) -> dict[str, float]:
    return {f"eval/{row.name}": row.value for row in report.measurements if row.value is not None}


def _held_out_means(experiment: Experiment, data: Data, variables: Variables, step: int) -> dict[str, float]:
    """Means over the held-out examples of all figures that are one number per example."""
    del step
    encode = make_encode_fn(experiment, variables)
    rows = [
        encode(batch["example"], batch.get("condition")) for batch in epoch(data.held_out, 256, experiment.modality)
    ]
    names = [name for name, values in rows[0].items() if values.ndim == 1]
    return {f"eval/{name}": float(np.concatenate([row[name] for row in rows]).mean()) for name in names}


def _train_into(experiment: Experiment, settings: TrainConfig, data: Data, workdir: Path) -> None:
    """Train a classifier into a new run directory; a signal interrupts the command that needs it."""
    result = run_training(
        experiment,
        settings,
        workdir,
        data=data,
        name="classifier_digits",
        resume_command="the same command, which begins the classifier anew",
        # On one device, however many there are: neither the weights nor the possible batch sizes depend on them.
        devices=jax.local_devices()[:1],
    )
    if result.stopped_by is not None:
        raise KeyboardInterrupt
