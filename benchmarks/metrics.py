"""Precision, recall, density and coverage of two sets of features, alone or compared with the package prdc."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
from collections.abc import Callable

import numpy as np

from aigc_jax.metrics.knn_manifold import overlap
from aigc_jax.types import UsageError
from benchmarks.common import time_rounds

K = 5
TOLERANCE = 1e-12


def run(args: argparse.Namespace) -> int:
    """Time the four figures; 1 where the two libraries do not agree on them."""
    compute_prdc = _import_prdc() if args.against else None
    rng, shape = np.random.default_rng(0), (args.num_examples, args.num_features)
    # float64: of float32 features prdc rounds the distances to float32, so that some ties of it are none.
    real, fake = rng.normal(size=shape), 0.9 * rng.normal(size=shape)
    figures: dict[str, dict[str, float]] = {}

    def ours() -> None:
        result = overlap(real, fake, k=K, density_k=K)
        names = ("precision", "recall", "density", "coverage")
        figures["aigc_jax"] = {name: getattr(result, name) for name in names}

    def theirs() -> None:
        assert compute_prdc is not None
        with contextlib.redirect_stdout(io.StringIO()):
            figures["prdc"] = {name: float(value) for name, value in compute_prdc(real, fake, K).items()}

    rounds: dict[str, Callable[[], None]] = {"aigc_jax": ours} | ({"prdc": theirs} if compute_prdc else {})
    print(f"numpy {np.__version__}, {os.cpu_count()} CPU cores, {args.rounds} rounds in turn")
    print(f"{shape[0]:,} real and {shape[0]:,} fake examples, {shape[1]} features, k = {K}\n")
    times = time_rounds(rounds, 1, args.rounds)
    print(f"{'':10}{'seconds':>10}{'fastest':>10}{'slowest':>10}{'CPU':>10}")
    for name, (wall, cpu) in times.items():
        row = (statistics.median(wall), min(wall), max(wall), statistics.median(cpu))
        print(f"{name:10}" + "".join(f"{milliseconds / 1e3:>10.2f}" for milliseconds in row))
    if compute_prdc:
        middle, cpu = (
            statistics.median(a) / statistics.median(b) for a, b in zip(times["aigc_jax"], times["prdc"], strict=True)
        )
        least = min(times["aigc_jax"].wall) / min(times["prdc"].wall)
        print(f"time aigc_jax / prdc: {middle:.2f} (fastest rounds: {least:.2f}; CPU time: {cpu:.2f})")
    return _verdict(figures)


def _verdict(figures: dict[str, dict[str, float]]) -> int:
    for name, values in figures.items():
        print(f"{name:10}" + ", ".join(f"{figure} {value:.6f}" for figure, value in values.items()))
    ours = figures["aigc_jax"]
    differences = [abs(ours[name] - value) for values in figures.values() for name, value in values.items()]
    if max(differences) <= TOLERANCE:
        return 0
    print("benchmarks: the two do not compute the same, so their times say nothing", file=sys.stderr)
    return 1


def _import_prdc() -> Callable[..., dict[str, float]]:
    try:
        from prdc import compute_prdc  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        if error.name != "prdc":
            raise
        raise UsageError("--against prdc needs prdc, which is not installed: pip install prdc") from None
    return compute_prdc
