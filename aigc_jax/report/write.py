"""Write a report to disk: a page for people, JSON for scripts."""

from __future__ import annotations

import json
from pathlib import Path

from aigc_jax.data.files import write_text
from aigc_jax.report.html import to_html
from aigc_jax.report.report import Report, to_json


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
    # allow_nan=False: other languages' readers refuse a NaN, so it shall fail here.
    write_text(data, json.dumps(to_json(report), indent=2, allow_nan=False) + "\n")
    write_text(page, to_html(report, title=Path(run_dir).resolve().name, grid=grid))
    return page, data
