"""Sample quality against what a sample costs: a table and a plot over samplers, steps and runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from aigc_jax.evaluation.classifiers import load_judge
from aigc_jax.evaluation.evaluate import evaluate
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.section import Settings
from aigc_jax.inference.sampling import make_sample_fn
from aigc_jax.report.schema import Report
from aigc_jax.runs import load_run
from aigc_jax.samplers.settings import num_evaluations
from aigc_jax.types import UsageError


class Point(NamedTuple):
    """One measured setting.

    Attributes:
        run: name of the run directory.
        sampler: name of the solver.
        num_denoise: calls of the denoiser a sample.
        num_network: forward passes a sample; twice as many under guidance.
        frechet: Frechet distance in the classifier's features.
        agreement: share of samples that the classifier takes for their class, None without classes.
    """

    run: str
    sampler: str
    num_denoise: int
    num_network: int
    frechet: float
    agreement: float | None


def register(commands: Any) -> None:
    """Add the subcommand ``curves``."""
    parser = commands.add_parser("curves", help=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories of models that take a sampler")
    parser.add_argument("--samplers", nargs="+", default=["euler", "heun", "dpm_solver"])
    parser.add_argument("--num-steps", nargs="+", type=int, default=[4, 6, 10, 20, 40])
    parser.add_argument("--guidance", type=float, default=None, help="weight; None for that of the run")
    parser.add_argument("--grid", default=None, help="time grid; None for that of the run")
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--out", type=Path, default=None, help="a .png for the plot; numbers go next to it as .json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure every combination, print a Markdown table, and plot it."""
    points: list[Point] = []
    print("| run | sampler | evaluations | with guidance | FD | class agreement |\n|---|---|---:|---:|---:|---:|")
    for path in args.runs:
        for sampler in args.samplers:
            for num_steps in args.num_steps:
                points.append(_measure(path, sampler, num_steps, args))
                print(_row(points[-1]), flush=True)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        _plot(points).savefig(args.out, dpi=110)
        args.out.with_suffix(".json").write_text(json.dumps([point._asdict() for point in points], indent=1) + "\n")
    return 0


def _measure(path: Path, sampler: str, num_steps: int, args: argparse.Namespace) -> Point:
    chosen = {"guidance": args.guidance, "grid": args.grid}
    settings = {"sampler": sampler, "num_steps": num_steps, **{k: v for k, v in chosen.items() if v is not None}}
    experiment, config, variables = load_run(path, data_dir=args.data_dir, overrides={"sampling": settings})
    data = experiment.open_data()
    model = EvaluatedModel(make_sample_fn(experiment, variables, 0), experiment.num_conditions, experiment.modality)
    amount = Settings(args.num_samples, num_detected=0, num_swept=0)
    judge = load_judge(experiment, config, data).judge
    report = evaluate(model=model, judge=judge, data=data, settings=amount).report
    cost = num_evaluations(config.sampling)  # pyright: ignore[reportAttributeAccessIssue]
    agreement = _value(report, "class_agreement")
    return Point(path.name, sampler, *cost, _value(report, "frechet_distance") or float("nan"), agreement)


def _value(report: Report, name: str) -> float | None:
    values = [row.value for row in report.measurements if row.name == name]
    if not values and name == "frechet_distance":
        raise UsageError("this run's report has no Frechet distance: give runs of image models")
    return values[0] if values else None


def _row(point: Point) -> str:
    agreement = "" if point.agreement is None else f"{100 * point.agreement:.1f} %"
    name = point.sampler.replace("_", " ")
    return f"| {point.run} | {name} | {point.num_denoise} | {point.num_network} | {point.frechet:.2f} | {agreement} |"


def _plot(points: Sequence[Point]) -> Figure:
    """Frechet distance over network evaluations, both logarithmic, a line for each run and sampler."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    runs = sorted({point.run for point in points})
    for run, style in zip(runs, ["-", "--", ":", "-."] * len(runs), strict=False):
        for number, sampler in enumerate(sorted({point.sampler for point in points})):
            line = [point for point in points if (point.run, point.sampler) == (run, sampler)]
            if not line:
                continue
            label = f"{run}: {sampler.replace('_', ' ')}" if len(runs) > 1 else sampler.replace("_", " ")
            costs, distances = [point.num_denoise for point in line], [point.frechet for point in line]
            axes.plot(costs, distances, style, marker="o", markersize=4, color=f"C{number}", label=label)
    axes.set(xscale="log", yscale="log", xlabel="denoiser evaluations a sample", ylabel="Frechet distance")
    costs, distances = [point.num_denoise for point in points], [point.frechet for point in points]
    axes.set_xticks(
        doubling := [2**n for n in range(12) if min(costs) <= 2**n <= max(costs)], [str(tick) for tick in doubling]
    )
    axes.set_yticks(
        tens := [n for n in (1, 2, 5, 10, 20, 50, 100, 200) if min(distances) <= n <= max(distances)],
        [str(tick) for tick in tens],
    )
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure
