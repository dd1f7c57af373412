"""The figures of docs/results.md, each printed by one command.

python scripts/results.py orders
python scripts/results.py closed-forms
python scripts/results.py curves runs/flow_digits --out docs/curves.png
python scripts/results.py interpolation --out runs/interpolation --plots docs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import results_closed_forms
import results_curves
import results_interpolation
import results_orders
import results_planted

from aigc_jax.types import UsageError

COMMANDS = (results_orders, results_closed_forms, results_curves, results_interpolation, results_planted)
"""Modules with a function ``register(commands)`` that adds a parser whose default ``run`` takes the arguments."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for module in COMMANDS:
        module.register(commands)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except UsageError as error:
        print(f"results.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
