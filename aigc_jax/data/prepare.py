"""Commands ``aigc-jax data prepare`` and ``aigc-jax data list``: download data sets, and list those that are there."""

from __future__ import annotations

import contextlib
import difflib
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from aigc_jax.data.images import IMAGE
from aigc_jax.data.sentiment import FILE, SENTIMENT, prepare_sentiment
from aigc_jax.data.tensorflow_free import check_any_reachable, tensorflow_free
from aigc_jax.data.tfds_source import VERSION, default_data_dir, find_versions
from aigc_jax.types import UsageError

SUGGESTED = {
    "mnist": ("10", "28 x 28 x 1", "train 60000, test 10000"),
    "cifar10": ("10", "32 x 32 x 3", "train 50000, test 10000"),
    "tiny_shakespeare": ("none", "text", "train 1003854 characters"),
}
"""Suggested data sets of ``list_data``: classes, shape, examples."""


class Row(NamedTuple):
    """One line of ``aigc-jax data list``."""

    name: str
    classes: str
    shape: str
    examples: str
    where: str  # the folder, or the command that prepares it


def prepare(name: str, data_dir: str | None = None) -> str:
    """Download a data set and write it as ``array_record``, with progress bars, without TensorFlow.

    All work is done in a temporary folder inside ``data_dir``: the data set appears in its place when it is complete,
    or not at all. The downloaded originals are not kept. ``name`` is ``tfds:NAME``, or ``tfds:NAME/CONFIG`` where there
    are several forms, or ``sentiment``; the result is one line that says where the data are.
    """
    if name == SENTIMENT:
        return prepare_sentiment(data_dir)
    kind, _, dataset = name.partition(":")
    if kind != "tfds" or not dataset:
        raise UsageError(f"only tfds:NAME and sentiment need preparation, for example tfds:mnist, got {name!r}")
    root = default_data_dir(data_dir)
    present = find_versions(root / dataset.replace(":", "/").strip("/"))
    if present:
        return f"{name} is already prepared in {present[-1]}"
    is_new = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _scratch(root) as scratch:
            made = _make(dataset, root, scratch)
            folder = root / made.relative_to(scratch)
            if find_versions(folder):
                return f"{name} is already prepared in {folder}"
            folder.parent.mkdir(parents=True, exist_ok=True)
            made.rename(folder)
    except OSError as error:
        raise UsageError(f"cannot write to {root} ({error.strerror or error}): name another --data-dir") from error
    finally:
        if is_new:
            # Only where it stayed empty.
            with contextlib.suppress(OSError):
                root.rmdir()
    return f"{name} is prepared in {folder}"


def list_data(data_dir: str | None = None) -> list[Row]:
    """Embedded data, every prepared data set of images or text, suggestions, and the forms of own files.

    >>> [row.name for row in list_data("no/such/folder") if not row.name.startswith("tfds:")]
    ['digits', 'python-docs', 'sentiment', 'folder:DIR', 'text:FILE']
    """
    root = default_data_dir(data_dir)
    rows = [
        Row("digits", "10", "28 x 28 x 1", "train 4000, held out 1000", "embedded"),
        Row("python-docs", "none", "text", "about 460000 characters", "in every Python"),
    ]
    folders = [path for path in sorted([*root.glob("*"), *root.glob("*/*")]) if not path.name.startswith(".")]
    for folder in folders:
        # DIR/NAME/VERSION is itself one of the folders, and its versions are itself.
        versions = [path for path in find_versions(folder) if path != folder]
        row = _describe(versions[-1], f"tfds:{folder.relative_to(root).as_posix()}") if versions else None
        rows += [row] if row else []
    names = {row.name for row in rows}
    for name, facts in SUGGESTED.items():
        if f"tfds:{name}" not in names:
            how = f"aigc-jax data prepare tfds:{name} --data-dir {shlex.quote(str(root))}"
            rows.append(Row(f"tfds:{name}", *facts, how))
    is_there = (root / FILE).is_file()
    where = str(root / FILE) if is_there else f"aigc-jax data prepare sentiment --data-dir {shlex.quote(str(root))}"
    return [
        *rows,
        Row(SENTIMENT, "2", "text", "films, products, tweets, editorials", where),
        Row("folder:DIR", "", "resized to fit", "", "a folder with one sub-folder of PNG or JPEG per class"),
        Row("text:FILE", "of .jsonl", "text", "", "a .txt file, or a .jsonl file with text (and label) in each line"),
    ]


@contextlib.contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """A temporary folder in ``root``."""
    folder = Path(tempfile.mkdtemp(prefix=".preparing-", dir=root))
    try:
        yield folder
    finally:
        # After a failure, threads of tfds may still be writing their last.
        for _ in range(50):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.1)


def _make(dataset: str, root: Path, scratch: Path) -> Path:
    """Prepare a data set within ``scratch``; its folder there."""
    import tensorflow_datasets as tfds

    name = _tfds_name(dataset)
    # Some data sets must be fetched by hand; they are looked for where tfds itself would.
    manual = root / "downloads" / "manual"
    config = tfds.download.DownloadConfig(try_download_gcs=False, manual_dir=manual)
    try:
        with tensorflow_free():
            builder = tfds.builder(name, data_dir=scratch)
            if not manual.exists():
                check_any_reachable(builder.url_infos or ())
            builder.download_and_prepare(
                file_format="array_record", download_dir=scratch / "downloads", download_config=config
            )
            return Path(builder.data_path)
    except Exception as error:  # downloads, archives and builders each have their own
        raise UsageError(f"cannot prepare tfds:{dataset}: {_reason(error)}") from error


def _tfds_name(dataset: str) -> str:
    """``NAME/CONFIG/VERSION`` as tfds writes it, ``NAME/CONFIG:VERSION``, if it knows name and config."""
    import tensorflow_datasets as tfds

    name, *rest = re.split("[/:]", dataset)
    try:
        configs = tfds.builder_cls(name).builder_configs
    except ValueError as error:  # not found, or no name at all
        known = tfds.list_builders(with_community_datasets=False)
        raise UsageError(f"tensorflow-datasets has no data set {name!r}: {_closest(name, known)}") from error
    config = "" if not rest or VERSION.fullmatch(rest[0]) else rest.pop(0)
    if config and config not in configs:
        known = [f"{name}/{other}" for other in configs] or [name]
        raise UsageError(f"tfds:{name} has no form {config!r}: {_closest(dataset, known)}")
    return name + (f"/{config}" if config else "") + "".join(f":{version}" for version in rest)


def _closest(name: str, known: Sequence[str]) -> str:
    """Advice for a mistyped name."""
    close = difflib.get_close_matches(name, known) or (known if len(known) < 10 else [])
    return f"did you mean {' or '.join(f'tfds:{match}' for match in close)}?" if close else "check its spelling"


def _reason(error: BaseException) -> str:
    """The cause in one line; our own error if tfds has wrapped one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UsageError):
        cause = cause.__cause__ or cause.__context__
    lines = str(cause or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _describe(folder: Path, name: str) -> Row | None:
    """Content of a prepared data set; None without images or text."""
    import tensorflow_datasets as tfds

    try:
        info = tfds.builder_from_directory(folder).info
        features = dict(cast(Any, info.features).items())
    except Exception as error:  # whatever the damage is
        return Row(name, "", "", "", f"damaged, remove {folder}: {_reason(error)}")
    if IMAGE.name not in features and "text" not in features:
        return None
    sizes = features[IMAGE.name].shape if IMAGE.name in features else ()
    shape = " x ".join(str(size or "?") for size in sizes) or "text"
    classes = str(getattr(features.get("label"), "num_classes", "none"))
    examples = ", ".join(f"{split} {part.num_examples}" for split, part in info.splits.items())
    return Row(name, classes, shape, examples, str(folder))
