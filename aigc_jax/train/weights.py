"""Weights in ``.safetensors`` files: named arrays and text, no pickle, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from aigc_jax.data.files import regular_file, unreadable, visible, whole_file
from aigc_jax.types import UsageError

SUFFIX = ".safetensors"

_FLOATS = ("F16", "BF16", "F32", "F64")


class WeightsFile(NamedTuple):
    """An opened file of weights; an array is read when it is asked for."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]  # as the format names them, F32
    metadata: dict[str, str]
    file: Any

    def read(self, name: str) -> np.ndarray:
        """One array; numbers of whatever width come as float32."""
        try:
            array = self.file.get_tensor(name)
        except Exception as error:  # of a dtype that numpy lacks
            raise unreadable(self.path, error, _ADVICE) from error
        return array.astype(np.float32) if self.dtypes[name] in _FLOATS else array


def write_weights(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write named arrays with text, whole or not at all."""
    content = save(dict(arrays), dict(metadata))
    with whole_file(path) as file:
        file.write(content)


def open_weights(path: Path) -> WeightsFile:
    """Open a file of weights of unknown origin; UsageError for anything but a valid ``.safetensors`` file."""
    if path.suffix != SUFFIX:
        raise UsageError(
            f"expected a {SUFFIX} file, got {visible(str(path))}: a .pt or .bin file is a pickle, which can run code; "
            f"where you trust it, write it anew with safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
            f"'weights{SUFFIX}')"
        )
    try:
        with regular_file(path):
            pass
        file = safe_open(path, framework="np")
        names = list(file.keys())
        slices = {name: file.get_slice(name) for name in names}
        shapes = {name: tuple(each.get_shape()) for name, each in slices.items()}
        dtypes = {name: str(each.get_dtype()) for name, each in slices.items()}
        return WeightsFile(path, shapes, dtypes, dict(file.metadata() or {}), file)
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error, _ADVICE) from error


_ADVICE = f"name a {SUFFIX} file, or copy it again"
