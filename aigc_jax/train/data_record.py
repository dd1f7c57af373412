"""The record of a run's data, ``data.json``: its classes, where it lay, and whether it is still the same."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from aigc_jax.data.files import read_json, visible, write_text
from aigc_jax.data.fingerprint import Fingerprint, class_changes, fingerprint, size_changes
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Data, Experiment, UsageError

FILE = "data.json"
FORMAT = 1


class DataRecord(NamedTuple):
    """Content of ``data.json``."""

    data: str  # the name that opens the data from anywhere, ``folder:/absolute/path``
    data_dir: str | None  # where prepared tfds data lay, None for the usual folder
    fingerprint: Fingerprint  # of the data


def record_data(run: Path, config: TrainConfig, data: Data, *, is_resumed: bool) -> None:
    """Write ``data.json``; UsageError where classes or numbers of examples changed since the run began."""
    new = fingerprint(data)
    record = read_record(run) if is_resumed else None
    if record is not None:
        changes = class_changes(record.fingerprint, new) + size_changes(record.fingerprint, new)
        if changes:
            raise UsageError(
                f"the data of {visible(str(run))} changed since it began ({'; '.join(changes)}): restore {new.name}, "
                "or choose another --workdir"
            )
        _warn_of_contents(run, record.fingerprint, new)
    if jax.process_index() == 0:
        place = _place(config.data)
        content = {
            "format": FORMAT,
            "data": config.data if place is None else f"{_kind(config.data)}:{place.absolute()}",
            "data_dir": str(Path(config.data_dir).expanduser().absolute()) if config.data_dir else None,
            "fingerprint": new._asdict(),
        }
        write_text(run / FILE, json.dumps(content, indent=2) + "\n")


def read_record(run: Path) -> DataRecord | None:
    """Read ``data.json``.

    >>> read_record(Path("no-such-run"))
    """
    file = run / FILE
    advice = "restore it from a copy, or remove it"
    if not file.exists():
        return None
    content = read_json(file, advice=advice)
    try:
        if content["format"] > FORMAT:
            raise ValueError(f"format {content['format']}, this library reads up to {FORMAT}")
        mark = Fingerprint(**content["fingerprint"])
        mark = mark._replace(class_names=tuple(mark.class_names), class_counts=tuple(mark.class_counts))
        record = DataRecord(content["data"], content["data_dir"], mark)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{visible(str(file))} is broken ({visible(str(error))}): {advice}") from error
    texts = (record.data, record.data_dir or "", mark.name, mark.checksum, *mark.class_names)
    numbers = (mark.num_train, mark.num_held_out, *mark.class_counts)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
        raise UsageError(f"{visible(str(file))} is broken (values of the wrong type): {advice}")
    return record._replace(fingerprint=mark._replace(class_names=tuple(map(visible, mark.class_names))))


def with_class_names(experiment: Experiment, names: Sequence[str]) -> Experiment:
    """An experiment whose conditions have the names of the data's classes, where there are as many."""
    conditions = experiment.conditions
    if conditions is None or len(conditions.names) != len(names):
        return experiment
    return experiment._replace(conditions=conditions._replace(names=list(names)))


def checked_data(run: Path, config: TrainConfig, open_data: Callable[[], Data]) -> Data:
    """Open the data of a trained run; UsageError where a class has another number, a warning for other examples."""
    place = _place(config.data)
    if place is not None and not os.path.exists(place):
        form = {"folder": "their folder with --data folder:DIR", "text": "their file with --data text:FILE"}
        raise UsageError(
            f"the data of {visible(str(run))} are not in {visible(str(place))}: name {form[_kind(config.data)]}"
        )
    data, record = open_data(), read_record(run)
    if record is None:
        return data
    old, new = record.fingerprint, fingerprint(data)
    changes = class_changes(old, new)
    if changes:
        raise UsageError(
            f"the data changed since {visible(str(run))} was trained ({'; '.join(changes)}): restore {old.name}, or "
            "name data of the same classes with --data"
        )
    sizes = size_changes(old, new)
    if sizes:
        text = f"warning: the data changed since {visible(str(run))} was trained ({'; '.join(sizes)}): held-out"
        print(f"{text} examples may have been trained on", file=sys.stderr)
    else:
        _warn_of_contents(run, old, new)
    return data


def located(run: Path, values: Mapping[str, Any], *, data: str | None, data_dir: str | None) -> dict[str, Any]:
    """The settings of a run, its data as the user names them now, or else as they open from any working directory."""
    record, found = read_record(run), dict(values)
    if record is not None:
        then, now = (_place(name) for name in (record.data, str(values.get("data"))))
        if then is not None and now is not None and (os.path.exists(then) or not os.path.exists(now)):
            found["data"] = record.data
        if record.data_dir is not None and os.path.isdir(record.data_dir):
            found["data_dir"] = record.data_dir
    given = {"data": data, "data_dir": data_dir}
    return found | {name: value for name, value in given.items() if value is not None}


def _warn_of_contents(run: Path, old: Fingerprint, new: Fingerprint) -> None:
    if old.checksum != new.checksum:
        print(
            f"warning: files or values of {new.name} are others than when {visible(str(run))} was trained",
            file=sys.stderr,
        )


def _place(name: str) -> Path | None:
    """The folder, or file of text, in which data lie."""
    return Path(name.partition(":")[2]).expanduser() if _kind(name) in ("folder", "text") else None


def _kind(name: str) -> str:
    return name.partition(":")[0]
