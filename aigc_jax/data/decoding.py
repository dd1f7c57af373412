"""Decoding of PNG and JPEG files of unknown origin, and of no other format, to the pixels that a viewer shows."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 89_478_485
"""Size limit of an image: 256 MiB decoded, perhaps from a few hundred bytes in a file. Pillow only warns above it."""

MAX_PIXELS_AT_ONCE = 2**25
"""Images of more pixels are decoded one at a time, not one per thread."""

BACKGROUND = 255
"""The grey level that shows through transparent pixels: white, as in most viewers."""

_one_at_a_time = threading.Lock()

# A transparent grey level or colour is stored at the depth of the file, and Pillow brings the pixels alone to 8 bits.
_SCALES = {"L;2": 85.0, "L;4": 17.0, "RGB;16B": 1 / 256}


@contextlib.contextmanager
def opened_image(file: Path | io.BytesIO) -> Iterator[Image.Image]:
    """Open a PNG or JPEG file or its content; the header is read, the pixels not yet.

    ValueError means neither PNG nor JPEG, or more than :data:`MAX_PIXELS`; a damaged file raises any of a dozen errors.
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
    """An image as a viewer shows it, mode L (1 channel) or RGB (3): 8 bits, transparent pixels on white."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode.startswith("I"):
        return _from_sixteen_bits(image).convert(mode)
    if not image.has_transparency_data:
        return image.convert(mode)
    over = image.convert("RGBA")
    under = Image.new("RGBA", over.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
    return Image.alpha_composite(under, over).convert("RGB").convert(mode)


def _scale_transparent_color(image: Image.Image) -> None:
    """Bring the transparent grey level or colour of a PNG file (tRNS) to 8 bits, like its pixels."""
    tiles = getattr(image, "tile", None)  # how the pixels are stored; empty once they are decoded
    scale, color = _SCALES.get(str(tiles[0].args)) if tiles else None, image.info.get("transparency")
    if scale is not None and color is not None:
        is_rgb = isinstance(color, tuple)
        image.info["transparency"] = tuple(int(level * scale) for level in color) if is_rgb else int(color * scale)


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to 8; Pillow's own conversion clips above 255 instead of scaling."""
    levels = np.asarray(image)
    shown = levels >> 8
    if "transparency" in image.info:
        shown = np.where(levels == image.info["transparency"], BACKGROUND, shown)
    return Image.fromarray(shown.astype(np.uint8))
