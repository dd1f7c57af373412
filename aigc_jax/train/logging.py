"""Logs of a training run: a JSON-lines file, TensorBoard, Weights & Biases, and the terminal.

Every sink has written all records before a checkpoint is saved: a resumed run begins at its checkpoint, and never
logs the earlier steps again.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]: generated
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import image, scalar
from tqdm import tqdm

from aigc_jax.data.files import parse_json, read_json, regular_file, unreadable, visible, whole_file, write_text
from aigc_jax.types import UsageError

MAX_LINE_BYTES = 2**20
"""Size limit of a line of ``metrics.jsonl``."""

SECONDS_BETWEEN_LINES = 60.0
"""Where there is no terminal: the longest time between two lines of progress."""


class Record(NamedTuple):
    """The metrics of one logged step."""

    step: int  # number of steps made
    metrics: Mapping[str, float]  # those of this step, and of the evaluation where there was one
    steps_per_s: float  # since the last record
    data_wait: float  # fraction of the time since the last record that was spent waiting for data
    time: float  # seconds since 1970


class Sink:
    """A destination of metrics; by default each call is ignored."""

    def advance(self, step: int) -> None:
        """Count a step."""

    def write(self, record: Record) -> None:
        """Log the metrics of a step."""

    def draw(self, step: int, grid: np.ndarray) -> None:
        """Log a grid of samples, uint8 [H, W, 3]."""

    def flush(self) -> None:
        """Write all that was logged, so that it outlives the process."""

    def close(self) -> None:
        """Flush, and close the files."""


class JsonLines(Sink):
    """``metrics.jsonl``: one JSON object per record; NaN and infinity, which JSON lacks, become null."""

    def __init__(self, path: Path, start_step: int) -> None:
        truncate_log(path, start_step)
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Record) -> None:
        """Append one line."""
        metrics = {name: value if math.isfinite(value) else None for name, value in record.metrics.items()}
        timings = {"steps_per_s": round(record.steps_per_s, 4), "data_wait": round(record.data_wait, 4)}
        line = {"step": record.step, "metrics": metrics, **timings, "time": round(record.time, 3)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard(Sink):
    """TensorBoard events in ``RUN/tensorboard``; the steps that a resumed run repeats are hidden.

    Events are written at once. tensorboardX's own writer holds them in the queue of a thread: its ``flush`` leaves
    them there, and a killed process loses them.
    """

    def __init__(self, folder: Path, start_step: int, history: Iterable[Record] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        known = _logged_steps(folder)
        history = list(history)
        first = min((record.step for record in history if record.step not in known), default=start_step + 1)
        self._file = _new_event_file(folder).open("xb")
        self._add(Event(wall_time=time.time(), step=first, file_version="brain.Event:2"))
        # TensorBoard drops all that earlier files hold of this step and later ones.
        self._add(Event(wall_time=time.time(), step=first, session_log=SessionLog(status=SessionLog.START)))
        for record in history:
            if record.step >= first:
                self.write(record)

    def write(self, record: Record) -> None:
        """Write one point per metric, and two for the throughput."""
        throughput = {_THROUGHPUT: record.steps_per_s, "speed/data_wait": record.data_wait}
        for name, value in {**record.metrics, **throughput}.items():
            if math.isfinite(value):
                self._add(Event(wall_time=record.time, step=record.step, summary=scalar(name, value)))
        self._file.flush()

    def draw(self, step: int, grid: np.ndarray) -> None:
        """Write the grid as an image."""
        self._add(Event(wall_time=time.time(), step=step, summary=image("samples", grid, dataformats="HWC")))

    def flush(self) -> None:
        """Flush the event file."""
        self._file.flush()

    def close(self) -> None:
        """Close the event file."""
        self._file.close()

    def _add(self, event: Event) -> None:
        """Append a record of the TFRecord format: length, its checksum, content, its checksum."""
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        for part in (length, struct.pack("<I", masked_crc32c(length)), content):
            self._file.write(part)
        self._file.write(struct.pack("<I", masked_crc32c(content)))


_THROUGHPUT = "speed/steps_per_s"  # a curve of every record


def _new_event_file(folder: Path) -> Path:
    """A new name that sorts last, also after the clock was set back: TensorBoard reads the files in this order."""
    stamps = [int(found[1]) for path in folder.iterdir() if (found := _EVENT_FILE.match(path.name))]
    return folder / f"events.out.tfevents.{max([int(time.time()), *(stamp + 1 for stamp in stamps)]):010d}.aigc_jax"


_EVENT_FILE = re.compile(r"events\.out\.tfevents\.([0-9]{1,18})\.")


def _logged_steps(folder: Path) -> set[int]:
    """The steps whose records the event files of a folder hold."""
    steps: set[int] = set()
    for path in sorted(path for path in folder.iterdir() if _EVENT_FILE.match(path.name)):
        try:
            with regular_file(path) as file:
                for event in _events(file):
                    if event.session_log.status == SessionLog.START:
                        steps = {step for step in steps if step < event.step}
                    if any(value.tag == _THROUGHPUT for value in event.summary.value):
                        steps.add(event.step)
        except OSError as error:
            raise unreadable(path, error, "remove it, or choose another --workdir") from error
    return steps


def _events(file: IO[bytes]) -> Iterator[Event]:
    """The events of a file up to the first that is torn."""
    while len(length := file.read(12)) == 12:
        size = int.from_bytes(length[:8], "little")
        if size > _MAX_EVENT_BYTES or len(content := file.read(size + 4)) < size + 4:
            return
        try:
            yield Event.FromString(content[:-4])
        except Exception:  # protobuf's own error, which its public packages do not name
            return


_MAX_EVENT_BYTES = 2**28


class WeightsAndBiases(Sink):
    """Weights & Biases. Its own process takes what is logged, and outlives this one."""

    def __init__(self, project: str, run: Path, values: Mapping[str, Any]) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]: an optional extra
        except ImportError:
            raise UsageError(
                f"logging to the wandb project {project!r} needs wandb: pip install 'aigc-jax[wandb]'"
            ) from None
        run_id, name = _wandb_id(run, project), run.resolve().name
        self._run = wandb.init(project=project, id=run_id, name=name, dir=str(run), config=dict(values), resume="allow")
        # The step is a metric of ours: W&B's own never goes back, and a resumed run logs the steps after its
        # checkpoint again.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def write(self, record: Record) -> None:
        """Log the metrics of a step."""
        self._run.log({**record.metrics, _THROUGHPUT: record.steps_per_s, "step": record.step})

    def close(self) -> None:
        """End the upload."""
        self._run.finish()


def _wandb_id(run: Path, project: str) -> str:
    """The id of a run in a project of W&B: made once, kept in ``wandb.json``, so that a resumed run goes on there."""
    file = run / "wandb.json"
    if file.is_symlink() or file.exists():
        advice = "remove it, and the run goes on as a new one in W&B"
        kept = read_json(file, advice=advice)
        if kept.get("project") == project:
            run_id = kept.get("id")
            if not isinstance(run_id, str) or not re.fullmatch("[A-Za-z0-9_-]{1,64}", run_id):
                raise unreadable(file, ValueError("no id of a run"), advice)
            return run_id
    run_id = secrets.token_hex(4)
    write_text(file, json.dumps({"project": project, "id": run_id}) + "\n")
    return run_id


class Progress(Sink):
    """A bar with throughput, remaining time and the latest metrics; plain lines where there is no terminal."""

    def __init__(self, start_step: int, num_steps: int) -> None:
        self._stream = sys.stderr
        self._num_steps, self._last, self._last_line = num_steps, start_step, time.monotonic()
        self._bar = None
        if self._stream.isatty():
            self._bar = tqdm(total=num_steps, initial=start_step, unit="step", file=self._stream, dynamic_ncols=True)

    def advance(self, step: int) -> None:
        """Move the bar; without a terminal, print the step where the last line is a minute old."""
        if self._bar is not None:
            self._bar.update(step - self._last)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._print(f"step {step}/{self._num_steps}")
        self._last = step

    def write(self, record: Record) -> None:
        """Show the latest metrics."""
        losses_first = sorted(record.metrics.items(), key=lambda item: not item[0].endswith("/loss"))
        if self._bar is not None:
            self._bar.set_postfix_str("  ".join(f"{name} {value:.4g}" for name, value in losses_first))
            return
        # Short lines: metrics.jsonl has the rest. Evaluations are rare, and looked for.
        shown = [f"{name} {value:.4g}" for name, value in losses_first if name.endswith("/loss") or "eval/" in name]
        parts = [f"step {record.step}/{self._num_steps}", f"{record.steps_per_s:.3g} steps/s"]
        if record.steps_per_s > 0 and record.step < self._num_steps:
            left = (self._num_steps - record.step) / record.steps_per_s
            parts.append(f"{tqdm.format_interval(left)} left")
        self._print(*parts, *shown)

    def close(self) -> None:
        """Leave the bar as it is and go to a new line."""
        if self._bar is not None:
            self._bar.close()

    def _print(self, *parts: str) -> None:
        print(*parts, sep="  ", file=self._stream, flush=True)
        self._last_line = time.monotonic()


class Log:
    """All sinks of a run as one.

    Its methods raise ``UsageError`` where the disk is full or a file cannot be written.
    """

    def __init__(self, run: Path, sinks: Sequence[Sink]) -> None:
        self._run, self._sinks = run, sinks

    def advance(self, step: int) -> None:
        """Count a step."""
        self._call("advance", step)

    def write(self, record: Record) -> None:
        """Log the metrics of a step."""
        self._call("write", record)

    def draw(self, step: int, grid: np.ndarray) -> None:
        """Log a grid of samples."""
        self._call("draw", step, grid)

    def flush(self) -> None:
        """Write all that was logged."""
        self._call("flush")

    def close(self) -> None:
        """Close every sink."""
        self._call("close")

    def _call(self, method: str, *arguments: Any) -> None:
        failed: OSError | None = None
        for sink in self._sinks:
            try:
                getattr(sink, method)(*arguments)
            except OSError as error:  # the other sinks are written and closed all the same
                failed = error
        if failed is not None:
            raise UsageError(
                f"cannot write the log of {visible(str(self._run))} ({failed.strerror or failed}): free space there, "
                "then the same command resumes from the last checkpoint"
            ) from failed


def open_log(run: Path, start_step: int, num_steps: int, *, wandb: str | None, values: Mapping[str, Any]) -> Log:
    """Open all sinks of a run, none but in the first process; records after ``start_step`` are dropped."""
    if jax.process_index() != 0:
        return Log(run, [])
    metrics = run / "metrics.jsonl"
    # wandb first: where it is not installed, nothing is open yet.
    sinks: list[Sink] = [WeightsAndBiases(wandb, run, values)] if wandb else []
    try:
        sinks += [JsonLines(metrics, start_step), TensorBoard(run / "tensorboard", start_step, read_log(metrics))]
    except OSError as error:
        where = visible(str(error.filename or run))
        raise UsageError(f"cannot write {where} ({error.strerror or error}): choose another --workdir") from error
    return Log(run, [*sinks, Progress(start_step, num_steps)])


def truncate_log(path: Path, step: int) -> None:
    """Drop the lines of a JSON-lines file that are of later steps, or damaged."""
    if not path.exists() and not path.is_symlink():
        return
    # Written anew in any case: nothing is ever appended to the target of a link.
    with whole_file(path) as new:
        for line in _lines(path):
            record = _record(line)
            if record is not None and record.step <= step:
                new.write(line)


def read_log(path: Path) -> Iterator[Record]:
    """The records of a JSON-lines file, without those that are damaged."""
    for line in _lines(path) if path.exists() else ():
        record = _record(line)
        if record is not None:
            yield record


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with regular_file(path) as file:
            yield from iter(lambda: file.readline(MAX_LINE_BYTES), b"")
    except OSError as error:
        raise unreadable(path, error, "remove it, or choose another --workdir") from error


def _record(line: bytes) -> Record | None:
    """The record of a line; None of a torn or foreign one."""
    try:
        content = parse_json(line.decode()) if line.endswith(b"\n") else None
    except ValueError:
        return None
    if not isinstance(content, dict) or type(content.get("step")) is not int or content["step"] < 0:
        return None

    def number(value: Any, default: float = math.nan) -> float:
        return float(value) if type(value) in (int, float) else default

    metrics = content.get("metrics")
    named = metrics.items() if isinstance(metrics, dict) else ()
    return Record(
        content["step"],
        {visible(name): number(value) for name, value in named},
        number(content.get("steps_per_s")),
        number(content.get("data_wait")),
        number(content.get("time"), 0.0),
    )
