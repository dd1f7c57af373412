"""Prepared TensorFlow Datasets, read from ``array_record`` files without TensorFlow and without a network."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from aigc_jax.data.arrays import CachedSource, evenly_spaced
from aigc_jax.data.broken import MAX_BROKEN, check_budget
from aigc_jax.data.decoding import opened_image, shown_pixels
from aigc_jax.data.files import visible
from aigc_jax.data.images import IMAGE
from aigc_jax.types import Data, UsageError

HELD_OUT_SPLITS = ("test", "validation")
"""Splits of held-out examples, best first; without either, the last tenth of ``train`` is held out."""

_BLOCK = 64  # records read at once in the search for broken ones

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


def open_tfds(
    name: str, data_dir: str | None = None, *, skip_broken: bool = False, max_broken: float = MAX_BROKEN
) -> Data:
    """Open a prepared data set of images: ``mnist``, ``emnist/letters``, ``mnist/3.0.1``; newest version by default.

    ``held_out`` is the first of :data:`HELD_OUT_SPLITS` that exists, else the last tenth of ``train``, which ``train``
    then lacks. UsageError means not prepared, damaged, in another format, or not images of one shape. With
    ``skip_broken`` every record is read, and up to a share ``max_broken`` of damaged ones is left out.
    """
    place = _find(name, default_data_dir(data_dir))
    parts = _read_splits(place, has_images=True)
    info = parts["train"].dataset_info
    features = dict(info.features.items())
    shape = _image_shape(place, features)
    class_names = tuple(visible(name) for name in getattr(features.get("label"), "names", ()))
    opened, digest, remarks = [], hashlib.sha256(), []
    for split, rows in _split_rows(place, {split: len(part) for split, part in parts.items()}):
        source = TfdsSource(
            parts[split], rows, place=place, split=split, image_shape=shape, num_classes=len(class_names)
        )
        if skip_broken:
            broken = source.leave_out_broken()
            check_budget(f"records of {split}", broken, len(rows), max_broken)
            remarks += [f"{len(broken)} damaged records of {split} left out"] if broken else []
        else:
            # The first record of every file: a truncated file cannot be opened at all, and should fail here.
            starts = {rows.start, *np.cumsum([0, *info.splits[split].shard_lengths])}
            source.take(np.array([start - rows.start for start in starts if start in rows]))
        digest.update(f"{place.folder.name} {split} {rows} {source.checksum()}".encode())
        opened.append(CachedSource(source))
    train, held_out = opened
    return Data(f"tfds:{name}", train, held_out, class_names, remarks=remarks, checksum=digest.hexdigest())


def read_texts(name: str, data_dir: str | None = None) -> tuple[list[str], list[str]]:
    """Training and held-out documents of a prepared data set of texts; splits of one document each are one text.

    Held out are ``validation`` and ``test`` together, as the published splits of single texts are, or where neither is,
    the last tenth of ``train``. UsageError means not prepared, damaged, or no text.
    """
    place = _find(name, default_data_dir(data_dir))
    parts = _read_splits(place, has_images=False)
    features = dict(parts["train"].dataset_info.features.items())
    if "text" not in features or getattr(features["text"], "shape", None) != ():
        raise UsageError(f"tfds:{name} holds {', '.join(sorted(features))}, but no 'text': use another data set")
    found = {split: _texts(place, parts[split]) for split in ("train", *reversed(HELD_OUT_SPLITS)) if split in parts}
    train = found.pop("train")
    held_out = [text for texts in found.values() for text in texts]
    if not held_out:
        cut = len(train) - len(train) // 10
        return train[:cut], train[cut:]
    return train, ["".join(held_out)] if all(len(texts) == 1 for texts in found.values()) else held_out


def read_labelled_texts(
    name: str, data_dir: str | None = None
) -> tuple[tuple[list[str], np.ndarray], tuple[list[str], np.ndarray], list[str]]:
    """Training and held-out texts of a prepared data set with their labels, and the names of the classes.

    Held out is the split ``test``, or else ``validation``, or else the last tenth of ``train``.
    """
    place = _find(name, default_data_dir(data_dir))
    parts = _read_splits(place, has_images=False)
    features = dict(parts["train"].dataset_info.features.items())
    class_names = getattr(features.get("label"), "names", None)
    if "text" not in features or class_names is None:
        raise UsageError(
            f"tfds:{name} holds {', '.join(sorted(features))}, but no 'text' with a 'label': use another data set"
        )
    rows = _split_rows(place, {split: len(part) for split, part in parts.items()})
    (train, held_out) = (_labelled(place, parts[split], indices) for split, indices in rows)
    return train, held_out, list(class_names)


def _labelled(place: Place, part: Any, indices: range) -> tuple[list[str], np.ndarray]:
    try:
        records = part.__getitems__(list(indices))
        texts = [record["text"].decode(errors="replace") for record in records]
        return texts, np.array([record["label"] for record in records], np.int32)
    except Exception as error:  # array_record and protobuf each have their own
        raise place.damaged(error) from error


def _texts(place: Place, part: Any) -> list[str]:
    try:
        return [record["text"].decode(errors="replace") for record in part.__getitems__(list(range(len(part))))]
    except Exception as error:  # array_record and protobuf each have their own
        raise place.damaged(error) from error


class Place(NamedTuple):
    """Place of a data set, for messages that say how to mend it."""

    name: str
    root: Path
    folder: Path
    command: str

    def damaged(self, error: Exception, record: str = "") -> UsageError:
        """The error of unreadable files, or of one record."""
        reason = visible(str(error).strip().split("\n")[0])[:200] or type(error).__name__
        which, skip = (f"{record} of ", ", or leave it out with --skip-broken True") if record else ("", "")
        return UsageError(
            f"{which}tfds:{self.name} in {self.folder} is damaged ({reason}): remove that folder and type "
            f"{self.command}{skip}"
        )


class TfdsSource:
    """Examples of one split, decoded by Pillow; ``num_classes`` is 0 where there are no labels."""

    def __init__(
        self,
        records: Any,
        rows: Sequence[int],
        *,
        place: Place,
        split: str,
        image_shape: tuple[int, int, int],
        num_classes: int,
    ) -> None:
        self.records = records
        self.rows = rows
        self.place = place
        self.split = split
        self.image_shape = image_shape
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {name: values[0] for name, values in self.take(np.array([index])).items()}

    def take(self, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        """The examples at ``indices`` as one batch."""
        examples = self._read(indices)
        images = [self._decode(index, example) for index, example in zip(indices, examples, strict=True)]
        batch = {IMAGE.name: np.stack(images)}
        if not self.num_classes:
            return batch
        label = np.array([example["label"] for example in examples], np.int32)
        if label.min() < 0 or label.max() >= self.num_classes:
            raise UsageError(
                f"tfds:{self.place.name} has labels 0 ... {self.num_classes - 1}, but one of its examples has "
                f"{label.min() if label.min() < 0 else label.max()}: use another data set or version"
            )
        return {**batch, "label": label}

    def leave_out_broken(self) -> list[str]:
        """Read all records, leave out those that cannot be read, and name these."""
        broken = dict[int, str]()
        for start in range(0, len(self), _BLOCK):
            block = range(start, min(start + _BLOCK, len(self)))
            try:
                self.take(np.array(block))
            except UsageError:
                broken |= {index: reason for index in block if (reason := self._why_broken(index))}
        self.rows = [row for index, row in enumerate(self.rows) if index not in broken]
        return list(broken.values())

    def _why_broken(self, index: int) -> str:
        try:
            self._decode(index, self._read(np.array([index]))[0])
        except UsageError as error:
            return f"{self.rows[index]} ({error.__cause__})"
        return ""

    def checksum(self) -> str:
        """Checksum of some evenly spaced examples as they are in the files, independent of the decoder."""
        examples = self._read(evenly_spaced(len(self)))
        return hashlib.sha256(b"".join(example[IMAGE.name] for example in examples)).hexdigest()

    def _read(self, indices: Int[np.ndarray, " batch"]) -> list[dict[str, Any]]:
        rows = [self.rows[index] for index in indices]
        try:
            return self.records.__getitems__(rows)
        except Exception:  # array_record and protobuf each have their own
            return [self._read_one(row) for row in rows]

    def _read_one(self, row: int) -> dict[str, Any]:
        """One record, whose number an error names."""
        try:
            return self.records.__getitems__([row])[0]
        except Exception as error:
            raise self.place.damaged(error, f"record {row} of split {self.split}") from error

    def _decode(self, index: int, example: Mapping[str, Any]) -> UInt8[np.ndarray, "height width channels"]:
        """The image of an example, a PNG or JPEG file, in the declared shape."""
        height, width, channels = self.image_shape
        try:
            with opened_image(io.BytesIO(example[IMAGE.name])) as image:
                if image.size != (width, height):
                    raise ValueError(f"an image of {image.height} x {image.width}, not of {height} x {width}")
                return np.asarray(shown_pixels(image, channels)).reshape(self.image_shape)
        except Exception as error:  # Pillow has a dozen
            raise self.place.damaged(error, f"record {self.rows[index]} of split {self.split}") from error


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


def _read_splits(place: Place, *, has_images: bool) -> dict[str, Any]:
    """All splits by name, with undecoded images."""
    # A long import, and only this source needs it.
    import tensorflow_datasets as tfds

    *path, version = place.folder.relative_to(place.root).parts
    # With its version, a data set is read without its code and without the network.
    name = f"{'/'.join(path)}:{version}"
    # tfds would decode by OpenCV where that is installed and by Pillow where not: they disagree about JPEG.
    decoders = {IMAGE.name: tfds.decode.SkipDecoding()} if has_images else None
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
