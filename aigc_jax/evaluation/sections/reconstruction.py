"""Reconstructions of held-out images by encoder and decoder, compared with the nearest training image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence, Section
from aigc_jax.metrics.intervals import bootstrap_interval
from aigc_jax.metrics.neighbors import nearest
from aigc_jax.metrics.similarity import ms_ssim, mse, psnr, ssim
from aigc_jax.report.figures import Gallery
from aigc_jax.report.measurements import measure
from aigc_jax.types import UsageError

MAX_IMAGES, NUM_WORST = 500, 8
"""Held-out images that are reconstructed; those that are shown."""

BLOCK = 50
"""Images that are compared at once: windows of large ones take much memory."""

MAX_DECIBEL = 20 * math.log10(255 * math.sqrt(12))
"""58.9: that of images that differ by no more than rounding to 8 bits. Equal ones would have infinitely many."""

_COMPARE: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], ArrayLike]]] = {
    "reconstruction_ssim": ("SSIM", ssim),
    "reconstruction_psnr": ("PSNR", lambda a, b: np.minimum(psnr(a, b), MAX_DECIBEL)),
    "reconstruction_mse": ("MSE", mse),
    "reconstruction_ms_ssim": ("MS-SSIM", ms_ssim),
}


def reconstruction(evidence: Evidence) -> Section:
    """The similarity of held-out images and their reconstructions; limits are the user's, in a gate file."""
    reconstruct, held_out = evidence.model.reconstruct, evidence.held_out.select(slice(0, MAX_IMAGES))
    modality = held_out.modality
    if reconstruct is None or modality.picture is None or modality.distance is None:
        is_shown = modality.picture is not None and modality.distance is not None
        reason = "the model has no encoder" if is_shown else "the examples are no images"
        return Section("diverse", left_out=dict.fromkeys(_COMPARE, reason))
    images = held_out.loaded()
    made = np.asarray(reconstruct(images, held_out.condition), np.float32)
    if num_broken := int((~np.isfinite(made.reshape(len(made), -1))).any(axis=1).sum()):
        reason = f"{num_broken} of {len(made)} reconstructions hold NaN or Inf: evaluate an earlier checkpoint"
        return Section("diverse", left_out=dict.fromkeys(_COMPARE, reason))
    train = evidence.training_set
    found = nearest(modality.distance(held_out.values), modality.distance(train), 1, title="nearest training images")
    others = modality.load(train[found.indices[:, 0]])
    title = f"the nearest training image in place of the reconstruction (by pixels, of {len(train)})"
    measurements, left_out, values = [], dict[str, str](), dict[str, np.ndarray]()
    for name, (_, compare) in _COMPARE.items():
        try:
            values[name] = _by_block(compare, images, made)
        except UsageError as error:
            left_out[name] = str(error)
            continue
        of = values[name]
        low, high = bootstrap_interval(lambda index, of=of: float(of[index].mean()), len(of))
        mean, reference = float(of.mean()), float(_by_block(compare, images, others).mean())
        measurements.append(
            measure(name, mean, len(of), low=low, high=high, reference=reference, reference_title=title)
        )
    return Section("diverse", measurements, figures=[_worst(held_out, made, values)], left_out=left_out)


def _by_block(compare: Callable[[np.ndarray, np.ndarray], ArrayLike], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    starts = range(0, len(a), BLOCK)
    return np.concatenate([np.asarray(compare(a[i : i + BLOCK], b[i : i + BLOCK]), np.float64) for i in starts])


def _worst(held_out: Examples, made: np.ndarray, values: dict[str, np.ndarray]) -> Gallery:
    """The images least similar to their reconstructions, above those: by SSIM, or by PSNR where they are too small."""
    picture = held_out.modality.picture
    assert picture is not None  # for the type checker: the caller has looked
    name, similarity = next(iter(values.items()))
    word = _COMPARE[name][0]
    chosen = np.argsort(similarity, kind="stable")[:NUM_WORST]
    caption = (
        f"The {len(chosen)} of {held_out.num} held-out images least similar to their reconstructions by {word} (below "
        f"each pair); the mean is {similarity.mean():.3g}."
    )
    labels = [["" for _ in chosen], [f"{word} {similarity[index]:.2g}" for index in chosen]]
    groups = [picture(held_out.values[chosen]), picture(held_out.modality.store(made[chosen]))]
    titles = [held_out.modality.name, "reconstruction"]
    return Gallery("reconstructions", "The worst reconstructions", caption, groups, labels, titles)
