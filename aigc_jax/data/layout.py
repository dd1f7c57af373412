"""Search for the image files of a folder: their classes, and which of them are held out."""

from __future__ import annotations

import collections
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from aigc_jax.data.files import visible
from aigc_jax.types import UsageError

File = tuple[Path, int | None]
"""An image file and its label, None where there are no classes."""

SUFFIXES = (".png", ".jpg", ".jpeg")
"""Suffixes of images, in upper case too; all other files are passed over, and counted."""

HIDDEN = frozenset(
    {
        "__macosx",
        "__pycache__",
        "@eadir",
        "@recycle",
        "#recycle",
        "$recycle.bin",
        "lost+found",
        "system volume information",
        "thumbs",
    }
)
"""Folders of systems, cameras and network storage, in lower case. Names that begin with a dot are hidden too:
``.ipynb_checkpoints``, ``._1.png`` of macOS."""

TRAIN_NAMES = ("train", "training")
HELD_OUT_NAMES = ("test", "testing", "validation", "valid", "val")
"""Folders of a given split, best first."""

MAX_NAMED = 10
"""Kinds of passed-over files that are counted separately."""


class Layout(NamedTuple):
    """The image files of a folder, by part, with printable class names and remarks."""

    train: list[File]
    held_out: list[File]
    class_names: list[str]
    remarks: list[str]


class _Listing(NamedTuple):
    """Content of a folder of class folders."""

    classes: dict[str, list[Path]]  # by the folder's name, in natural order; images at any depth
    loose: list[Path]  # images in no class folder
    passed_over: collections.Counter[str]


def find_images(root: Path, *, is_labelled: bool) -> Layout:
    """The images of a folder, by part and class; ``is_labelled=False`` also accepts images in no class folder."""
    passed_over = collections.Counter[str]()
    folders, images = _entries(root, passed_over)
    split = {folder.name.lower(): folder for folder in folders}
    if not images and set(split) <= {*TRAIN_NAMES, *HELD_OUT_NAMES} and not split.keys().isdisjoint(TRAIN_NAMES):
        found = _find_split(root, split, passed_over, is_labelled=is_labelled)
        if found is not None:
            return found
    listing = _list(root)
    train, held_out = _hold_out(_classes(root, listing, is_labelled=is_labelled), root)
    return _labelled(train, held_out, [], listing.passed_over)


def _find_split(
    root: Path, split: Mapping[str, Path], passed_over: collections.Counter[str], *, is_labelled: bool
) -> Layout | None:
    """The images of ``train`` and ``test`` folders; None for a single folder of images with such a name."""
    listings = {name: _list(folder) for name, folder in split.items()}
    first = next(name for name in TRAIN_NAMES if name in split)
    has_classes = any(listings[first].classes.values())
    if not has_classes and len(split) == 1:
        return None
    if not has_classes and is_labelled:
        raise UsageError(
            f"the folders {', '.join(sorted(split))} in {visible(str(root))} have no class folders: put one folder of "
            "images per class into each, or pass --num-classes None for a model without condition"
        )
    train = _classes(split[first], listings[first], is_labelled=is_labelled)
    usable = [
        name
        for name in HELD_OUT_NAMES
        if name in split and (any(listings[name].classes.values()) if has_classes else listings[name].loose)
    ]
    if not usable:
        train, held_out = _hold_out(train, root)
        remarks = [f"a tenth of {split[first].name}/ is held out"]
    else:
        held_out = _classes(split[usable[0]], listings[usable[0]], is_labelled=is_labelled)
        remarks = [f"split as given into {split[first].name}/ and {split[usable[0]].name}/"]
    for name in (first, *usable[:1]):
        passed_over += listings[name].passed_over
    remarks += [f"{split[other].name}/ not used" for other in split if other not in (first, *usable[:1])]
    if not held_out.keys() <= train.keys():
        extra = ", ".join(visible(name) for name in held_out.keys() - train.keys())
        raise UsageError(
            f"{visible(str(split[usable[0]]))} has class folders that {visible(str(split[first]))} lacks ({extra}): "
            "remove them, or put images to train on into the other"
        )
    return _labelled(train, held_out, remarks, passed_over)


def _labelled(
    train: Mapping[str, list[Path]],
    held_out: Mapping[str, list[Path]],
    remarks: list[str],
    passed_over: collections.Counter[str],
) -> Layout:
    """Files with the position of their class as label."""
    labels = {name: label if name else None for label, name in enumerate(train)}
    files, others = (
        [(file, labels[name]) for name, files in part.items() for file in files] for part in (train, held_out)
    )
    if passed_over:
        remarks = [*remarks, f"passed over: {_counts(passed_over)}"]
    return Layout(files, others, [visible(name) for name in train if name], remarks)


def _list(root: Path) -> _Listing:
    passed_over = collections.Counter[str]()
    folders, images = _entries(root, passed_over)
    folders.sort(key=lambda folder: natural_key(folder.name))
    classes = {folder.name: _images_below(folder, root, passed_over) for folder in folders}
    return _Listing(classes, images, passed_over)


def _classes(folder: Path, listing: _Listing, *, is_labelled: bool) -> dict[str, list[Path]]:
    """The images of each class, under one empty name where there are no classes."""
    if listing.loose and not is_labelled and not any(listing.classes.values()):
        return {"": listing.loose}
    if not listing.classes:
        raise UsageError(
            f"the folder {visible(str(folder))} has no sub-folders: put the PNG or JPEG images of each class into one "
            "of its own" + (", or pass --num-classes None for a model without condition" if listing.loose else "")
        )
    empty = [name for name, files in listing.classes.items() if not files]
    if empty:
        others = f" (passed over: {_counts(listing.passed_over)})" if listing.passed_over else ""
        raise UsageError(
            f"the class folder {visible(str(folder / empty[0]))} holds no PNG or JPEG image{others}: put some there "
            "or remove it"
        )
    if listing.loose:
        listing.passed_over["images in no class folder"] += len(listing.loose)
    return listing.classes


def _hold_out(classes: Mapping[str, list[Path]], root: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """A tenth of each class held out, and at least one image of two."""
    train, held_out = dict[str, list[Path]](), dict[str, list[Path]]()
    for name, files in classes.items():
        # File names are bytes, which need not be valid UTF-8.
        order = sorted(files, key=lambda file: hashlib.sha256(os.fsencode(file.relative_to(root).as_posix())).digest())
        num_held_out = max(len(files) // 10, min(len(files) - 1, 1))
        train[name], held_out[name] = order[num_held_out:], order[:num_held_out]
    if not any(held_out.values()):
        raise UsageError(
            f"every class folder in {visible(str(root))} holds a single image: put in two or more, one is held out"
        )
    return train, held_out


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorting key that orders numbers in names by value.

    >>> sorted(["10", "2", "b10", "b9"], key=natural_key)
    ['2', '10', 'b9', 'b10']
    """
    parts = re.split("([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def is_hidden(name: str) -> bool:
    """Whether the name of a file or folder marks it as no data."""
    return name.startswith(".") or name.lower() in HIDDEN


def _images_below(folder: Path, root: Path, passed_over: collections.Counter[str]) -> list[Path]:
    """The images of a folder at any depth; links to folders are followed, each folder is read once."""
    # A link back to where the search came from would never end, or take all classes for one.
    visited = {_identity(path) for path in (root, *root.resolve().parents)}
    found, waiting, linked = list[Path](), [folder], list[Path]()
    while waiting or linked:
        # Links last: one to a folder that is there anyway must not give its images another name.
        here = (waiting or linked).pop()
        if _identity(here) in visited:
            passed_over["folders linked twice"] += 1
            continue
        visited.add(_identity(here))
        folders, images = _entries(here, passed_over)
        for folder in reversed(folders):
            (linked if folder.is_symlink() else waiting).append(folder)
        found += images
    return found


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _entries(folder: Path, passed_over: collections.Counter[str]) -> tuple[list[Path], list[Path]]:
    """The folders and the images directly in a folder, sorted by name; all other entries are counted."""
    folders, images = list[Path](), list[Path]()
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(
            f"the folder {visible(str(folder))} cannot be read ({error.strerror}): allow it or remove it"
        ) from error
    for entry in entries:
        suffix = os.path.splitext(entry.name)[1].lower()
        if is_hidden(entry.name):
            passed_over["hidden"] += 1
        elif _holds(entry.is_dir):
            folders.append(Path(entry.path))
        elif suffix not in SUFFIXES:
            passed_over[visible(suffix) or "without suffix"] += 1
        elif _holds(entry.is_file):
            images.append(Path(entry.path))
        else:
            passed_over["broken links or pipes"] += 1
    return folders, images


def _holds(test: Callable[[], bool]) -> bool:
    """Type test of a directory entry; False for a link to nothing or to itself."""
    try:
        return test()
    except OSError:
        return False


def _counts(passed_over: collections.Counter[str]) -> str:
    """``54 .webp, 3 hidden``, most first."""
    most = passed_over.most_common(MAX_NAMED)
    rest = passed_over.total() - sum(number for _, number in most)
    return ", ".join([*(f"{number} {kind}" for kind, number in most), *([f"{rest} others"] if rest else [])])
