"""The image modality: bytes and floats, grids, PNG files and folders of them."""

from __future__ import annotations

import functools
import io
import itertools
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Array, Float, Int32, UInt8
from PIL import Image, ImageDraw, ImageFont

from aigc_jax.data.export import file_name, write_npz
from aigc_jax.data.files import visible, whole_file
from aigc_jax.types import Modality, UsageError

GAP = 2
"""Pixels between the images of a grid, before scaling."""

BACKGROUND = 128
"""Grey level around the images of a grid, distinct from both black and white images."""


def to_float(images: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """uint8 to float32 in [-1, 1]: 0 -> -1 and 255 -> 1 exactly."""
    # Division, not multiplication by a rounded 1/127.5: 255 must become exactly 1.
    return np.divide(images, np.float32(127.5), dtype=np.float32) - np.float32(1)


def to_uint8(images: Float[np.ndarray, "..."] | Float[Array, "..."]) -> UInt8[np.ndarray, "..."]:
    """Nearest uint8 of floats, clipped to [-1, 1]; the inverse of :func:`to_float`."""
    levels = (np.asarray(images, np.float32) + np.float32(1)) * np.float32(127.5)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def make_grid(
    images: UInt8[np.ndarray, "num height width channels"],
    num_columns: int,
    *,
    row_labels: Sequence[str] | None = None,
    scale: int = 2,
) -> UInt8[np.ndarray, "grid_height grid_width 3"]:
    """One RGB image of grey or RGB images in rows, first row first, each pixel enlarged to ``scale`` x ``scale``.

    >>> make_grid(np.zeros((6, 28, 28, 1), np.uint8), 3, scale=1).shape
    (62, 92, 3)
    """
    num, height, width, channels = images.shape
    num_rows = -(-num // num_columns)
    if not num or channels not in (1, 3):
        raise ValueError(f"a grid needs grey or RGB images [N, H, W, 1 or 3], got shape {images.shape}")
    if row_labels is not None and len(row_labels) != num_rows:
        raise ValueError(f"{num_rows} rows need {num_rows} labels, got {len(row_labels)}")
    cells = np.full((num_rows * num_columns, height + GAP, width + GAP, 3), BACKGROUND, np.uint8)
    cells[:num, :height, :width] = images
    grid = cells.reshape(num_rows, num_columns, height + GAP, width + GAP, 3).swapaxes(1, 2)
    grid = grid.reshape(num_rows * (height + GAP), num_columns * (width + GAP), 3)
    grid = np.pad(grid, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=BACKGROUND)
    grid = grid.repeat(scale, axis=0).repeat(scale, axis=1)
    if row_labels is None:
        return grid
    return np.concatenate([_label_column(row_labels, grid.shape[0], (height + GAP) * scale), grid], axis=1)


def _label_column(labels: Sequence[str], height: int, row_height: int) -> UInt8[np.ndarray, "height width 3"]:
    """The texts, each in the middle of its row, black on white."""
    font = ImageFont.load_default(size=min(max(row_height // 2, 10), 24))
    width = int(max(font.getlength(label) for label in labels)) + 12
    column = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(column)
    for row, label in enumerate(labels):
        draw.text((width - 6, int((row + 0.5) * row_height)), label, fill="black", font=font, anchor="rm")
    return np.asarray(column)


def to_png(image: UInt8[np.ndarray, "height width channels"]) -> bytes:
    """The content of a PNG file of a grey or RGB image."""
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, format="PNG")
    return content.getvalue()


def write_png(path: str | Path, image: UInt8[np.ndarray, "height width channels"]) -> None:
    """Write a PNG file, whole or not at all."""
    with whole_file(Path(path)) as file:
        file.write(to_png(image))


def write_png_folder(
    path: str | Path,
    blocks: Iterable[UInt8[np.ndarray, "n height width channels"]],
    ids: Int32[np.ndarray, " num"] | None,
    *,
    num: int,
    names: Sequence[str] = (),
) -> None:
    """Write images as a folder of PNG files, ``00012.png`` or ``00012_cat.png``, whole or not at all.

    The folder may exist if it is empty; one block is in memory at a time, ``num`` counts the images in all blocks.
    Files of conditions without ``names`` have the number of their condition.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(
            f"{visible(str(path))} is no empty folder: name a new one, so that samples of two sets never mix"
        )
    called = names or ([] if ids is None else [str(number) for number in range(int(ids.max()) + 1)])
    width = max(len(str(num - 1)), 5)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.mkdir(parents=True)
        for index, image in enumerate(itertools.chain.from_iterable(blocks)):
            kind = "" if ids is None else f"_{file_name(called[int(ids[index])])}"
            (temporary / f"{index:0{width}}{kind}.png").write_bytes(to_png(image))
        temporary.replace(path)
    except OSError as error:
        raise UsageError(
            f"cannot write {visible(str(path))}: {error.strerror or error}; name a folder in a writable one"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


MAX_IN_GRID = 1000
"""Maximum number of images in one picture."""

_TOLERANCE = 1e-3
"""Rounding error by which floats in [-1, 1] may exceed the range."""


def load_images(images: np.ndarray) -> Float[np.ndarray, "..."]:
    """Stored images as models see them: float32 [B, H, W, C] in [-1, 1], from uint8 or floats in that range.

    >>> load_images(np.array([[[[0], [255]]]], np.uint8)).ravel()
    array([-1.,  1.], dtype=float32)
    """
    if images.dtype == np.uint8:
        return to_float(images)
    is_float = np.issubdtype(images.dtype, np.floating)
    if is_float and images.size and images.min() >= -1 - _TOLERANCE and images.max() <= 1 + _TOLERANCE:
        return images.astype(np.float32)
    found = f" from {images.min():g} to {images.max():g}" if images.size else ""
    raise UsageError(
        f"expected images as uint8 in 0 ... 255 or floats in [-1, 1], got {images.dtype}{found}: convert them"
    )


def show_images(
    stored: UInt8[np.ndarray, "num height width channels"],
    ids: Int32[np.ndarray, " num"] | None = None,
    names: Sequence[str] = (),
    *,
    real: np.ndarray | None = None,
) -> UInt8[np.ndarray, "grid_height grid_width 3"] | None:
    """A grid of images: a row per class if all have equally many, else rows of ten; None if neither grey nor RGB."""
    del real
    if stored.ndim != 4 or stored.shape[-1] not in (1, 3):
        return None
    classes = [] if ids is None else sorted(set(ids.tolist()))
    if ids is None or len(classes) < 2 or len(ids) % len(classes):
        return make_grid(stored, min(10, len(stored)))
    order = np.argsort(ids, kind="stable")
    row_labels = [str(names[number]) if names else str(number) for number in classes]
    return make_grid(stored[order], len(ids) // len(classes), row_labels=row_labels)


def _write_grid(
    path: Path, blocks: Iterable[np.ndarray], ids: np.ndarray | None, *, num: int, names: Sequence[str] = ()
) -> None:
    if num > MAX_IN_GRID:
        raise UsageError(
            f"a picture holds {MAX_IN_GRID} samples at most, got --num {num}: pass --out samples.npz, or --out samples "
            "for a folder of PNG files"
        )
    stored = np.concatenate(list(blocks))
    picture = show_images(stored, ids, names)
    if picture is None:
        raise UsageError(f"there is no picture of images of shape {stored.shape[1:]}: pass --out samples.npz")
    write_png(path, picture)


IMAGE = Modality(
    name="image",
    load=load_images,
    store=to_uint8,
    show=show_images,
    writers={".png": _write_grid, ".npz": functools.partial(write_npz, name="image"), "": write_png_folder},
    num_levels=256,
    bounds=(-1.0, 1.0),
    distance=lambda stored: to_float(stored).reshape(len(stored), -1),
    picture=lambda stored: stored,
)
"""Images [H, W, 1 or 3]: uint8 in files, float32 in [-1, 1] in models."""


def grey_tokens(num_levels: int) -> Modality:
    """Images of a few grey levels as tokens: models see int32 [B, H, W, C] in 0 ... V - 1, files hold images.

    Args:
        num_levels: number of grey levels V, >= 2.

    >>> grey_tokens(2).load(np.array([[[[0], [255]]]], np.uint8)).ravel()
    array([0, 1], dtype=int32)
    """

    def load(images: np.ndarray) -> np.ndarray:
        # All levels of the same width; level 0 is -1, level V - 1 is 1.
        levels = np.floor((load_images(images) + np.float32(1)) * np.float32(0.5 * num_levels))
        return np.clip(levels.astype(np.int32), 0, num_levels - 1)

    def store(tokens: np.ndarray) -> np.ndarray:
        return to_uint8(np.asarray(tokens, np.float32) * np.float32(2.0 / (num_levels - 1)) - np.float32(1))

    return IMAGE._replace(load=load, store=store, num_levels=num_levels, bounds=None, dtype=np.int32)
