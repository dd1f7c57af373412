"""Files made by hand from the PNG standard, so that Pillow does not check itself."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from aigc_jax.data import decoding
from aigc_jax.data.decoding import opened_image, shown_pixels

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6


def png(width, height, depth, color_type, rows, **chunks):
    """A PNG file: ISO/IEC 15948, section 11."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    others = b"".join(chunk(name.encode(), content) for name, content in chunks.items())
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + others + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def shown(content, channels=3):
    with opened_image(io.BytesIO(content)) as image:
        return np.asarray(shown_pixels(image, channels)).tolist()


WHITE = [255, 255, 255]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(2, 1, 8, RGB_ALPHA, [bytes([1, 2, 3, 255, 99, 0, 7, 0])]), [[1, 2, 3], WHITE]),
        (png(2, 1, 16, RGB_ALPHA, [struct.pack(">8H", 256, 512, 768, 65535, 9, 9, 9, 0)]), [[1, 2, 3], WHITE]),
        (png(2, 1, 8, GREY_ALPHA, [bytes([7, 255, 99, 0])]), [[7, 7, 7], WHITE]),
        (png(2, 1, 16, GREY_ALPHA, [struct.pack(">4H", 7 * 256, 65535, 99, 0)]), [[7, 7, 7], WHITE]),
        (png(2, 1, 8, PALETTE, [b"\0\1"], PLTE=bytes([1, 2, 3, 4, 5, 6]), tRNS=b"\xff\0"), [[1, 2, 3], WHITE]),
        (png(2, 1, 8, PALETTE, [b"\0\1"], PLTE=bytes([1, 2, 3, 4, 5, 6]), tRNS=b"\0"), [WHITE, [4, 5, 6]]),
        (png(2, 1, 8, RGB, [bytes([1, 2, 3, 4, 5, 6])], tRNS=struct.pack(">3H", 4, 5, 6)), [[1, 2, 3], WHITE]),
        (png(2, 1, 8, GREY, [bytes([7, 9])], tRNS=struct.pack(">H", 9)), [[7, 7, 7], WHITE]),
        (png(2, 1, 1, GREY, [bytes([0b01000000])], tRNS=struct.pack(">H", 1)), [[0, 0, 0], WHITE]),
        (png(2, 1, 2, GREY, [bytes([0b01100000])], tRNS=struct.pack(">H", 2)), [[85, 85, 85], WHITE]),
        (png(2, 1, 4, GREY, [bytes([0x12])], tRNS=struct.pack(">H", 2)), [[17, 17, 17], WHITE]),
        # Levels that differ in the lower byte alone: one is transparent, the other is not.
        (png(2, 1, 16, GREY, [struct.pack(">2H", 513, 514)], tRNS=struct.pack(">H", 514)), [[2, 2, 2], WHITE]),
        (
            png(
                2,
                1,
                16,
                RGB,
                [struct.pack(">6H", 256, 512, 768, 1024, 1280, 1536)],
                tRNS=struct.pack(">3H", 1024, 1280, 1536),
            ),
            [[1, 2, 3], WHITE],
        ),
    ],
)
def test_shown_pixels_makes_transparent_pixels_white_in_every_kind_of_png(content, expected):
    assert shown(content) == [expected]
    grey = [255 if pixel == WHITE else round(np.dot(pixel, [0.299, 0.587, 0.114])) for pixel in expected]
    assert shown(content, channels=1) == [grey]


def test_shown_pixels_mixes_half_transparent_pixels_with_white():
    # 0.2 of black over white.
    assert shown(png(1, 1, 8, GREY_ALPHA, [bytes([0, 51])]), channels=1) == [[204]]


@pytest.mark.parametrize("size", [(28, 28, 4), (28, 28, 2)])
def test_shown_pixels_ignores_colours_of_transparent_pixels(size):
    noise = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    noise[..., -1] = 0
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format="PNG")
    assert np.std(shown(file.getvalue())) == 0


@pytest.mark.parametrize("kind", ["EPS", "BMP", "GIF", "TIFF", "TGA", "PCX", "ICO", "SGI", "WEBP", "PPM", "PDF"])
def test_opened_image_refuses_other_formats_of_any_name(kind):
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, format=kind)
    with pytest.raises(ValueError, match="neither PNG nor JPEG"):
        shown(file.getvalue())


def test_opened_image_refuses_lossy_floats():
    file = io.BytesIO()
    Image.fromarray(np.array([[np.inf, np.nan, 0.5]], np.float32)).save(file, format="TIFF")
    with pytest.raises(ValueError, match="neither PNG nor JPEG"):
        shown(file.getvalue())


def test_opened_image_of_eps_does_not_start_ghostscript(tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, format="EPS")
    with pytest.raises(ValueError, match="neither"):
        shown(file.getvalue())
    assert not (tmp_path / "started").exists()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [13_300, 50_000])
def test_opened_image_refuses_huge_images_before_decoding(side, monkeypatch):
    # All rows at once would be gigabytes here, too: the pixels are not there, and must not be asked for.
    with pytest.raises(Exception, match="pixels"):
        shown(png(side, side, 8, RGB, []))


def test_opened_image_decodes_large_images_one_at_a_time(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS_AT_ONCE", 3)
    with opened_image(io.BytesIO(png(2, 2, 8, GREY, [b"\1\2", b"\3\4"]))):
        assert not decoding._one_at_a_time.acquire(blocking=False)
        assert shown(png(1, 1, 8, GREY, [b"\5"])) == [[[5, 5, 5]]]
    assert decoding._one_at_a_time.acquire(blocking=False)
    decoding._one_at_a_time.release()
