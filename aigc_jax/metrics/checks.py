"""Checks of the arrays that a metric is given: kinds, axes, and lengths that must agree.

Numpy computes on with most wrong arrays: bytes wrap around, a batch of 1 is broadcast, a truth of 0 and 1 selects.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from aigc_jax.types import UsageError

Features = Float[np.ndarray, "_ _"] | Float[Array, "_ _"]
"""One vector per example. float32 takes half the memory: distances turn it into float64 tile by tile."""

_KINDS = {
    float: ("numbers", (np.floating, np.integer), "convert them with astype(np.float32)"),
    int: ("integers", (np.integer,), "pass class indices, such as logits.argmax(axis=1)"),
    bool: ("booleans", (np.bool_,), "compare first, as in x == 1"),
}
"""By kind: its name in messages, the dtypes that pass, and the advice for others."""


def checked(**arrays: tuple[Any, type, str]) -> list[np.ndarray]:
    """Numpy arrays of the expected kinds and axes, from ``name=(values, kind, axes)``.

    The kind is float (integers pass too), int or bool. Axes are names, as in ``"num feature"``; axes of one name have
    one length in all arrays, and ``...`` stands for any others. float32 and float64 come without a copy, half
    precisions as float32, integers of kind float as float64. Raises a ValueError for another kind, rank or length.
    """
    values = {name: np.asarray(given) for name, (given, _, _) in arrays.items()}
    lengths: dict[str, int] = {}
    for name, (_, kind, axes) in arrays.items():
        _, dtypes, advice = _KINDS[kind]
        if not any(jax.dtypes.issubdtype(values[name].dtype, dtype) for dtype in dtypes):
            raise ValueError(f"{_difference(arrays, values)}: {advice}")
        names = axes.split()
        is_open = names[-1] == "..."
        names = names[:-1] if is_open else names
        shape = values[name].shape
        if len(shape) < len(names) or (len(shape) > len(names) and not is_open):
            raise ValueError(f"{_difference(arrays, values)}: reshape {name}")
        if any(lengths.setdefault(axis, size) != size for axis, size in zip(names, shape, strict=False)):
            raise ValueError(f"{_difference(arrays, values)}: axes of one name need one length")
    return [_as_float(values[name]) if kind is float else values[name] for name, (_, kind, _) in arrays.items()]


def checked_features(**features: Features) -> list[np.ndarray]:
    """Sets of features [N, d] by name as float32 or float64, fit for distances.

    Raises a ValueError for other arrays or features of different lengths, a UsageError for none, or NaN and infinity.
    """
    arrays = checked(**{name: (values, float, f"num_{name} feature") for name, values in features.items()})
    for name, array in zip(features, arrays, strict=True):
        if not array.size:
            raise UsageError(f"expected features of at least one example, got {name} of shape {array.shape}")
        # A sum is finite where all its terms are: cheaper than an array of yes and no.
        if not np.isfinite(array.sum(axis=0, dtype=np.float64)).all():
            raise UsageError(
                f"expected finite features, got NaN or infinity in {name}: check the encoder and its inputs"
            )
    return arrays


def check_range(name: str, values: np.ndarray, low: float | int, high: float | int) -> None:
    """Raise a ValueError unless all values lie in ``low ... high``; NaN lies nowhere."""
    if values.size and not (values.min() >= low and values.max() <= high):
        raise ValueError(f"expected {name} in {low:g} ... {high:g}, got {values.min():g} ... {values.max():g}")


def _as_float(array: np.ndarray) -> np.ndarray:
    if array.dtype in (np.float32, np.float64):
        return array
    # Half precisions are exact in float32, and integers below 2^53 in float64.
    is_half = jax.dtypes.issubdtype(array.dtype, np.floating) and array.dtype.itemsize < 4
    return array.astype(np.float32 if is_half else np.float64)


def _difference(arrays: dict[str, tuple[Any, type, str]], values: dict[str, np.ndarray]) -> str:
    wanted = (f"{name} [{', '.join(axes.split())}] of {_KINDS[kind][0]}" for name, (_, kind, axes) in arrays.items())
    given = (f"{name} {list(array.shape)} of {array.dtype}" for name, array in values.items())
    return f"expected {' and '.join(wanted)}, got {' and '.join(given)}"
