"""The hallucination rate of gpt_facts by the number of training statements, and its bound: all exact.

Each checkpoint is scored on every possible statement. Early ones are near the world's distribution, late ones near the
training set, which they know by heart. Runs are kept in the folder --out and not trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from aigc_jax import cli
from aigc_jax.data.arrays import take
from aigc_jax.evaluation.sections.facts import NUM_BINS, Statements, score_statements
from aigc_jax.inference.diagnostics import make_token_nll_fn
from aigc_jax.runs import load_run
from aigc_jax.train.run_dir import checkpoint_steps
from aigc_jax.types import UsageError

HEADER = (
    "training statements",
    "steps",
    "cross-entropy, nats",
    "hallucination rate",
    "monofact rate",
    "missing mass",
    *(f"miscalibration, {num} bins" for num in NUM_BINS),
    "monofact rate - miscalibration",
    "bound",
    "bound holds",
)


def register(commands: Any) -> None:
    """Add the command ``facts`` to a parser's subcommands."""
    parser = commands.add_parser(
        "facts", help="hallucination rate by the size of the training set", description=__doc__
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000], help="training statements"
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 200, 500, 1000, 2000], help="to score")
    parser.add_argument("--out", type=Path, default=Path("runs/facts"), help="a folder for the runs")
    parser.add_argument("--settings", default="", help="more options of the trainings, as one word")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train what is missing, and print a row for each checkpoint."""
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|", flush=True)
    for size in args.sizes:
        workdir = args.out / str(size)
        if not (workdir / "checkpoints").exists():
            words = f"train gpt_facts --num-train {size} --checkpoint-every 100 --keep-checkpoints 100 --sample-every 0"
            if cli.main([*words.split(), *args.settings.split(), "--workdir", str(workdir)]):
                raise UsageError(f"the training in {workdir} failed: see above")
        for step in sorted({*args.steps} & {*checkpoint_steps(workdir)}):
            print("| " + " | ".join(row_of(size, step, score(workdir, step))) + " |", flush=True)
    return 0


def score(workdir: Path, step: int) -> Statements:
    """Every statement by a checkpoint of a run."""
    experiment, _, variables = load_run(workdir, checkpoint=str(step))
    train = experiment.open_data().train
    if experiment.world is None:
        raise UsageError(f"{workdir} is no run of a world: name another folder by --out")
    examples = take(train, np.arange(len(train)))[experiment.modality.name]
    return score_statements(experiment.world, make_token_nll_fn(experiment, variables), examples)


def row_of(size: int, step: int, statements: Statements) -> list[str]:
    """The figures of a checkpoint."""
    few, last = (statements.bound(num_bins) for num_bins in NUM_BINS)
    known = statements.p > 0
    entropy = -float(np.sum(statements.p[known] * np.log(statements.p[known])))
    cross_entropy = -float(np.sum(statements.p[known] * np.log(np.maximum(statements.g[known], 1e-300))))
    values = (
        last.hallucination_rate,
        last.monofact_rate,
        last.missing_mass,
        few.miscalibration,
        last.miscalibration,
        last.floor,
        last.bound,
    )
    holds = "yes" if last.bound <= last.hallucination_rate + 1e-6 else "no"
    shown = f"{cross_entropy:.3f} ({cross_entropy - entropy:.3f} above the world's)"
    return [f"{size:,}", f"{step:,}", shown, *(f"{value:.4f}" for value in values), holds]
