"""Images in folders, one sub-folder per class: ``DIR/cat/1.png``, ``DIR/dog/2.jpg``.

Two other layouts are possible: ``DIR/train/cat/1.png`` with ``DIR/test/cat/2.png``, and for models without condition
images with no class folders at all.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageOps

from aigc_jax.data.arrays import CachedSource, evenly_spaced
from aigc_jax.data.broken import MAX_BROKEN, check_budget, named
from aigc_jax.data.decoding import opened_image, shown_pixels
from aigc_jax.data.files import visible
from aigc_jax.data.images import IMAGE
from aigc_jax.data.layout import File, find_images
from aigc_jax.types import Data, UsageError

MAX_CHECKED = 5000
"""Files of a part that are read in full on opening, evenly spaced in a larger one."""


class BrokenImageError(UsageError):
    """An image file that cannot be read or decoded to its end, and the reason in one line."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"the image {self.name} cannot be read ({reason}): replace or remove it")

    @property
    def name(self) -> str:
        """The path in printable form."""
        return visible(str(self.path))


def open_folder(
    folder: str,
    image_shape: tuple[int, int, int],
    *,
    is_labelled: bool = True,
    skip_broken: bool = False,
    max_broken: float = MAX_BROKEN,
) -> Data:
    """Open a folder of images, brought to ``image_shape``: centre-cropped, resized, converted to grey or RGB.

    The classes are the sub-folders in natural order: ``2`` comes before ``10``. Of each class, a tenth of the images,
    and at least one of two, is held out: those whose paths have the smallest checksums, the same on every machine.
    Where all sub-folders are called ``train``, ``val`` or ``test``, the classes are the folders in ``train``, and the
    images of ``test``, else ``val``, are held out. Folders may hold folders of their own, and links to folders.

    Args:
        folder: the folder of class folders.
        image_shape: height, width and channels (1 or 3).
        is_labelled: False also accepts images in no class folder, then without labels.
        skip_broken: leave out images that cannot be read, instead of an error; every file is read for it.
        max_broken: the largest share of them, in [0, 1); more are an error all the same.

    Returns:
        Images uint8 and labels; ``remarks`` name the files that were passed over. Up to :data:`MAX_CHECKED` images of a
        part are decoded at once, the others when first used.
    """
    root = Path(folder).expanduser()
    if not os.path.isdir(root):
        raise UsageError(f"there is no folder {visible(str(root))}: name one that has a sub-folder of images per class")
    found = find_images(root, is_labelled=is_labelled)
    train, held_out = (
        _read_files(sorted(files), image_shape, is_all_read=skip_broken) for files in (found.train, found.held_out)
    )
    broken = train.broken + held_out.broken
    if train.source is None or held_out.source is None or (broken and not skip_broken):
        raise _broken_images(broken, is_skipping=skip_broken)
    check_budget("images", [_described(each) for each in broken], len(found.train + found.held_out), max_broken)
    lost = {label for _, label in found.train if label is not None} - {label for _, label in train.files}
    if lost:
        raise UsageError(
            f"no image to train on of the class {found.class_names[min(lost)]} can be read: replace some of them, or "
            "remove its folder"
        )
    remarks = [
        "centre-cropped and resized to {} x {} x {}, transparent pixels on white".format(*image_shape),
        *found.remarks,
        *([f"{len(broken)} broken images left out"] if broken else []),
    ]
    checksum = _checksum([*train.files, *held_out.files], root)
    return Data(
        f"folder:{visible(root.resolve().name)}",
        train.source,
        held_out.source,
        found.class_names,
        remarks=remarks,
        checksum=checksum,
    )


class FolderSource:
    """Image files with labels (None where there are no classes), decoded at each access."""

    def __init__(self, files: Sequence[File], image_shape: tuple[int, int, int]) -> None:
        self.files = files
        self.image_shape = image_shape

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        path, label = self.files[index]
        image = read_image(path, self.image_shape)
        return {IMAGE.name: image} if label is None else {IMAGE.name: image, "label": np.asarray(label, np.int32)}

    @property
    def labels(self) -> Int[np.ndarray, " num"] | None:
        """The label of each example, without reading the images; None where there are no classes."""
        labels = [label for _, label in self.files if label is not None]
        return np.array(labels, np.int32) if labels else None


def read_image(path: Path, image_shape: tuple[int, int, int]) -> UInt8[np.ndarray, "height width channels"]:
    """Decode a PNG or JPEG file as uint8 of ``image_shape`` (height, width, 1 or 3 channels)."""
    height, width, channels = image_shape
    with _upright(path) as image:
        shown = shown_pixels(image, channels)
        if shown.size != (width, height):
            shown = ImageOps.fit(shown, (width, height), Image.Resampling.LANCZOS)
        return np.asarray(shown).reshape(image_shape)


def image_shape(path: Path) -> tuple[int, int, int]:
    """Height, width and channels of a PNG or JPEG file as a viewer shows it: 1 channel for grey levels, else 3."""
    with _upright(path) as image:
        return image.height, image.width, 1 if image.mode in ("1", "L", "LA") or image.mode.startswith("I") else 3


@contextlib.contextmanager
def _upright(path: Path) -> Iterator[Image.Image]:
    """An opened image, turned as EXIF says: cameras store pixels as the sensor has them."""
    try:
        with opened_image(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            yield image
    except Exception as error:  # truncated, unreadable, too large: Pillow has a dozen for it
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).split("\n")[0]
        raise BrokenImageError(path, visible(reason) or type(error).__name__) from error


class _Part(NamedTuple):
    """The readable images of a part."""

    files: list[File]
    source: CachedSource | None
    broken: list[BrokenImageError]


def _read_files(files: list[File], image_shape: tuple[int, int, int], *, is_all_read: bool) -> _Part:
    """Decode images now: a broken one must stop the command, not the training an hour later."""
    broken, source = list[BrokenImageError](), None
    while files and source is None:
        try:
            source = CachedSource(FolderSource(files, image_shape))
        except BrokenImageError as error:
            broken, files = [*broken, error], files[1:]
    if source is None:
        return _Part(files, source, broken)
    num_checked = len(files) if is_all_read else MAX_CHECKED
    chosen = evenly_spaced(len(files), num_checked)
    # Pillow decodes and resizes without Python's lock, so threads are faster.
    with concurrent.futures.ThreadPoolExecutor(4) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such images are refused
        blocks = pool.map(functools.partial(_find_broken, source), np.array_split(chosen, -(-len(chosen) // 64)))
        found = [error for block in blocks for error in block]
    if found:
        paths = {error.path for error in found}
        files = [file for file in files if file[0] not in paths]
        source = CachedSource(FolderSource(files, image_shape))
    return _Part(files, source, broken + found)


def _find_broken(source: CachedSource, indices: Int[np.ndarray, " block"]) -> list[BrokenImageError]:
    broken = []
    for index in indices:
        try:
            source.take(index[None])
        except BrokenImageError as error:
            broken.append(error)
    return broken


def _broken_images(broken: Sequence[BrokenImageError], *, is_skipping: bool) -> UsageError:
    """One error that names all broken images, or the first of many; ``is_skipping``: no part is left without them."""
    if len(broken) == 1 and not is_skipping:
        return UsageError(f"{broken[0]}, or leave it out with --skip-broken True")
    advice = "replace or remove them, or leave them out with --skip-broken True"
    if is_skipping:
        advice = "too few are left to train and to hold out, replace some"
    return UsageError(
        f"{len(broken)} images cannot be read: {named([_described(error) for error in broken])}: {advice}"
    )


def _described(error: BrokenImageError) -> str:
    return f"{error.name} ({error.reason})"


def _checksum(files: Sequence[File], root: Path) -> str:
    """Checksum of names, labels and sizes of all files and of the content of some, wherever the folder lies."""
    digest = hashlib.sha256()
    for path, label in files:
        name = os.fsencode(path.relative_to(root).as_posix())
        digest.update(b"%s\0%d %d\0" % (name, -1 if label is None else label, path.stat().st_size))
    for index in evenly_spaced(len(files)):
        path, _ = files[index]
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise BrokenImageError(path, error.strerror or str(error)) from error
    return digest.hexdigest()
