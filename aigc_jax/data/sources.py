"""The names of data sets, and what they open."""

from __future__ import annotations

from aigc_jax.data.digits import digits
from aigc_jax.types import Data, UsageError

FORMS = "digits, tfds:NAME (for example tfds:mnist), folder:DIR"


def open_data(
    name: str,
    *,
    data_dir: str | None = None,
    image_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int | None = 10,
) -> Data:
    """Open a data set by its name."""
    if name == "digits":
        return digits()
    raise UsageError(f"data must be one of {FORMS}, got {name!r}")
