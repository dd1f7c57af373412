"""The run directory: settings, checkpoints, logs and reports of one training.

``config.json`` is all that is needed to build the model again. It is plain JSON: reading it runs no code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax

from aigc_jax.data.files import LockedError, file_lock, read_json, visible, write_text
from aigc_jax.train.config_io import config_from_values
from aigc_jax.types import UsageError

FORMAT = 1
"""The layout of ``config.json``; a reader refuses a higher number."""

FREE_ON_RESUME = frozenset(
    {
        "steps",
        "schedule_steps",
        "parallel",
        "mesh",
        "sharding_rules",
        "steps_per_call",
        "log_every",
        "sample_every",
        "checkpoint_every",
        "keep_checkpoints",
        "eval_every",
        "best_metric",
        "best_mode",
        "data_dir",
        "skip_broken",
        "max_broken",
        "data_workers",
        "wandb",
        "sampling",
        "likelihood",
    }
)
"""Settings that may change when a run goes on. ``steps`` only where no schedule is computed from it; ``parallel`` and
``mesh`` change a step by rounding, and the weights drift apart."""

_PACKAGES = ("aigc-jax", "jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Run(NamedTuple):
    """Content of ``config.json``."""

    path: Path  # the run directory
    config: str  # the name of the configuration, as given on the command line
    values: dict[str, Any]  # its resolved settings, nested dicts of JSON values
    batch: dict[str, jax.ShapeDtypeStruct]  # shape and dtype of one training batch, for ``algorithm.init``
    versions: dict[str, str]  # the packages that trained it
    schedule_steps: int | None = None  # the length of its schedules; None where it has none


def check_path(path: Path) -> None:
    """Refuse a run directory in which orbax would lose checkpoints, and report success.

    It looks for its files by a pattern that begins with the whole path, in which [ has a meaning.
    """
    if "[" in os.path.realpath(path):
        raise UsageError(
            f"checkpoints cannot be kept in {visible(os.path.realpath(path))}: choose a --workdir (or AIGC_JAX_CACHE) "
            "without ["
        )


@contextlib.contextmanager
def lock_run(path: Path) -> Iterator[None]:
    """Own a run directory, made where missing, while training in it; UsageError where another process does."""
    check_path(path)
    if jax.process_index() != 0:
        yield
        return
    try:
        with file_lock(path / ".lock"):
            yield
    except LockedError as error:
        raise UsageError(
            f"{visible(str(path))} is being trained by process {error.owner}: wait for it, or choose another --workdir"
        ) from None


def open_run(
    path: Path,
    config: str,
    values: Any,
    batch: Mapping[str, jax.ShapeDtypeStruct],
    *,
    schedule_steps: int | None = None,
) -> None:
    """Begin a run, or refuse settings with which the one in the directory cannot go on, see :data:`FREE_ON_RESUME`."""
    # A run that was refused before its first checkpoint must not bind the user to the settings that were wrong.
    if os.path.exists(path / "config.json") and checkpoint_steps(path):
        check_resume(read_run(path), config, values, schedule_steps=schedule_steps)
    if jax.process_index() == 0:
        write_run(path, config, values, batch, schedule_steps=schedule_steps)


def write_run(
    path: Path,
    config: str,
    values: Any,
    batch: Mapping[str, jax.ShapeDtypeStruct],
    *,
    schedule_steps: int | None = None,
) -> None:
    """Write ``config.json``, whole or not at all; the arguments are those of :func:`open_run`."""
    content = {
        "format": FORMAT,
        "config": config,
        "values": dataclasses.asdict(values),
        "batch": {
            jax.tree_util.keystr(path, simple=True, separator="."): [list(spec.shape), str(spec.dtype)]
            for path, spec in jax.tree.leaves_with_path(dict(batch))
        },
        "versions": _versions(),
        "schedule_steps": schedule_steps,
    }
    try:
        write_text(path / "config.json", json.dumps(content, indent=2) + "\n")
    except UsageError as error:
        raise UsageError(f"{error}, or choose another --workdir") from error


def read_run(path: Path) -> Run:
    """Read ``config.json``; UsageError where it is missing, broken or of a newer library."""
    file = path / "config.json"
    if not os.path.lexists(file):
        raise UsageError(
            f"{visible(str(path))} is not a run directory (no config.json): name one made by `aigc-jax train`"
        )
    content = read_json(file, advice=_ADVICE)
    number, versions = content.get("format"), content.get("versions")
    if type(number) is not int:
        raise _broken(file, "no format number")
    if number > FORMAT:
        made_with = versions.get("aigc-jax") if isinstance(versions, dict) else None
        raise UsageError(
            f"{visible(str(file))} has format {number}, this library reads up to {FORMAT}: install a newer aigc-jax "
            f"(the run was made with {visible(str(made_with or 'an unknown version'))})"
        )
    schedule_steps = content.get("schedule_steps", 0)
    try:
        batch = {name: _spec(*each) for name, each in content["batch"].items()}
        values = dict(content["values"])
        # Runs of the first versions do not say it: their schedules, where they have any, are as long as the run.
        if type(schedule_steps) is not int or schedule_steps < 1:
            schedule_steps = None if schedule_steps is None else values.get("steps")
        return Run(path, str(content["config"]), values, batch, dict(content["versions"]), schedule_steps)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _broken(file, f"{type(error).__name__}: {error}") from error


def checkpoint_steps(path: Path) -> list[int]:
    """The steps of which a run holds a checkpoint, oldest first."""
    # In ASCII: other digits, as of 4² or ４, are no steps.
    return sorted(int(each.name) for each in (path / "checkpoints").glob("*") if _STEP.fullmatch(each.name))


_STEP = re.compile("0|[1-9][0-9]*")


def check_resume(old: Run, config: str, values: Any, *, schedule_steps: int | None = None) -> None:
    """Refuse to go on with other settings than the run began with; the error names those that differ."""
    path = visible(str(old.path))
    if old.config != config:
        raise UsageError(
            f"{path} holds a run of {visible(old.config)}, not of {config}: choose another --workdir, "
            f"or train {visible(old.config)} to go on with it"
        )
    # Rebuilt, so that a setting that was added since has its default.
    before, now = (_plain(each) for each in (config_from_values(type(values), old.values), values))
    if (old.path / "data.json").exists() and all(str(v.get("data")).startswith("folder:") for v in (before, now)):
        now["data"] = before["data"]  # where a folder lies is free: train/data_record.py compares what is in it
    names = [name for name in sorted(before) if before[name] != now.get(name, "unset")]
    names = [name for name in names if name.partition(".")[0] not in FREE_ON_RESUME]
    if names:
        changes = ", ".join(f"{name} {before[name]} -> {now.get(name, 'unset')}" for name in names)
        raise UsageError(
            f"{path} holds a run with other settings ({changes}): choose another --workdir, or set them back to go on "
            "with it"
        )
    if schedule_steps not in (None, old.schedule_steps) and old.schedule_steps is not None:
        raise UsageError(
            f"{path} has schedules (of step sizes, or a curriculum) of {old.schedule_steps} steps, which would jump "
            f"to those of {schedule_steps}: add --schedule-steps {old.schedule_steps} to keep them, at their last "
            "values beyond that step, or choose another --workdir"
        )
    names = ["parallel", *(name for name in now if name.startswith("mesh."))]
    if changes := ", ".join(f"{name} {before[name]} -> {now[name]}" for name in names if before[name] != now[name]):
        print(f"note: {changes}: each step is equal up to rounding, and the weights drift apart", file=sys.stderr)


def _spec(shape: Sequence[int], dtype: str) -> jax.ShapeDtypeStruct:
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"no shape: {shape}")
    return jax.ShapeDtypeStruct(tuple(shape), dtype)


_ADVICE = "restore it from a copy, or train into another --workdir"


def _broken(file: Path, why: str) -> UsageError:
    return UsageError(f"{visible(str(file))} is broken ({visible(why)[:200]}): {_ADVICE}")


def _plain(values: Any) -> dict[str, Any]:
    """The settings by their full name, as JSON has them."""
    return _flat(json.loads(json.dumps(dataclasses.asdict(values))))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"generator": {"width": 3}}`` -> ``{"generator.width": 3}``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            found[package] = "unknown"
    return found
