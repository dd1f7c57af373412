"""Where a run's figures go: a JSON-lines file, TensorBoard, Weights & Biases, and the terminal."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from aigc_jax.data.files import write_text
from aigc_jax.types import UsageError


class Record(NamedTuple):
    """The figures of one log step.

    Attributes:
        step: number of steps made.
        metrics: those of this very step, and of the evaluation where there was one.
        steps_per_s: since the last record.
        data_wait: fraction of the time since the last record that was spent waiting for data.
    """

    step: int
    metrics: Mapping[str, float]
    steps_per_s: float
    data_wait: float


@runtime_checkable
class Sink(Protocol):
    """Somewhere that figures go to."""

    def advance(self, step: int) -> None:
        """Say that a step was made."""
        ...

    def write(self, record: Record) -> None:
        """Take the figures of a log step."""
        ...

    def draw(self, step: int, grid: np.ndarray) -> None:
        """Take a grid of samples, uint8 [H, W, 3]."""
        ...

    def close(self) -> None:
        """Write what is still held back, and let go."""
        ...


class JsonLines:
    """``metrics.jsonl``: one JSON object per log step; NaN and infinity, which JSON lacks, become null."""

    def __init__(self, path: Path, start_step: int) -> None:
        truncate_log(path, start_step)
        self._file = path.open("a", encoding="utf-8")

    def advance(self, step: int) -> None:
        """Nothing to do between log steps."""

    def write(self, record: Record) -> None:
        """Append one line; it is on its way to the disk before a checkpoint of this step is."""
        metrics = {name: value if math.isfinite(value) else None for name, value in record.metrics.items()}
        timings = {"steps_per_s": round(record.steps_per_s, 4), "data_wait": round(record.data_wait, 4)}
        self._file.write(json.dumps({"step": record.step, "metrics": metrics, **timings}) + "\n")
        self._file.flush()

    def draw(self, step: int, grid: np.ndarray) -> None:
        """Pictures are no figures."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """TensorBoard events in ``RUN/tensorboard``; what a resumed run repeats is hidden."""

    def __init__(self, folder: Path, start_step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=start_step + 1)

    def advance(self, step: int) -> None:
        """Nothing to do between log steps."""

    def write(self, record: Record) -> None:
        """One curve per metric, and two for the speed."""
        speed = {"speed/steps_per_s": record.steps_per_s, "speed/data_wait": record.data_wait}
        for name, value in {**record.metrics, **speed}.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, record.step)

    def draw(self, step: int, grid: np.ndarray) -> None:
        """The samples, beside the curves."""
        self._writer.add_image("samples", grid, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


class WeightsAndBiases:
    """Weights & Biases, for those who ask for it."""

    def __init__(self, project: str, run: Path, values: Mapping[str, Any]) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]: an optional extra, imported when asked for
        except ImportError:
            raise UsageError(
                f"logging to the wandb project {project!r} needs wandb: pip install 'aigc-jax[wandb]'"
            ) from None
        self._run = wandb.init(project=project, name=run.name, dir=str(run), config=dict(values), resume="allow")

    def advance(self, step: int) -> None:
        """Nothing to do between log steps."""

    def write(self, record: Record) -> None:
        """Log the metrics of a step."""
        self._run.log({**record.metrics, "speed/steps_per_s": record.steps_per_s}, step=record.step)

    def draw(self, step: int, grid: np.ndarray) -> None:
        """Pictures stay in the run directory."""

    def close(self) -> None:
        """End the upload."""
        self._run.finish()


class Progress:
    """A bar with steps per second, ETA and the latest metrics; plain lines where there is no terminal."""

    def __init__(self, start_step: int, num_steps: int) -> None:
        self._stream = sys.stderr
        self._num_steps, self._last = num_steps, start_step
        self._bar = None
        if self._stream.isatty():
            self._bar = tqdm(total=num_steps, initial=start_step, unit="step", file=self._stream, dynamic_ncols=True)

    def advance(self, step: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(step - self._last)
        self._last = step

    def write(self, record: Record) -> None:
        """Show the latest metrics."""
        losses_first = sorted(record.metrics.items(), key=lambda item: not item[0].endswith("/loss"))
        if self._bar is not None:
            self._bar.set_postfix_str("  ".join(f"{name} {value:.4g}" for name, value in losses_first))
            return
        # Short lines: metrics.jsonl has the rest. What is evaluated is rare, and looked for.
        figures = [f"{name} {value:.4g}" for name, value in losses_first if name.endswith("/loss") or "eval/" in name]
        speed = f"{record.steps_per_s:.3g} steps/s"
        print(f"step {record.step}/{self._num_steps}", speed, *figures, sep="  ", file=self._stream, flush=True)

    def draw(self, step: int, grid: np.ndarray) -> None:
        """A terminal shows no pictures."""

    def close(self) -> None:
        """Leave the bar as it is and go to a new line."""
        if self._bar is not None:
            self._bar.close()


class Log:
    """All sinks of a run as one."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    def advance(self, step: int) -> None:
        """Say that a step was made."""
        for sink in self._sinks:
            sink.advance(step)

    def write(self, record: Record) -> None:
        """Take the figures of a log step."""
        for sink in self._sinks:
            sink.write(record)

    def draw(self, step: int, grid: np.ndarray) -> None:
        """Take a grid of samples."""
        for sink in self._sinks:
            sink.draw(step, grid)

    def close(self) -> None:
        """Close every sink."""
        for sink in self._sinks:
            sink.close()


def open_log(run: Path, start_step: int, num_steps: int, *, wandb: str | None, values: Mapping[str, Any]) -> Log:
    """Open every place that a run logs to.

    Args:
        run: the run directory.
        start_step: steps made so far; what was logged of later ones is dropped.
        num_steps: steps at the end.
        wandb: a project of Weights & Biases; None for none.
        values: the settings, shown there.

    Returns:
        The log; that of the first process alone goes anywhere.

    Raises:
        UsageError: wandb was asked for and is not installed.
    """
    if jax.process_index() != 0:
        return Log([])
    # wandb first: it alone may refuse, and then nothing is open yet.
    extra = [WeightsAndBiases(wandb, run, values)] if wandb else []
    files = [JsonLines(run / "metrics.jsonl", start_step), TensorBoard(run / "tensorboard", start_step)]
    return Log([*extra, *files, Progress(start_step, num_steps)])


def truncate_log(path: Path, step: int) -> None:
    """Drop the lines of a JSON-lines file that are of later steps, or torn.

    Args:
        path: the file; may be missing.
        step: the last step that is kept.
    """
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if _step_of(line) <= step]
    if kept != lines:
        write_text(path, "".join(kept))


def _step_of(line: str) -> int:
    """The step of a line; a torn or foreign one counts as never reached."""
    try:
        return int(json.loads(line)["step"]) if line.endswith("\n") else sys.maxsize
    except (ValueError, KeyError, TypeError):
        return sys.maxsize
