"""Metrics arrive in every sink, once."""

import io
import json
import os
import sys

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from aigc_jax.train import logging
from aigc_jax.train.logging import (
    JsonLines,
    Log,
    Progress,
    Record,
    TensorBoard,
    WeightsAndBiases,
    open_log,
    read_log,
    truncate_log,
)
from aigc_jax.types import UsageError


def record(step, **metrics):
    return Record(step, metrics or {"a/loss": step / 8}, 12.5, 0.25, 1000.0 + step)


def events(folder):
    """All events of a folder, in the order of the names of its files."""
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        while content:  # length uint64, its checksum, the event, its checksum
            length = int(np.frombuffer(content[:8], "<u8")[0])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def curve(folder, tag="a/loss"):
    """``[(step, value)]`` as TensorBoard shows it: a session that starts hides all earlier events from its step on."""
    points = []
    for event in events(folder):
        if event.session_log.status == SessionLog.START:
            points = [point for point in points if point[0] < event.step]
        points += [(event.step, value.simple_value) for value in event.summary.value if value.tag == tag]
    return points


def test_json_lines_are_truncated_on_resume(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = JsonLines(path, 0)
    for step in (1, 2, 3):
        log.write(record(step))
    log.close()
    resumed = JsonLines(path, 2)
    resumed.write(record(3, x=float("nan")))
    resumed.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    timings = {"steps_per_s": 12.5, "data_wait": 0.25, "time": 1001.0}
    assert lines[0] == {"step": 1, "metrics": {"a/loss": 0.125}, **timings}
    assert lines[2]["metrics"] == {"x": None}
    assert list(read_log(path))[:2] == [record(1), record(2)]


def test_truncate_log_drops_damaged_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    truncate_log(path, 3)
    assert not path.exists()
    good = b'{"step": 1}\n'
    bad = [
        b"noise\n",
        b'{"step": "x"}\n',
        b'{"metrics": {}}\n',
        b'{"step": true}\n',
        b'{"step": 1e999}\n',
        b'{"step": -1}\n',
        b'{"step": ' + b"1" * 400 + b"}\n",
        b'{"step": 1, "metrics": "\xff"}\n',
        b'{"step": 1, "metrics": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        b"\x00" * 5_000_000 + b"\n",
        b"[]\n",
        b'{"step": 2}',
    ]
    path.write_bytes(good + b"".join(bad))
    truncate_log(path, 3)
    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_json_lines_append_to_no_target_of_a_link(tmp_path):
    outside, path = tmp_path / "outside", tmp_path / "metrics.jsonl"
    outside.write_text('{"step": 1}\n')
    path.symlink_to(outside)
    log = JsonLines(path, 3)
    log.write(record(2))
    log.close()
    assert outside.read_text() == '{"step": 1}\n'
    assert [each.step for each in read_log(path)] == [1, 2]


def test_json_lines_refuse_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(UsageError, match="not a regular file"):
        JsonLines(tmp_path / "metrics.jsonl", 0)


def test_tensorboard_events_hold_the_values(tmp_path):
    board = TensorBoard(tmp_path, 4)
    board.write(record(5, loss=0.5, bad=float("inf")))
    board.draw(5, np.full((6, 8, 3), 7, np.uint8))
    board.close()
    values, images = {}, {}
    for event in events(tmp_path):
        values |= {value.tag: (event.step, value.simple_value) for value in event.summary.value}
        images |= {value.tag: value.image for value in event.summary.value if value.HasField("image")}
    assert values["loss"] == (5, 0.5)
    assert values["speed/data_wait"] == (5, 0.25)
    assert "bad" not in values
    assert (images["samples"].height, images["samples"].width) == (6, 8)


def test_tensorboard_loses_nothing_when_the_process_is_killed(tmp_path):
    board = TensorBoard(tmp_path, 0)
    for step in (1, 2):
        board.write(record(step))
    assert curve(tmp_path) == [(1, 0.125), (2, 0.25)]  # read from the disk while the writer is open
    resumed = TensorBoard(tmp_path, 1, [record(1)])
    for step in (2, 3):
        resumed.write(record(step, **{"a/loss": -1.0}))
        resumed.flush()
    assert curve(tmp_path) == [(1, 0.125), (2, -1.0), (3, -1.0)]
    board.close()
    resumed.close()


def test_tensorboard_writes_lost_points_of_earlier_runs_again(tmp_path):
    first = TensorBoard(tmp_path, 0)
    first.write(record(1))
    first.write(record(4))
    first.close()
    second = TensorBoard(tmp_path, 1, [record(1)])  # hides step 4, and dies before it writes it
    second.write(record(2))
    second.close()
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:-30])  # torn
    history = [record(step) for step in (1, 2, 3, 4)]
    third = TensorBoard(tmp_path, 4, history)
    third.write(record(5))
    third.close()
    assert curve(tmp_path) == [(step, step / 8) for step in (1, 2, 3, 4, 5)]


def test_tensorboard_files_sort_in_the_order_of_writing(tmp_path, monkeypatch):
    for now in (2000.0, 1000.0, 1000.0, 3000.0):  # the clock is set back, then two restarts within a second
        monkeypatch.setattr(logging.time, "time", lambda now=now: now)
        before = sorted(tmp_path.iterdir())
        TensorBoard(tmp_path, 0).close()
        after = sorted(tmp_path.iterdir())
        assert after[:-1] == before
        assert len(after) == len(before) + 1


def test_tensorboard_survives_files_of_strangers(tmp_path):
    (tmp_path / "events.out.tfevents.5.x").write_bytes(b"\xff" * 12 + b"?" * 50)
    (tmp_path / "events.out.tfevents.6.x").write_bytes((9).to_bytes(8, "little") + b"\xff" * 20)
    (tmp_path / "events.out.tfevents.7.x").write_bytes((2**63).to_bytes(8, "little") + b"\xff" * 20)
    board = TensorBoard(tmp_path, 1, [record(1)])
    board.close()
    os.mkfifo(tmp_path / "events.out.tfevents.8.x")
    with pytest.raises(UsageError, match="not a regular file"):
        TensorBoard(tmp_path, 1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_plain_lines_off_a_terminal_and_a_bar_on_one(monkeypatch):
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        monkeypatch.setattr(sys, "stderr", stream)
        progress = Progress(10, 1020)
        for step in range(11, 21):
            progress.advance(step)
            if step == 20:
                progress.write(record(20, norm=2.0, **{"a/loss": 0.125, "eval/share": 0.5}))
        progress.close()
    (line,) = plain.getvalue().splitlines()
    assert line.split("  ") == ["step 20/1020", "12.5 steps/s", "01:20 left", "a/loss 0.125", "eval/share 0.5"]
    assert "20/1020" in terminal.getvalue()
    assert "a/loss 0.125" in terminal.getvalue()


def test_progress_prints_a_line_a_minute_off_a_terminal(monkeypatch):
    plain, now = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", plain)
    monkeypatch.setattr(logging.time, "monotonic", lambda: now[0])
    progress = Progress(0, 9)
    for step in range(1, 7):
        now[0] += 25.0
        progress.advance(step)
    assert plain.getvalue().splitlines() == ["step 3/9", "step 6/9"]


def test_log_reports_a_full_disk_in_one_line_and_closes_every_sink(tmp_path):
    class Full(JsonLines):
        is_closed = False

        def flush(self):
            raise OSError(28, "No space left on device")

        def close(self):
            super().close()
            self.is_closed = True
            raise OSError(28, "No space left on device")

    sinks = [Full(tmp_path / "a", 0), Full(tmp_path / "b", 0)]
    log = Log(tmp_path, sinks)
    for method in (log.flush, log.close):
        with pytest.raises(UsageError, match=r"cannot write the log of .* \(No space left on device\)"):
            method()
    assert [sink.is_closed for sink in sinks] == [True, True]


def test_wandb_is_only_imported_when_asked_for(tmp_path, monkeypatch):
    open_log(tmp_path, 0, 1, wandb=None, values={}).close()
    assert "wandb" not in sys.modules
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    with pytest.raises(UsageError, match=r"pip install 'aigc-jax\[wandb\]'"):
        open_log(tmp_path / "other", 0, 1, wandb="project", values={})
    assert not (tmp_path / "other").exists()


class FakeWandb:
    """As W&B does: a run of each id, and nothing is taken at an earlier step of its own."""

    def __init__(self):
        self.runs, self.axes = {}, {}

    def init(self, *, project, id, name, dir, config, resume):
        assert (resume, config) == ("allow", {"steps": 4})
        self.current, self.is_open = self.runs.setdefault((project, id), []), True
        return self

    def define_metric(self, name, step_metric=None):
        self.axes[name] = step_metric

    def log(self, metrics):
        self.current.append(metrics)

    def finish(self):
        self.is_open = False


def test_wandb_run_goes_on_when_training_resumes(tmp_path, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)

    def session(start, steps, project="project"):
        log = open_log(tmp_path, start, 4, wandb=project, values={"steps": 4})
        for step in steps:
            log.write(record(step))
        log.close()

    session(0, (1, 2, 3))
    session(2, (3, 4))  # from the checkpoint of step 2
    ((_, logged),) = fake.runs.items()
    assert [(each["step"], each["a/loss"]) for each in logged] == [
        (1, 0.125),
        (2, 0.25),
        (3, 0.375),
        (3, 0.375),
        (4, 0.5),
    ]
    assert fake.axes == {"step": None, "*": "step"}
    assert not fake.is_open
    session(4, (), project="another")
    assert [project for project, _ in fake.runs] == ["project", "another"]


def test_wandb_refuses_an_id_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    for run_id in ("../../x", "", "a" * 65, None, ["x"]):
        (tmp_path / "wandb.json").write_text(json.dumps({"project": "p", "id": run_id}))
        with pytest.raises(UsageError, match="no id of a run"):
            WeightsAndBiases("p", tmp_path, {"steps": 4})
