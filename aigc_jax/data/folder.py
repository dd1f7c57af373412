"""Images in folders, one sub-folder per class: ``DIR/cat/1.png``, ``DIR/dog/2.jpg``."""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Int
from PIL import Image, ImageOps

from aigc_jax.data.arrays import CachedSource, take
from aigc_jax.types import Data, DataSource, UsageError

SUFFIXES = (".png", ".jpg", ".jpeg")
"""Files that count as images, in upper case too; all others are passed over."""

MAX_CHECKED = 5000
"""How many files of a part are read in full on opening. Of a larger part, so many evenly spaced ones."""


def open_folder(folder: str, image_shape: tuple[int, int, int]) -> Data:
    """Open images in class sub-folders.

    The classes are the sub-folders in the order of their names. Of each class, a tenth of the images, and at
    least one of two, is held out: those whose paths have the smallest checksums, the same on every machine.

    Args:
        folder: the folder of class folders; these may hold folders of their own.
        image_shape: height, width and channels (1 or 3) to bring every image to: the largest centred part
            of that aspect ratio, resized; converted to grey or RGB, transparency dropped.

    Returns:
        Images uint8 of ``image_shape`` and labels.

    Raises:
        UsageError: no such folder, no or empty class folders, nothing to hold out, or an image that cannot be
            decoded. Up to :data:`MAX_CHECKED` images are decoded at once, the others when they are first used.
    """
    root = Path(folder).expanduser()
    classes = _classes(root)
    train, held_out = [], []
    for label, path in enumerate(classes):
        files = [file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()]
        if not files:
            raise UsageError(f"the class folder {path} holds no PNG or JPEG image: put some there or remove it")
        files.sort(key=lambda file: hashlib.sha256(file.relative_to(root).as_posix().encode()).digest())
        num_held_out = max(len(files) // 10, min(len(files) - 1, 1))
        held_out += [(file, label) for file in files[:num_held_out]]
        train += [(file, label) for file in files[num_held_out:]]
    if not held_out:
        raise UsageError(f"every class folder in {root} holds a single image: put in two or more, one is held out")
    opened = Data(
        f"folder:{folder}",
        CachedSource(FolderSource(sorted(train), image_shape)),
        CachedSource(FolderSource(sorted(held_out), image_shape)),
        [path.name for path in classes],
    )
    for part in (opened.train, opened.held_out):
        _check(part)
    return opened


class FolderSource:
    """Image files with labels, decoded when asked for.

    Attributes:
        files: path and label of each example.
        image_shape: what every image is brought to.
    """

    def __init__(self, files: list[tuple[Path, int]], image_shape: tuple[int, int, int]) -> None:
        self.files = files
        self.image_shape = image_shape

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        path, label = self.files[index]
        return {"image": read_image(path, self.image_shape), "label": np.asarray(label, np.int32)}


def read_image(path: Path, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Decode an image file and bring it to a shape.

    Args:
        path: a PNG or JPEG file.
        image_shape: height, width and channels (1 or 3).

    Returns:
        uint8 [H, W, C].

    Raises:
        UsageError: the file cannot be read or decoded to its end.
    """
    height, width, channels = image_shape
    try:
        with Image.open(path) as image:
            # Cameras store the picture as the sensor saw it, and beside it how they were held.
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                # 16-bit grey; Pillow's own conversion clips all above 255 instead of scaling.
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            converted = upright.convert("L" if channels == 1 else "RGB")
            if converted.size != (width, height):
                converted = ImageOps.fit(converted, (width, height), Image.Resampling.LANCZOS)
            return np.asarray(converted).reshape(image_shape)
    except Exception as error:  # truncated, not an image, unreadable, too large: Pillow has a dozen for it
        reason = str(error).split("\n")[0]
        raise UsageError(f"the image {path} cannot be read ({reason}): replace or remove it") from error


def _classes(root: Path) -> list[Path]:
    """The class folders in the order of their names; hidden ones are no classes."""
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}: name one that has a sub-folder of images per class")
    classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    if not classes:
        raise UsageError(
            f"the folder {root} has no sub-folders: put the PNG or JPEG images of each class into one of its own"
        )
    return classes


def _check(source: DataSource) -> None:
    """Decode images now: a broken one should stop the command, not the training an hour later."""
    chosen: Int[np.ndarray, " checked"] = np.unique(np.linspace(0, len(source) - 1, MAX_CHECKED).astype(int))
    # Pillow decodes and resizes without Python's lock: threads do help.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in pool.map(functools.partial(take, source), np.array_split(chosen, -(-len(chosen) // 64))):
            pass
