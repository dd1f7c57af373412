"""The command ``aigc-jax compare``: reports of several runs, with paired differences."""

from __future__ import annotations

from aigc_jax.cli.arguments import Compare
from aigc_jax.evaluation.compare import ComparedRun, compare, first_samples
from aigc_jax.report.files import read_per_sample, read_report, write_tables
from aigc_jax.report.text import table_lines
from aigc_jax.types import UsageError


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
        write_tables(arguments.out, [*first_samples(contenders), *tables], title=title)
        print(f"comparison: {arguments.out}")
    return 0
