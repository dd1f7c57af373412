"""The command ``aigc-jax compare``: reports of several runs, with paired differences."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from aigc_jax.evaluation.compare import ComparedRun, compare
from aigc_jax.report.files import read_per_sample, read_report, write_tables
from aigc_jax.report.text import table_lines
from aigc_jax.types import UsageError


@dataclasses.dataclass(frozen=True)
class Compare:
    """Put the reports of two or more evaluated runs side by side, with paired differences and their intervals."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run directories, each evaluated with the same --seed and --num-samples; the first is compared with."""
    out: Path | None = None
    """A .html page to write; None prints the tables only."""


def compare_runs(arguments: Compare) -> int:
    """Put reports side by side."""
    if arguments.out is not None and arguments.out.suffix != ".html":
        raise UsageError(f"expected an --out that ends in .html, got {arguments.out}: pass --out compare.html")
    contenders = [ComparedRun(run.resolve().name, read_report(run), read_per_sample(run)) for run in arguments.runs]
    try:
        tables, _ = compare(contenders)
    except UsageError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # files that anybody may have changed
        names = ", ".join(str(run) for run in arguments.runs)
        raise UsageError(f"the reports of {names} cannot be compared ({error}): evaluate the runs again") from error
    for table in tables:
        print("\n".join([table.title, *table_lines(table), ""]))
    if arguments.out is not None:
        title = " and ".join(each.name for each in contenders)
        write_tables(arguments.out, tables, title=title)
        print(f"comparison: {arguments.out}")
    return 0
