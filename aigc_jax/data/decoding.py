"""PNG and JPEG files from anywhere to pixels: nothing else is decoded, and only what a viewer shows is kept."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 89_478_485
"""Pixels of an image file at most: 256 MiB decoded, from a file that may hold a few hundred bytes. Pillow's own limit,
above which it warns and goes on."""

MAX_PIXELS_AT_ONCE = 2**25
"""Images of more pixels are decoded one at a time, however many threads there are."""

BACKGROUND = 255
"""The grey level that shows through transparent pixels: white, as in most viewers."""

_one_at_a_time = threading.Lock()

# A transparent grey level or colour is stored at the depth of the file, and Pillow brings the pixels alone to 8 bits.
_SCALES = {"L;2": 85.0, "L;4": 17.0, "RGB;16B": 1 / 256}


@contextlib.contextmanager
def opened_image(file: Path | io.BytesIO) -> Iterator[Image.Image]:
    """A PNG or JPEG file, its header read and its pixels not yet.

    Args:
        file: where it is, or its content.

    Yields:
        The image.

    Raises:
        ValueError: it is no PNG or JPEG, or has more than :data:`MAX_PIXELS`.
        Exception: it is damaged; Pillow and zlib have a dozen for it.
    """
    try:
        # By content Pillow would open some 40 formats, and for one of them (EPS) start Ghostscript.
        opened = Image.open(file, formats=("PNG", "JPEG"))
    except UnidentifiedImageError as error:
        raise ValueError("neither PNG nor JPEG") from error
    with opened as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} x {height} pixels, of which at most {MAX_PIXELS / 1e6:.0f} million are decoded")
        with _one_at_a_time if width * height > MAX_PIXELS_AT_ONCE else contextlib.nullcontext():
            _scale_transparent_color(image)
            yield image


def shown_pixels(image: Image.Image, channels: int) -> Image.Image:
    """An image as a viewer shows it: 8 bits, transparent pixels on white.

    Args:
        image: from :func:`opened_image`, of any mode that PNG and JPEG have.
        channels: 1 for grey, 3 for RGB.

    Returns:
        An image of mode ``L`` or ``RGB``.
    """
    mode = "L" if channels == 1 else "RGB"
    if image.mode.startswith("I"):
        return _from_sixteen_bits(image).convert(mode)
    if not image.has_transparency_data:
        return image.convert(mode)
    over = image.convert("RGBA")
    under = Image.new("RGBA", over.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
    return Image.alpha_composite(under, over).convert("RGB").convert(mode)


def _scale_transparent_color(image: Image.Image) -> None:
    """Bring the transparent grey level or colour of a PNG file (tRNS) to 8 bits, as its pixels will be."""
    tiles = getattr(image, "tile", None)  # how the pixels are stored; empty once they are decoded
    scale, color = _SCALES.get(str(tiles[0].args)) if tiles else None, image.info.get("transparency")
    if scale is not None and color is not None:
        is_rgb = isinstance(color, tuple)
        image.info["transparency"] = tuple(int(level * scale) for level in color) if is_rgb else int(color * scale)


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to 8; Pillow's own conversion clips all above 255 instead of scaling."""
    levels = np.asarray(image)
    shown = levels >> 8
    if "transparency" in image.info:
        shown = np.where(levels == image.info["transparency"], BACKGROUND, shown)
    return Image.fromarray(shown.astype(np.uint8))
