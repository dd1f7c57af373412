"""Measure a model: draw samples, show them and real images to a classifier, compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aigc_jax.data.arrays import take
from aigc_jax.data.images import to_float
from aigc_jax.metrics.agreement import clopper_pearson
from aigc_jax.metrics.frechet import frechet_distance
from aigc_jax.report.encode import Encoded, Encoder, Images, Reader, encode
from aigc_jax.report.report import ClassRow, Measurement, Report
from aigc_jax.types import Data, DataSource, UsageError

Sampler = Callable[[int, np.ndarray | None, int], Any]
"""``(start, condition int32 [num] or None, num) -> images`` of the samples start ... start + num - 1."""


def evaluate(
    *,
    sample_fn: Sampler,
    encode_fn: Encoder,
    data: Data,
    num_classes: int | None,
    num_samples: int,
    encoder: str,
    batch_size: int = 64,
) -> Report:
    """Measure how well samples follow their condition and how near they are to real images.

    Sample i has condition ``i % num_classes``. The Fréchet distance compares n samples with n held-out
    images, and beside it n training images with the same held-out images; n is as large as the samples
    and both splits allow.

    Args:
        sample_fn: draws samples, see :data:`Sampler`; images float32 [num, H, W, C] in [-1, 1].
        encode_fn: a classifier that had no part in the training of the model, see :data:`Encoder`.
        data: real images, and their classes where there are any.
        num_classes: number of conditions; None for an unconditional model.
        num_samples: how many samples to draw, >= 1.
        encoder: the name of the classifier, for ``FD[encoder]``.
        batch_size: images per call of ``sample_fn`` and ``encode_fn``; changes memory and speed only.

    Returns:
        The figures; what could not be measured is named in ``left_out`` with the reason.

    Raises:
        UsageError: no samples asked for, samples with NaN or Inf, or an encoder of another number of classes.
    """
    if num_samples < 1:
        raise UsageError(f"expected at least 1 sample to evaluate, got {num_samples}: raise --num-samples")
    n = min(num_samples, len(data.held_out), len(data.train))

    def look(title: str, read: Reader, num: int) -> Encoded:
        return encode(encode_fn, read, num=num, num_moments=n, batch_size=batch_size, title=title)

    # Real images first: they show in a second what would be wrong after minutes of sampling.
    held_out = look("held-out images", _reader(data.held_out), len(data.held_out))
    if num_classes is not None and len(held_out.counts) != num_classes:
        raise UsageError(
            f"the model has {num_classes} classes, the classifier {encoder} has {len(held_out.counts)}: "
            "name a classifier of the same data set"
        )
    train = look("training images", _reader(data.train), n)
    samples = look("samples", _generator(sample_fn, num_classes), num_samples)
    return _report(samples, held_out, train, data=data, encoder=encoder, num_samples=num_samples)


def _reader(source: DataSource) -> Reader:
    """Reads real images in a fixed random order: files are often sorted by class, and a few are taken."""
    order = np.random.default_rng(0).permutation(len(source))

    def read(start: int, num: int) -> tuple[Images, np.ndarray | None]:
        batch = take(source, order[start : start + num])
        return to_float(batch["image"]), batch.get("label")

    return read


def _generator(sample_fn: Sampler, num_classes: int | None) -> Reader:
    """Draws samples, with the classes in turn as conditions."""

    def draw(start: int, num: int) -> tuple[Images, np.ndarray | None]:
        condition = None if num_classes is None else (np.arange(start, start + num) % num_classes).astype(np.int32)
        images = np.asarray(sample_fn(start, condition, num), np.float32)
        if num_broken := int((~np.isfinite(images.reshape(num, -1))).any(axis=1).sum()):
            raise UsageError(
                f"{num_broken} of the samples {start} to {start + num - 1} hold NaN or Inf: "
                "evaluate an earlier checkpoint, or train again"
            )
        return images, condition

    return draw


def _report(
    samples: Encoded, held_out: Encoded, train: Encoded, *, data: Data, encoder: str, num_samples: int
) -> Report:
    """Put the figures of the three sets of images side by side."""
    names = [*map(str, data.class_names), *map(str, range(len(data.class_names), len(samples.counts)))]
    measurements: list[Measurement] = []
    left_out: dict[str, str] = {}
    given, real = samples.agreement, held_out.agreement
    if given is None:
        left_out |= dict.fromkeys(
            ("class_agreement", "worst_class"), "the model is unconditional: no class is asked for"
        )
    else:
        measurements += _agreement(given, real, names)
    if real is None:
        left_out["classifier_accuracy"] = f"the images of {data.name} have no classes"
    else:
        measurements.append(_accuracy(real, encoder))
    try:
        measurements.append(_frechet(samples, held_out, train, encoder))
    except UsageError as error:
        left_out["frechet_distance"] = str(error)
    return Report(
        data=data.name,
        encoder=encoder,
        num_samples=num_samples,
        measurements=measurements,
        per_class_title="Predicted classes, share of all samples" if given is None else "Agreement by class",
        per_class=_share_rows(samples, held_out, names) if given is None else _agreement_rows(given, real, names),
        confusion=None if given is None else given["confusion"].tolist(),
        left_out=left_out,
    )


def _agreement(given: dict[str, Any], real: dict[str, Any] | None, names: list[str]) -> list[Measurement]:
    worst = given["worst_class"]
    title = "same classifier on real held-out images"
    return [
        Measurement(
            name="class_agreement",
            title="class agreement",
            value=given["agreement"],
            n=given["n"],
            unit="share",
            low=given["low"],
            high=given["high"],
            reference=None if real is None else real["agreement"],
            reference_title="" if real is None else title,
            note="Share of samples in which the classifier sees the class that was asked for; "
            "its own errors on real images set how high this can be read.",
        ),
        Measurement(
            name="worst_class",
            title=f"worst class: {names[worst]}",
            value=given["worst_value"],
            n=int(given["per_class_n"][worst]),
            unit="share",
            low=float(given["per_class_low"][worst]),
            high=float(given["per_class_high"][worst]),
            reference=None if real is None else _number(real["per_class"][worst]),
            reference_title="" if real is None else title,
            note="Agreement of the class that follows its condition least; "
            "being picked as the lowest, it is lower than a class chosen beforehand.",
        ),
    ]


def _accuracy(real: dict[str, Any], encoder: str) -> Measurement:
    return Measurement(
        name="classifier_accuracy",
        title="classifier accuracy",
        value=real["agreement"],
        n=real["n"],
        unit="share",
        low=real["low"],
        high=real["high"],
        note=f"How often {encoder} is right on real images that no training saw: how far its word can be trusted.",
    )


def _frechet(samples: Encoded, held_out: Encoded, train: Encoded, encoder: str) -> Measurement:
    return Measurement(
        name="frechet_distance",
        title=f"FD[{encoder}]",
        value=frechet_distance(samples.moments, held_out.moments),
        n=held_out.moments.num_samples,
        unit="distance",
        reference=frechet_distance(train.moments, held_out.moments),
        reference_title="real against real (training images)",
        note="Distance between the features of samples and of held-out images, lower is nearer. "
        "It shrinks as n grows, so compare it with real against real at the same n only, "
        "and with no other encoder's figure.",
    )


def _agreement_rows(given: dict[str, Any], real: dict[str, Any] | None, names: list[str]) -> list[ClassRow]:
    return [
        ClassRow(
            class_index=index,
            name=names[index],
            n=int(given["per_class_n"][index]),
            value=_number(given["per_class"][index]),
            low=float(given["per_class_low"][index]),
            high=float(given["per_class_high"][index]),
            reference=None if real is None else _number(real["per_class"][index]),
        )
        for index in range(len(given["per_class"]))
    ]


def _share_rows(samples: Encoded, held_out: Encoded, names: list[str]) -> list[ClassRow]:
    n = int(samples.counts.sum())
    shares = held_out.counts / held_out.counts.sum()
    return [
        ClassRow(
            index, names[index], n, int(count) / n, *clopper_pearson(int(count), n), reference=float(shares[index])
        )
        for index, count in enumerate(samples.counts)
    ]


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)
