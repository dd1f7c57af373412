"""Samples written as they are drawn, block by block: as one .npz file, or as a folder of PNG files."""

from __future__ import annotations

import itertools
import re
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from aigc_jax.data.files import visible, whole_file
from aigc_jax.data.images import to_png
from aigc_jax.types import UsageError


def write_npz(
    path: str | Path,
    blocks: Iterable[np.ndarray],
    label: Int32[np.ndarray, " num"] | None,
    *,
    num: int,
    name: str = "image",
    class_names: Sequence[str] = (),
) -> None:
    """Write samples as ``np.load`` reads them, whole or not at all.

    Args:
        path: where; missing folders are made.
        blocks: the samples in their order, arrays [n, ...] of one dtype; one block is in memory at a time.
        label: the condition of each, saved as ``label``; None leaves it out.
        num: number of samples in all blocks.
        name: what the samples are saved as.
        class_names: what the labels are called, saved as ``class_names``; () leaves it out.

    Raises:
        UsageError: the file cannot be written there.
    """
    rest = iter(blocks)
    first = next(rest)
    header = {"descr": first.dtype.str, "fortran_order": False, "shape": (num, *first.shape[1:])}
    others = {} if label is None else {"label": label}
    others |= {"class_names": np.array(class_names)} if class_names else {}
    with (
        whole_file(Path(path)) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for block in itertools.chain([first], rest):
                member.write(np.ascontiguousarray(block).tobytes())
        for other, values in others.items():
            with archive.open(f"{other}.npy", "w") as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def write_png_folder(
    path: str | Path,
    blocks: Iterable[UInt8[np.ndarray, "n height width channels"]],
    label: Int32[np.ndarray, " num"] | None,
    *,
    num: int,
    class_names: Sequence[str] = (),
) -> None:
    """Write images as a folder of PNG files, ``00012.png`` or ``00012_cat.png``, whole or not at all.

    Args:
        path: the folder; it may exist if it is empty.
        blocks: the images in their order; one block is in memory at a time.
        label: the condition of each; None for none.
        num: number of images in all blocks.
        class_names: what the labels are called; () names files by the label.

    Raises:
        UsageError: the folder holds files already, or cannot be written.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(
            f"{visible(str(path))} is no empty folder: name a new one, so that samples of two sets never mix"
        )
    names = class_names or ([] if label is None else [str(number) for number in range(int(label.max()) + 1)])
    width = max(len(str(num - 1)), 5)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.mkdir(parents=True)
        for index, image in enumerate(itertools.chain.from_iterable(blocks)):
            kind = "" if label is None else f"_{file_name(names[int(label[index])])}"
            (temporary / f"{index:0{width}}{kind}.png").write_bytes(to_png(image))
        temporary.replace(path)
    except OSError as error:
        raise UsageError(
            f"cannot write {visible(str(path))}: {error.strerror or error}; name a folder in a writable one"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def file_name(text: str) -> str:
    """Text as a part of a file name.

    >>> file_name("blue bird/../x")
    'blue-bird-..-x'
    """
    return re.sub(r"[^\w.-]+", "-", text)[:40]
