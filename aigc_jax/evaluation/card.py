"""The card of exported weights: from which run they come, which examples they make, and what was measured of them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from aigc_jax.report.figures import plain
from aigc_jax.report.files import read_report
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.data_record import read_record
from aigc_jax.train.run_dir import Run
from aigc_jax.types import Experiment

FORMAT = 1


def make_card(run: Run, experiment: Experiment, config: TrainConfig, *, checkpoint: str) -> dict[str, Any]:
    """The card as JSON values, which do not say where data and other runs lie."""
    record, modality = read_record(run.path), experiment.modality
    data = str(run.values.get("data", "")) if record is None else record.fingerprint.name
    return plain(
        {
            "format": FORMAT,
            "config": Path(run.config).name,
            "settings": {**_without_places(dataclasses.asdict(config)), "data": data, "data_dir": None},
            "checkpoint": checkpoint,
            "versions": run.versions,
            "data": data,
            "class_names": [] if experiment.conditions is None else list(experiment.conditions.names),
            "license": "unknown",
            "examples": {
                "modality": modality.name,
                "shape": experiment.example_shape,
                "dtype": str(np.dtype(modality.dtype)),
                "bounds": modality.bounds,
                "num_levels": modality.num_levels,
                **modality.facts,
            },
            "figures": _figures(run.path, checkpoint),
        }
    )


def _without_places(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that name a run, a teacher or an autoencoder, by its name without the folders above it."""
    is_place = {name: isinstance(value, str) and os.path.exists(value) for name, value in settings.items()}
    return {name: Path(value).name if is_place[name] else value for name, value in settings.items()}


def _figures(run: Path, checkpoint: str) -> dict[str, Any]:
    """The measurements of the run's report, where it is of this checkpoint."""
    if not os.path.lexists(run / "report" / "report.json"):
        return {}
    report = read_report(run)
    if report.facts.get("checkpoint", "").removeprefix("latest, step ") != checkpoint:
        return {}
    rows = {row.name: {"value": row.value, "low": row.low, "high": row.high, "n": row.n} for row in report.measurements}
    return {"judge": report.judge, "measurements": rows}
