"""What comes back of an image that a model encodes and decodes, beside the nearest training image in its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence, Section
from aigc_jax.metrics.intervals import bootstrap_interval
from aigc_jax.metrics.neighbors import nearest
from aigc_jax.metrics.similarity import ms_ssim, mse, psnr, ssim
from aigc_jax.report.figures import Gallery
from aigc_jax.report.schema import Measurement
from aigc_jax.types import UsageError

MAX_IMAGES, NUM_WORST = 500, 8
"""Held-out images that are encoded and decoded; those that are shown."""

BLOCK = 50
"""Images that are compared at once: windows of large ones take much memory."""

MAX_DECIBEL = 20 * math.log10(255 * math.sqrt(12))
"""58.9: that of images that differ by no more than rounding to 8 bits. Equal ones would have infinitely many."""

_Compare = Callable[[np.ndarray, np.ndarray], ArrayLike]


class _Kind(NamedTuple):
    """One way to compare images with what comes back of them."""

    title: str
    compare: _Compare
    unit: str
    note: str
    lower_is_better: bool = False


_KINDS = {
    "reconstruction_ssim": _Kind(
        "reconstruction SSIM",
        ssim,
        "score",
        "Mean structural similarity of held-out images and what comes back when the model encodes and decodes them, "
        "without noise; 1 for equal images. By Gaussian windows of 11 x 11 pixels.",
    ),
    "reconstruction_psnr": _Kind(
        "reconstruction PSNR",
        lambda a, b: np.minimum(psnr(a, b), MAX_DECIBEL),
        "decibel",
        f"Mean peak signal-to-noise ratio of the same pairs; of one pair at most {MAX_DECIBEL:.1f} dB, the error of "
        "rounding to 8 bits.",
    ),
    "reconstruction_mse": _Kind(
        "reconstruction MSE",
        mse,
        "distance",
        "Mean squared error of the same pairs, pixels in [-1, 1].",
        lower_is_better=True,
    ),
    "reconstruction_ms_ssim": _Kind(
        "reconstruction MS-SSIM",
        ms_ssim,
        "score",
        "Mean structural similarity of the same pairs at five scales; 1 for equal images.",
    ),
}
_INTERVAL = "The interval is a bootstrap over images."


def reconstruction(evidence: Evidence, train: np.ndarray) -> Section:
    """How faithfully held-out images come back.

    No check lights a light by it: how much a model may lose is for its user to say, in a gate file.

    Args:
        evidence: what was looked at.
        train: all training examples as they are stored; the nearest one is what another image of the data would give.

    Returns:
        The section.
    """
    reconstruct, held_out = evidence.subject.reconstruct, evidence.held_out.select(slice(0, MAX_IMAGES))
    if held_out.modality.picture is None:
        return Section(left_out=dict.fromkeys(_KINDS, "the examples are no images"))
    if reconstruct is None:
        return Section(left_out=dict.fromkeys(_KINDS, "the model has no encoder"))
    images = held_out.loaded()
    made = np.asarray(reconstruct(images, held_out.condition), np.float32)
    if num_broken := int((~np.isfinite(_flat(made))).any(axis=1).sum()):
        reason = f"{num_broken} of {len(made)} images come back with NaN or Inf: evaluate an earlier checkpoint"
        return Section(left_out=dict.fromkeys(_KINDS, reason))
    load = held_out.modality.load
    others = load(train[nearest(_flat(images), _flat(load(train)), 1, title="nearest training images").indices[:, 0]])
    title = f"the nearest training image in its place (by pixels, of {len(train)})"
    measurements, left_out, rows = [], dict[str, str](), dict[str, np.ndarray]()
    for name, kind in _KINDS.items():
        try:
            rows[name] = _by_block(kind.compare, images, made)
        except UsageError as error:
            left_out[name] = str(error)
            continue
        reference = float(_by_block(kind.compare, images, others).mean())
        measurements.append(_mean(name, rows[name])._replace(reference=reference, reference_title=title))
    return Section(measurements, figures=[_worst(held_out, made, rows)], left_out=left_out)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def _by_block(compare: _Compare, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    starts = range(0, len(a), BLOCK)
    return np.concatenate([np.asarray(compare(a[i : i + BLOCK], b[i : i + BLOCK]), np.float64) for i in starts])


def _mean(name: str, values: np.ndarray) -> Measurement:
    kind = _KINDS[name]
    low, high = bootstrap_interval(lambda index: float(values[index].mean()), len(values))
    note, value = f"{kind.note} {_INTERVAL}", float(values.mean())
    row = Measurement(name, kind.title, value, len(values), kind.unit, note, low, high)
    return row._replace(lower_is_better=kind.lower_is_better)


def _worst(held_out: Examples, made: np.ndarray, rows: dict[str, np.ndarray]) -> Gallery:
    """The images that come back least alike, above what comes back: by SSIM, or by PSNR where they are too small."""
    name, values = next(iter(rows.items()))
    word = _KINDS[name].title.rpartition(" ")[2]
    chosen = np.argsort(values, kind="stable")[:NUM_WORST]
    caption = (
        f"The {len(chosen)} of {held_out.num} held-out images that come back least alike by {word} (below each pair); "
        f"the mean is {values.mean():.3g}."
    )
    labels = [["" for _ in chosen], [f"{word} {values[index]:.2g}" for index in chosen]]
    groups = [held_out.values[chosen], held_out.modality.store(made[chosen])]
    return Gallery("reconstructions", "The worst reconstructions", caption, groups, labels, ["image", "comes back"])
