"""Prepared TensorFlow Datasets, read from ``array_record`` files without TensorFlow and without a network."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from aigc_jax.data.arrays import CachedSource, evenly_spaced
from aigc_jax.data.decoding import opened_image, shown_pixels
from aigc_jax.data.files import visible
from aigc_jax.data.images import IMAGE
from aigc_jax.types import Data, UsageError

HELD_OUT_SPLITS = ("test", "validation")
"""Splits of held-out examples, best first; without either, the last tenth of ``train`` is held out."""

VERSION = re.compile(r"\d+\.\d+\.\d+")
"""Names of version folders."""


def default_data_dir(data_dir: str | None) -> Path:
    """The folder of prepared data sets: ``data_dir``, else ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find_versions(folder: Path) -> list[Path]:
    """Prepared versions of a data set, oldest first, below ``DIR/NAME`` or ``DIR/NAME/CONFIG``, or one given itself."""
    candidates = [folder] if VERSION.fullmatch(folder.name) else folder.glob("*")
    found = [path for path in candidates if VERSION.fullmatch(path.name) and (path / "dataset_info.json").is_file()]
    return sorted(found, key=lambda path: [int(part) for part in path.name.split(".")])


def open_tfds(name: str, data_dir: str | None = None) -> Data:
    """Open a prepared data set of images: ``mnist``, ``emnist/letters``, ``mnist/3.0.1``; newest version by default.

    ``held_out`` is the first of :data:`HELD_OUT_SPLITS` that exists, else the last tenth of ``train``, which ``train``
    then lacks. UsageError means not prepared, damaged, in another format, or not images of one shape.
    """
    place = _find(name, default_data_dir(data_dir))
    parts = _read_splits(place)
    info = parts["train"].dataset_info
    features = dict(info.features.items())
    shape = _image_shape(place, features)
    class_names = tuple(visible(name) for name in getattr(features.get("label"), "names", ()))
    opened, digest = [], hashlib.sha256()
    for split, rows in _split_rows(place, {split: len(part) for split, part in parts.items()}):
        source = TfdsSource(parts[split], rows, place=place, image_shape=shape, num_classes=len(class_names))
        # The first record of every file: a truncated file cannot be opened at all, and should fail here.
        starts = {rows.start, *np.cumsum([0, *info.splits[split].shard_lengths])}
        source.take(np.array([start - rows.start for start in starts if start in rows]))
        digest.update(f"{place.folder.name} {split} {rows} {source.checksum()}".encode())
        opened.append(CachedSource(source))
    train, held_out = opened
    return Data(f"tfds:{name}", train, held_out, class_names, checksum=digest.hexdigest())


class Place(NamedTuple):
    """Place of a data set, for messages that say how to mend it."""

    name: str
    root: Path
    folder: Path
    command: str

    def damaged(self, error: Exception) -> UsageError:
        """The error of unreadable files."""
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        return UsageError(
            f"tfds:{self.name} in {self.folder} is damaged ({reason}): remove that folder and type {self.command}"
        )


class TfdsSource:
    """Examples of one split, decoded by Pillow; ``num_classes`` is 0 where there are no labels."""

    def __init__(
        self, records: Any, rows: range, *, place: Place, image_shape: tuple[int, int, int], num_classes: int
    ) -> None:
        self.records = records
        self.rows = rows
        self.place = place
        self.image_shape = image_shape
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {name: values[0] for name, values in self.take(np.array([index])).items()}

    def take(self, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        """The examples at ``indices`` as one batch."""
        examples = self._read(indices)
        try:
            batch = {IMAGE.name: np.stack([_decode(example[IMAGE.name], self.image_shape) for example in examples])}
        except Exception as error:  # Pillow has a dozen
            raise self.place.damaged(error) from error
        if not self.num_classes:
            return batch
        label = np.array([example["label"] for example in examples], np.int32)
        if label.min() < 0 or label.max() >= self.num_classes:
            raise UsageError(
                f"tfds:{self.place.name} has labels 0 ... {self.num_classes - 1}, but one of its examples has "
                f"{label.min() if label.min() < 0 else label.max()}: use another data set or version"
            )
        return {**batch, "label": label}

    def checksum(self) -> str:
        """Checksum of some evenly spaced examples as they are in the files, independent of the decoder."""
        examples = self._read(evenly_spaced(len(self)))
        return hashlib.sha256(b"".join(example[IMAGE.name] for example in examples)).hexdigest()

    def _read(self, indices: Int[np.ndarray, " batch"]) -> list[dict[str, Any]]:
        rows = [self.rows[index] for index in indices]
        try:
            return self.records.__getitems__(rows)
        except Exception as error:  # array_record and protobuf each have their own
            raise self.place.damaged(error) from error


def _find(name: str, root: Path) -> Place:
    """The newest prepared version."""
    command = f"aigc-jax data prepare tfds:{shlex.quote(name)} --data-dir {shlex.quote(str(root))}"
    folder = root / name.replace(":", "/").strip("/")
    versions = find_versions(folder)
    if versions:
        return Place(name, root, versions[-1], command)
    configs = sorted(path.name for path in folder.glob("*") if find_versions(path))
    if configs:
        raise UsageError(
            f"tfds:{name} in {root} comes in several forms: name one of "
            + ", ".join(f"tfds:{name}/{config}" for config in configs)
        )
    raise UsageError(f"tfds:{name} is not in {root}: type {command}, or name another folder with --data-dir")


def _read_splits(place: Place) -> dict[str, Any]:
    """All splits by name, with undecoded images."""
    # A long import, and only this source needs it.
    import tensorflow_datasets as tfds

    *path, version = place.folder.relative_to(place.root).parts
    # With its version, a data set is read without its code and without the network.
    name = f"{'/'.join(path)}:{version}"
    # tfds would decode by OpenCV where that is installed and by Pillow where not: they disagree about JPEG.
    decoders = {IMAGE.name: tfds.decode.SkipDecoding()}
    try:
        splits: Any = tfds.data_source(name, data_dir=place.root, download=False, decoders=decoders)
    except NotImplementedError as error:
        raise UsageError(
            f"tfds:{place.name} in {place.folder} is not in the format array_record: remove that folder and "
            f"type {place.command}"
        ) from error
    except Exception as error:  # json, protobuf and tfds each have their own
        raise place.damaged(error) from error
    if "train" not in splits:
        raise UsageError(f"tfds:{place.name} has no split named train, only {', '.join(splits)}: use another data set")
    return splits


def _image_shape(place: Place, features: dict[str, Any]) -> tuple[int, int, int]:
    """The common shape of all images."""
    feature = features.get(IMAGE.name)
    if feature is None or len(feature.shape) != 3 or feature.np_dtype != np.uint8:
        raise UsageError(
            f"tfds:{place.name} holds {', '.join(sorted(features))}, but no 8-bit 'image': use another data set"
        )
    if None in feature.shape:
        raise UsageError(
            f"tfds:{place.name} holds images of various sizes: write them as files and use folder:DIR, which resizes"
        )
    return feature.shape


def _split_rows(place: Place, lengths: dict[str, int]) -> list[tuple[str, range]]:
    """Split and records of the training part and of the held-out part."""
    num_train = lengths["train"]
    for split in HELD_OUT_SPLITS:
        if lengths.get(split):
            return [("train", range(num_train)), (split, range(lengths[split]))]
    cut = num_train - num_train // 10
    if cut == num_train:
        raise UsageError(f"tfds:{place.name} has {num_train} training examples, too few to hold some out")
    return [("train", range(cut)), ("train", range(cut, num_train))]


def _decode(file: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """A PNG or JPEG file as uint8 of the declared shape."""
    height, width, channels = shape
    with opened_image(io.BytesIO(file)) as image:
        if image.size != (width, height):
            raise ValueError(f"an image of {image.height} x {image.width}, not of {height} x {width}")
        return np.asarray(shown_pixels(image, channels)).reshape(shape)
