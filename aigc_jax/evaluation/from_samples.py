"""Evaluation of samples of any origin: arrays or files of images, compared with real data. No weights are needed.

What needs the model itself (repetition, changes of latents, sweeps, likelihood) is left out with this reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.files import read_npz, visible
from aigc_jax.data.folder import image_shape, read_image
from aigc_jax.data.images import IMAGE
from aigc_jax.data.layout import SUFFIXES, find_images
from aigc_jax.evaluation.classifiers import judge_of_data
from aigc_jax.evaluation.evaluate import Evaluation, evaluate
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.section import Settings
from aigc_jax.report.gates import Gates
from aigc_jax.report.schema import Report
from aigc_jax.types import Data, UsageError

NO_MODEL = "the samples are given, not the model"
_NEED_THE_MODEL = (
    "model_consistency",
    "checkpoint_consistency",
    "perturbation",
    "latent_sensitivity",
    "step_consistency",
    "half_precision",
    "path_length",
    "trajectory_variance",
    "sampler_sweep",
    "guidance_sweep",
    "truncation_sweep",
)
_ARRAY_NAMES, _LABEL_NAMES = (IMAGE.name, "samples", "arr_0"), ("label", "labels", "arr_1")
"""Entries of .npz files: ours, and those of guided-diffusion, whose order of arrays others have taken over."""


class GivenSamples(NamedTuple):
    """Samples of any origin."""

    images: np.ndarray
    """uint8 [N, H, W, 1 or 3]."""
    labels: np.ndarray | None = None
    """The requested class of each, int32 [N]; None for none."""
    own_names: Sequence[str] = ()
    """Names of the classes, where the file or folder has them."""
    endings: Sequence[str] = ()
    """The end of each file's name, ``cat`` of ``00012_cat.png``: perhaps its class; () where there are none."""


def read_samples(path: Path) -> GivenSamples:
    """Samples of an .npz file or of a folder of PNG and JPEG files; their classes by :func:`with_classes`.

    In a file the images are called ``image``, ``samples`` or ``arr_0``, their classes ``label``, ``labels`` or
    ``arr_1``. In a folder each class has its sub-folder, or stands at the end of each name: ``00012_cat.png``; other
    names are samples without classes.
    """
    return _from_folder(path) if path.is_dir() else _from_npz(path)


def with_classes(samples: GivenSamples, class_names: Sequence[str], *, title: str) -> GivenSamples:
    """The samples with classes by their number in the data, which may have them in another order."""
    labels, own = samples.labels, samples.own_names
    if labels is None and samples.endings and set(samples.endings) <= set(class_names):
        labels, own = np.arange(len(samples.images)), samples.endings
    if labels is None or not class_names:
        return samples._replace(labels=labels)
    if unknown := [name for name in own if name not in class_names]:
        raise UsageError(
            f"{title} has the class {visible(unknown[0])!r}, the data have {', '.join(class_names[:20])}: "
            "name the data that the samples are of"
        )
    limit = len(own or class_names)
    if (most := int(labels.max())) >= limit:
        raise UsageError(
            f"{title} has the class {most}, {'its class_names' if own else 'the data'} have {limit} classes, 0 to "
            f"{limit - 1}: name the data that the samples are of"
        )
    if own:
        labels = np.array([list(class_names).index(name) for name in own], np.int32)[labels]
    return samples._replace(labels=labels.astype(np.int32))


def _from_npz(path: Path) -> GivenSamples:
    content = read_npz(path, advice="name an .npz file of images, or a folder of PNG files")
    name = next((name for name in _ARRAY_NAMES if name in content), None)
    if name is None:
        raise UsageError(
            f"{visible(str(path))} holds {', '.join(map(visible, content)) or 'nothing'}, and no entry "
            f"{' or '.join(_ARRAY_NAMES)}: rename the images"
        )
    labels = next((content[each] for each in _LABEL_NAMES if each in content), None)
    found = checked_samples(content[name], labels, title=visible(str(path)))
    return found._replace(own_names=[str(each) for each in content.get("class_names", ())])


def checked_samples(images: np.ndarray, labels: np.ndarray | None, *, title: str = "samples") -> GivenSamples:
    """Images as bytes, and their classes; raises UsageError for other shapes, dtypes or ranges."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise UsageError(f"{title}: expected images [N, H, W, 1 or 3], got shape {list(images.shape)}: change the axes")
    if images.dtype != np.uint8:
        images = IMAGE.store(IMAGE.load(images))
    if labels is None:
        return GivenSamples(images)
    labels = np.asarray(labels)
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise UsageError(
            f"{title}: expected a class for each of {len(images)} images, integers >= 0 [{len(images)}], got "
            f"{labels.dtype} {list(labels.shape)}: leave them out, or one per image"
        )
    return GivenSamples(images, labels.astype(np.int32))


def _from_folder(path: Path) -> GivenSamples:
    layout = find_images(path, is_labelled=False)
    files = sorted([*layout.train, *layout.held_out])
    if not files:
        raise UsageError(f"{visible(str(path))} holds no {', '.join(SUFFIXES)}: name a folder of images")
    shape = image_shape(files[0][0])
    images = np.stack([read_image(file, shape) for file, _ in files])
    if layout.class_names:
        return GivenSamples(images, np.array([label for _, label in files], np.int32), layout.class_names)
    endings = [match[1] for file, _ in files if (match := re.fullmatch(r"\d+_(.+)", file.stem))]
    return GivenSamples(images, endings=endings if len(endings) == len(files) else ())


def evaluate_samples(
    samples: GivenSamples,
    data: Data,
    *,
    knows_training: bool,
    num_samples: int = 5000,
    min_judge_accuracy: float = Settings().min_judge_accuracy,
    has_second_opinion: bool = True,
    judge: Sequence[Path] = (),
    gates: Gates | None = None,
) -> Evaluation:
    """Evaluate given samples; ``knows_training``: whether the model was trained on ``data.train``."""
    num = min(num_samples, len(samples.images))
    has_classes = samples.labels is not None and len(data.class_names) > 1
    model = EvaluatedModel(
        sample_fn=lambda start, condition, count: IMAGE.load(samples.images[start : start + count]),
        num_classes=len(data.class_names) if has_classes else None,
        conditions=samples.labels if has_classes else None,
        knows_training=knows_training,
        left_out=dict.fromkeys(_NEED_THE_MODEL, NO_MODEL),
    )
    found = judge_of_data(data, given=judge, has_second_opinion=has_second_opinion)
    settings = Settings(num, num_detected=0, num_swept=0, min_judge_accuracy=min_judge_accuracy)
    return evaluate(model=model, judge=found, data=data, settings=settings, gates=gates)


def evaluate_arrays(
    samples: np.ndarray,
    reference: np.ndarray,
    *,
    train: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    reference_labels: np.ndarray | None = None,
    train_labels: np.ndarray | None = None,
    class_names: Sequence[str] = (),
    judge: str | Path | None = None,
    gates: Gates | None = None,
) -> Report:
    """The reliability report of given images, whichever library made them.

    Args:
        samples: uint8 [N, H, W, 1 or 3], or floats in [-1, 1].
        reference: real images that the model was not trained on, likewise.
        train: the images that the model was trained on; None leaves copies out, and half of the reference takes their
            place in comparisons of features.
        labels: the requested class of each sample, int [N]; None for an unconditional model.
        reference_labels: the class of each real image; None for no classes, and then no classifier can judge.
        train_labels: the class of each training image.
        class_names: their names; () for their numbers.
        judge: a run, or the file of the published Inception weights, in place of a classifier of the data.
        gates: limits, from :func:`aigc_jax.report.gates.read_gates`.

    Returns:
        The report; :func:`aigc_jax.report.files.write_report` writes it.

    Raises:
        UsageError: shapes, dtypes, ranges or numbers of classes that do not fit.

    >>> evaluate_arrays(np.zeros((9, 4, 4)), np.zeros((9, 4, 4, 1), np.uint8))
    Traceback (most recent call last):
    ...
    aigc_jax.types.UsageError: samples: expected images [N, H, W, 1 or 3], got shape [9, 4, 4]: change the axes
    """
    given = checked_samples(samples, labels)
    real = checked_samples(reference, reference_labels, title="reference")
    trained = None if train is None else checked_samples(train, train_labels, title="train")
    for title, each in (("reference", real), ("train", trained)):
        if each is not None and each.images.shape[1:] != given.images.shape[1:]:
            raise UsageError(
                f"{title}: expected images of shape {list(given.images.shape[1:])} as the samples have, got "
                f"{list(each.images.shape[1:])}: resize them"
            )
    if trained is None:
        order = np.random.default_rng(0).permutation(len(real.images))
        halves = [
            GivenSamples(real.images[p], None if real.labels is None else real.labels[p])
            for p in np.array_split(order, 2)
        ]
        trained, real = halves
    known = [each.labels for each in (real, trained) if each.labels is not None]
    num_classes = 1 + max((int(each.max()) for each in known), default=-1)
    names = list(class_names) or [str(number) for number in range(num_classes)]
    if len(names) < num_classes:
        raise UsageError(f"expected a name for each of {num_classes} classes, got {len(names)}: leave class_names out")
    sources = [ArraySource(each.images, each.labels) for each in (trained, real)]
    data = Data("arrays", sources[0], sources[1], names if trained.labels is not None else ())
    judges = () if judge is None else (Path(judge),)
    return evaluate_samples(
        given, data, knows_training=train is not None, num_samples=len(given.images), judge=judges, gates=gates
    ).report
