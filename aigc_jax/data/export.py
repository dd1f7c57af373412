"""Samples written block by block to one .npz file."""

from __future__ import annotations

import itertools
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from aigc_jax.data.files import whole_file


def write_npz(
    path: str | Path,
    blocks: Iterable[np.ndarray],
    ids: Int32[np.ndarray, " num"] | None,
    *,
    num: int,
    name: str,
    names: Sequence[str] = (),
) -> None:
    """Write samples as an ``np.load`` file, whole or not at all; one block is in memory at a time.

    ``ids`` of conditions are saved as ``label``, their ``names`` as ``class_names``; ``num`` counts the samples in all
    blocks.
    """
    rest = iter(blocks)
    first = next(rest)
    header = {"descr": first.dtype.str, "fortran_order": False, "shape": (num, *first.shape[1:])}
    others = {} if ids is None else {"label": ids}
    others |= {"class_names": np.array(names)} if names else {}
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


def file_name(text: str) -> str:
    """Text as a part of a file name."""
    return re.sub(r"[^\w.-]+", "-", text)[:40]
