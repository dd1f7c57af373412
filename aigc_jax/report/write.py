"""Write a report to disk: a page for people, JSON for scripts."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from aigc_jax.report.html import to_html
from aigc_jax.report.report import Report, to_json
from aigc_jax.types import UsageError


def write_report(run_dir: str | Path, report: Report, grid: bytes | None = None) -> tuple[Path, Path]:
    """Write ``report/index.html`` and ``report/report.json``, each whole or not at all.

    Args:
        run_dir: the run directory; ``report/`` is made where missing, an older report is replaced.
        report: what was measured.
        grid: a PNG of samples, a row per class for a conditional model; None for no picture.

    Returns:
        The paths of the page and of the JSON file.

    Raises:
        UsageError: the files cannot be written there.
    """
    folder = Path(run_dir) / "report"
    page, data = folder / "index.html", folder / "report.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # allow_nan=False: other languages' readers refuse a NaN, so it shall fail here.
        _write(data, json.dumps(to_json(report), indent=2, allow_nan=False) + "\n")
        _write(page, to_html(report, title=Path(run_dir).resolve().name, grid=grid))
    except OSError as error:
        raise UsageError(f"cannot write to {folder} ({error.strerror or error}): make it writable") from error
    return page, data


def _write(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, never half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)  # mkstemp gives 0600, and a report is made to be shown
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
