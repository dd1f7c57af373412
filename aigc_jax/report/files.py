"""Reports on disk: a page for people, JSON for scripts, and a table of the samples for comparisons."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aigc_jax.data.files import read_json, read_npz, visible, whole_file, write_text
from aigc_jax.report.figures import Gallery, Table
from aigc_jax.report.html.page import tables_to_html, to_html
from aigc_jax.report.schema import Report, from_json, to_json
from aigc_jax.types import UsageError

FILES = _PAGE, _DATA, _SAMPLES = "index.html", "report.json", "per_sample.npz"
"""Of a report."""

FIRST_SAMPLES = "first_samples"
"""The entry of ``per_sample.npz`` that holds pictures of the first samples alone."""


def write_report(
    run_dir: str | Path,
    report: Report,
    grid: bytes | None = None,
    *,
    per_sample: Mapping[str, np.ndarray] | None = None,
    folder: str | Path | None = None,
) -> tuple[Path, Path]:
    """Write ``index.html``, ``report.json`` and ``per_sample.npz`` to a folder, each whole or not at all; their paths.

    The page is named after the run directory; ``grid`` is a PNG of samples, a row per class for a conditional model.
    Without ``per_sample`` an older table is removed, since it would be of other samples. The folder, ``report/`` of the
    run directory by default, is made where missing.
    """
    folder = Path(run_dir) / "report" if folder is None else Path(folder)
    # Both texts first: an error in making them leaves the older report as it is.
    page = to_html(report, title=Path(run_dir).resolve().name, grid=grid)
    # allow_nan=False: readers of other languages refuse a NaN.
    data = json.dumps(to_json(report), indent=2, allow_nan=False) + "\n"
    if per_sample is None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (folder / _SAMPLES).unlink()
    else:
        with whole_file(folder / _SAMPLES) as file:
            np.savez_compressed(file, **per_sample)  # pyright: ignore[reportArgumentType]: its stub takes no **dict
    write_text(folder / _DATA, data)
    write_text(folder / _PAGE, page)
    return folder / _PAGE, folder / _DATA


def write_tables(path: Path, tables: Sequence[Table | Gallery], *, title: str) -> None:
    """Write a page of tables and pictures that needs no other file, whole or not at all."""
    write_text(path, tables_to_html(tables, title=title))


def read_report(run_dir: str | Path) -> Report:
    """Read ``report.json`` of a run directory, or of the folder of a report; its galleries have no pixels."""
    file = _existing(run_dir, _DATA)
    content = read_json(file, advice=_advice(run_dir))
    try:
        return from_json(content)
    except UsageError as error:
        raise UsageError(f"{visible(str(file))}: {error}") from error


def read_per_sample(run_dir: str | Path) -> dict[str, np.ndarray]:
    """Read ``per_sample.npz``, ``{name: array [N, ...]}``; nothing in it is executed."""
    return read_npz(_existing(run_dir, _SAMPLES), advice=_advice(run_dir))


def _existing(run_dir: str | Path, name: str) -> Path:
    for file in (Path(run_dir) / "report" / name, Path(run_dir) / name):
        if os.path.lexists(file):
            return file
    raise UsageError(f"{visible(str(run_dir))} has no report: {_advice(run_dir)}")


def _advice(run_dir: str | Path) -> str:
    return f"run aigc-jax evaluate {visible(shlex.quote(str(run_dir)))}"
