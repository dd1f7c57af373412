"""Images as people and files want them: bytes instead of floats, grids and PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from aigc_jax.data.files import whole_file

GAP = 2
"""Pixels between the images of a grid, before scaling."""

BACKGROUND = 128
"""Grey level around the images of a grid, told apart from both black and white images."""


def to_float(images: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Bytes to the range that the networks see.

    Args:
        images: uint8, any shape.

    Returns:
        float32 of the same shape, 0 -> -1 and 255 -> 1 exactly.

    >>> to_float(np.array([0, 255], np.uint8))
    array([-1.,  1.], dtype=float32)
    """
    # Division, not multiplication by a rounded 1/127.5: 255 must become exactly 1.
    return np.divide(images, np.float32(127.5), dtype=np.float32) - np.float32(1)


def to_uint8(images: Float[np.ndarray, "..."] | Float[Array, "..."]) -> UInt8[np.ndarray, "..."]:
    """The nearest bytes; the inverse of :func:`to_float` on its range.

    Args:
        images: finite floats; values outside [-1, 1] are clipped.

    Returns:
        uint8 of the same shape.

    >>> to_uint8(np.array([-1.0, 0.0, 1.5], np.float32))
    array([  0, 128, 255], dtype=uint8)
    """
    levels = (np.asarray(images, np.float32) + np.float32(1)) * np.float32(127.5)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def make_grid(
    images: UInt8[np.ndarray, "num height width channels"],
    num_columns: int,
    *,
    row_labels: Sequence[str] | None = None,
    scale: int = 2,
) -> UInt8[np.ndarray, "grid_height grid_width 3"]:
    """Arrange images in rows, first row first.

    Args:
        images: grey (1 channel) or RGB (3 channels).
        num_columns: images per row, >= 1; the last row may be shorter.
        row_labels: a text for the left of each row; None for none.
        scale: each pixel becomes scale x scale pixels, >= 1.

    Returns:
        One RGB image.

    Raises:
        ValueError: no image, or not one label per row.

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
    """The content of a PNG file.

    Args:
        image: grey (1 channel) or RGB (3 channels).

    Returns:
        The bytes of the file.

    >>> to_png(np.zeros((2, 2, 1), np.uint8))[1:4]
    b'PNG'
    """
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, format="PNG")
    return content.getvalue()


def write_png(path: str | Path, image: UInt8[np.ndarray, "height width channels"]) -> None:
    """Write a PNG file, whole or not at all.

    Args:
        path: where; missing folders are made.
        image: grey (1 channel) or RGB (3 channels).

    Raises:
        UsageError: the file cannot be written there.
    """
    with whole_file(Path(path)) as file:
        file.write(to_png(image))
