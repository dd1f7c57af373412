"""Data sets by name."""

from __future__ import annotations

from aigc_jax.data.broken import MAX_BROKEN
from aigc_jax.data.digits import digits
from aigc_jax.data.files import visible
from aigc_jax.data.folder import open_folder
from aigc_jax.data.images import IMAGE
from aigc_jax.data.tfds_source import open_tfds
from aigc_jax.types import Data, UsageError

FORMS = "digits, tfds:NAME (for example tfds:mnist), folder:DIR (one sub-folder of images per class) or world:NAME"
"""Forms of data names. Worlds are opened by their experiments, the others by ``open_data``."""


def open_data(
    name: str,
    *,
    data_dir: str | None = None,
    image_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int | None = 10,
    skip_broken: bool = False,
    max_broken: float = MAX_BROKEN,
) -> Data:
    """Open a data set of images by its name, from local files only.

    Args:
        name: ``digits`` (embedded), ``tfds:NAME`` (prepared by ``aigc-jax data prepare``), or ``folder:DIR``.
        data_dir: the folder of prepared ``tfds`` data sets; None takes ``$TFDS_DATA_DIR``, else
            ``~/tensorflow_datasets``.
        image_shape: height, width and channels of the model. Images of ``folder:DIR`` are brought to it, others must
            have it.
        num_classes: of the model; None for a model without condition.
        skip_broken: leave out records that cannot be read, instead of an error; all are read for it.
        max_broken: the largest share of them, in [0, 1); more are an error all the same.

    Returns:
        Images uint8 [H, W, C] and labels int32 [], without labels where there are none.

    Raises:
        UsageError: unknown name, or missing, damaged or unfit data.

    >>> data = open_data("digits")
    >>> data.train[0][IMAGE.name].shape, len(data.held_out), data.class_names[9]
    ((28, 28, 1), 1000, '9')
    """
    if min(image_shape) < 1 or image_shape[-1] not in (1, 3):
        raise UsageError(
            f"--image-shape takes height, width and 1 (grey) or 3 (RGB) channels, got {_flag(image_shape)}: "
            "for example --image-shape 32 32 3"
        )
    kind, _, rest = name.partition(":")
    if name == "digits":
        data = digits()
    elif kind == "tfds" and rest:
        data = open_tfds(rest, data_dir, skip_broken=skip_broken, max_broken=max_broken)
    elif kind == "folder" and rest:
        data = open_folder(
            rest, image_shape, is_labelled=num_classes is not None, skip_broken=skip_broken, max_broken=max_broken
        )
    else:
        raise UsageError(f"data must be {FORMS}, got {visible(name)!r}")
    _check_fit(data, image_shape, num_classes)
    return data


def _check_fit(data: Data, image_shape: tuple[int, int, int], num_classes: int | None) -> None:
    """Raise UsageError for data of another shape or number of classes than the model's."""
    shape = data.train[0][IMAGE.name].shape
    if shape != tuple(image_shape):
        raise UsageError(
            f"{data.name} holds images of shape {_flag(shape)}, the model expects {_flag(image_shape)}: "
            f"pass --image-shape {_flag(shape)}"
        )
    found = len(data.class_names)
    if num_classes is not None and found != num_classes:
        has = f"{found} classes" if found else "no labels"
        raise UsageError(
            f"{data.name} has {has}, the model expects {num_classes} classes: pass --num-classes {found or None}"
        )


def _flag(shape: tuple[int, ...]) -> str:
    """A shape as it is typed on the command line."""
    return " ".join(str(size) for size in shape)
