"""The run directory: one folder that says what was trained, on what, with what, and holds the result.

``config.json`` is all that is needed to build the model again. It is plain JSON: reading it runs no code.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax

from aigc_jax.data.files import write_text
from aigc_jax.types import UsageError

FORMAT = 1
"""The layout of ``config.json``; a reader refuses a higher number."""

FREE_ON_RESUME = frozenset(
    {
        "steps",
        "parallel",
        "log_every",
        "sample_every",
        "checkpoint_every",
        "keep_checkpoints",
        "eval_every",
        "best_metric",
        "best_mode",
        "data_dir",
        "skip_broken",
        "data_workers",
        "wandb",
        "sampling",
        "likelihood",
    }
)
"""Settings that may change when a run goes on: how long, how often, where, how the result is drawn and measured; none
that changes what a step computes."""

_PACKAGES = ("aigc-jax", "jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Run(NamedTuple):
    """What ``config.json`` says.

    Attributes:
        path: the run directory.
        config: the name of the configuration, as given on the command line.
        values: its resolved settings, nested dicts of JSON values.
        batch: shape and dtype of one training batch, for ``algorithm.init``.
        versions: the packages that trained it.
    """

    path: Path
    config: str
    values: dict[str, Any]
    batch: dict[str, jax.ShapeDtypeStruct]
    versions: dict[str, str]


def open_run(path: Path, config: str, values: Any, batch: Mapping[str, jax.ShapeDtypeStruct]) -> None:
    """Begin a run, or make sure that the one in the directory can go on with these settings.

    Args:
        path: the run directory; made where missing.
        config: the name of the configuration.
        values: the configuration, a dataclass instance.
        batch: shape and dtype of one batch.

    Raises:
        UsageError: the directory holds a checkpoint of a run that differs in more than :data:`FREE_ON_RESUME`.
    """
    # A run that was refused before its first checkpoint must not bind the user to the settings that were wrong.
    if (path / "config.json").exists() and any((path / "checkpoints").glob("[0-9]*")):
        check_resume(read_run(path), config, values)
    if jax.process_index() == 0:
        write_run(path, config, values, batch)


def write_run(path: Path, config: str, values: Any, batch: Mapping[str, jax.ShapeDtypeStruct]) -> None:
    """Write ``config.json``, whole or not at all.

    Args:
        path: the run directory; made where missing.
        config: the name of the configuration.
        values: the configuration, a dataclass instance.
        batch: shape and dtype of one batch.

    Raises:
        UsageError: the directory cannot be written.
    """
    content = {
        "format": FORMAT,
        "config": config,
        "values": dataclasses.asdict(values),
        "batch": {name: [list(spec.shape), str(spec.dtype)] for name, spec in batch.items()},
        "versions": _versions(),
    }
    try:
        write_text(path / "config.json", json.dumps(content, indent=2) + "\n")
    except UsageError as error:
        raise UsageError(f"{error}, or choose another --workdir") from error


def read_run(path: Path) -> Run:
    """Read ``config.json``.

    Args:
        path: the run directory.

    Returns:
        What it says.

    Raises:
        UsageError: there is no run, its file is broken, or it was written by a newer library.

    >>> read_run(Path("no-such-run"))
    Traceback (most recent call last):
    ...
    aigc_jax.types.UsageError: no-such-run is not a run directory (no config.json): name one made by `aigc-jax train`
    """
    file = path / "config.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path} is not a run directory (no config.json): name one made by `aigc-jax train`") from None
    except (OSError, ValueError) as error:
        raise _broken(file, "not JSON" if isinstance(error, ValueError) else str(error.strerror)) from error
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int):
        raise _broken(file, "no format number")
    if number > FORMAT:
        raise UsageError(
            f"{file} has format {number}, this library reads up to {FORMAT}: install a newer aigc-jax (the run "
            f"was made with {content.get('versions', {}).get('aigc-jax', 'an unknown version')})"
        )
    try:
        batch = {name: jax.ShapeDtypeStruct(tuple(shape), dtype) for name, (shape, dtype) in content["batch"].items()}
        return Run(path, str(content["config"]), dict(content["values"]), batch, dict(content["versions"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _broken(file, f"{type(error).__name__}: {error}") from error


def checkpoint_steps(path: Path) -> list[int]:
    """The steps of which a run holds a checkpoint, oldest first.

    Args:
        path: the run directory.

    Returns:
        The steps; [] where there is none.

    >>> checkpoint_steps(Path("nowhere"))
    []
    """
    # In ASCII: other digits, as of 4² or ４, are no steps.
    return sorted(int(each.name) for each in (path / "checkpoints").glob("*") if _STEP.fullmatch(each.name))


_STEP = re.compile("0|[1-9][0-9]*")


def check_resume(old: Run, config: str, values: Any) -> None:
    """Refuse to go on with other settings than the run began with.

    Args:
        old: the run in the directory.
        config: the name of the configuration that shall go on.
        values: the configuration, a dataclass instance.

    Raises:
        UsageError: names the settings that differ.
    """
    if old.config != config:
        raise UsageError(
            f"{old.path} holds a run of {old.config}, not of {config}: choose another --workdir, "
            f"or train {old.config} to go on with it"
        )
    new = json.loads(json.dumps(dataclasses.asdict(values)))
    before, now = _flat(old.values), _flat(new)
    if (old.path / "data.json").exists() and all(str(v.get("data")).startswith("folder:") for v in (before, now)):
        now["data"] = before["data"]  # where a folder lies is free: train/data_record.py compares what is in it
    names = sorted(
        name
        for name in before.keys() | now.keys()
        if before.get(name, "unset") != now.get(name, "unset") and name.partition(".")[0] not in FREE_ON_RESUME
    )
    if names:
        changes = ", ".join(f"{name} {before.get(name, 'unset')} -> {now.get(name, 'unset')}" for name in names)
        raise UsageError(
            f"{old.path} holds a run with other settings ({changes}): choose another --workdir, "
            "or set them back to go on with it"
        )


def _broken(file: Path, why: str) -> UsageError:
    return UsageError(f"{file} is broken ({why}): restore it from a copy, or train into another --workdir")


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
