"""Show sets of images to a classifier and keep what it says of them, as sums only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64
from tqdm import tqdm

from aigc_jax.metrics.agreement import ClassAgreementState, class_agreement
from aigc_jax.metrics.frechet import FrechetState, frechet_statistics

Images = Float32[np.ndarray, "num height width channels"]
"""Images in [-1, 1]."""

Encoder = Callable[[Images], Mapping[str, Any]]
"""``images -> {"logits": [num, K], "features": [num, F]}``."""

Reader = Callable[[int, int], tuple[Images, np.ndarray | None]]
"""``(start, num) -> (images, their true classes int [num] or None)`` of the images start ... start + num - 1."""


class Encoded(NamedTuple):
    """What the classifier said of one set of images.

    Attributes:
        moments: of the features of the first images, as many as the Fréchet distance compares.
        counts: how often each class was predicted, all images.
        agreement: results of ``class_agreement`` with the true classes; None where there are none.
    """

    moments: FrechetState
    counts: Int64[np.ndarray, " num_classes"]
    agreement: dict[str, Any] | None


def encode(encode_fn: Encoder, read: Reader, *, num: int, num_moments: int, batch_size: int, title: str) -> Encoded:
    """Encode images batch by batch, with a progress bar on a terminal.

    Args:
        encode_fn: the classifier.
        read: gives the images.
        num: how many images, >= 1.
        num_moments: of how many, from the first, the features are kept.
        batch_size: images per call.
        title: what the progress bar says.

    Returns:
        What was seen; it does not depend on ``batch_size`` but by rounding.
    """
    totals: _Totals | None = None
    # disable=None: no bar where nobody watches (a file, a pipe).
    with tqdm(total=num, desc=title, unit="image", disable=None, leave=False) as bar:
        for start in range(0, num, batch_size):
            images, truth = read(start, min(batch_size, num - start))
            code = encode_fn(images)
            logits, features = np.asarray(code["logits"]), np.asarray(code["features"])
            totals = totals or _no_images(logits.shape[-1], features.shape[-1])
            totals = _add(totals, logits, features[: max(num_moments - start, 0)], truth)
            bar.update(len(images))
    if totals is None:
        raise ValueError("expected at least one image to encode, got none")
    results = class_agreement(len(totals.counts)).compute(totals.agreement)
    return Encoded(totals.moments, totals.counts, results if results["n"] else None)


class _Totals(NamedTuple):
    moments: FrechetState
    counts: np.ndarray
    agreement: ClassAgreementState


def _no_images(num_classes: int, num_features: int) -> _Totals:
    counts = np.zeros(num_classes, np.int64)
    return _Totals(frechet_statistics(num_features).init(), counts, class_agreement(num_classes).init())


def _add(totals: _Totals, logits: np.ndarray, features: np.ndarray, truth: np.ndarray | None) -> _Totals:
    num_classes, predicted = len(totals.counts), logits.argmax(axis=-1)
    agreement = totals.agreement
    if truth is not None:
        agreement = class_agreement(num_classes).update(agreement, predicted, truth)
    moments = frechet_statistics(features.shape[-1]).update(totals.moments, features)
    return _Totals(moments, totals.counts + np.bincount(predicted, minlength=num_classes), agreement)
