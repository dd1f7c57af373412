"""Commands that print the tables of docs/results.

python -m benchmarks.results orders
python -m benchmarks.results closed-forms
python -m benchmarks.results curves runs/flow_digits --out docs/results/fd_evaluations.png
python -m benchmarks.results interpolation --out runs/interpolation --plots docs/results
python -m benchmarks.results sentiment --out runs/sentiment
python -m benchmarks.results facts --out runs/facts
python -m benchmarks.results answers --out runs/answers
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from aigc_jax.types import UsageError
from benchmarks import answers, curves, facts, interpolation, planted, sentiment
from tests.oracles import closed_forms, orders

COMMANDS = (orders, closed_forms, curves, interpolation, planted, sentiment, facts, answers)
"""Modules with a function ``register(commands)`` that adds a parser whose default ``run`` takes the arguments."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for module in COMMANDS:
        module.register(commands)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except UsageError as error:
        print(f"benchmarks.results: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
