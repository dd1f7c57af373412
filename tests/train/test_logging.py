"""Figures arrive where they should, and nowhere twice."""

import io
import json
import sys

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from aigc_jax.train.logging import JsonLines, Progress, Record, TensorBoard, open_log, truncate_log
from aigc_jax.types import UsageError


def record(step, **metrics):
    return Record(step, metrics or {"a/loss": step / 8}, 12.5, 0.25)


def test_json_lines_are_cut_back_on_resume(tmp_path):
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
    assert lines[0] == {"step": 1, "metrics": {"a/loss": 0.125}, "steps_per_s": 12.5, "data_wait": 0.25}
    assert lines[2]["metrics"] == {"x": None}


def test_torn_and_foreign_lines_go_and_a_missing_file_is_fine(tmp_path):
    path = tmp_path / "metrics.jsonl"
    truncate_log(path, 3)
    assert not path.exists()
    good = '{"step": 1}\n'
    path.write_text(good + "noise\n" + '{"step": "x"}\n' + '{"metrics": {}}\n' + '{"step": 2}')
    truncate_log(path, 3)
    assert path.read_text() == good
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_tensorboard_events_hold_the_values(tmp_path):
    board = TensorBoard(tmp_path, 4)
    board.write(record(5, loss=0.5, bad=float("inf")))
    board.draw(5, np.full((6, 8, 3), 7, np.uint8))
    board.close()
    values, images = {}, {}
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        while content:  # length uint64, its checksum, the event, its checksum
            length = int(np.frombuffer(content[:8], "<u8")[0])
            event = Event.FromString(content[12 : 12 + length])
            values |= {value.tag: (event.step, value.simple_value) for value in event.summary.value}
            images |= {value.tag: value.image for value in event.summary.value if value.HasField("image")}
            content = content[16 + length :]
    assert values["loss"] == (5, 0.5)
    assert values["speed/data_wait"] == (5, 0.25)
    assert "bad" not in values
    assert (images["samples"].height, images["samples"].width) == (6, 8)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_plain_lines_off_a_terminal_and_a_bar_on_one(monkeypatch):
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        monkeypatch.setattr(sys, "stderr", stream)
        progress = Progress(10, 20)
        for step in range(11, 21):
            progress.advance(step)
            if step == 15:
                progress.write(record(15, norm=2.0, **{"a/loss": 0.125, "eval/share": 0.5}))
        progress.close()
    (line,) = plain.getvalue().splitlines()
    assert line.split("  ") == ["step 15/20", "12.5 steps/s", "a/loss 0.125", "eval/share 0.5"]
    assert "20/20" in terminal.getvalue()
    assert "a/loss 0.125" in terminal.getvalue()


def test_wandb_is_only_imported_when_asked_for(tmp_path, monkeypatch):
    open_log(tmp_path, 0, 1, wandb=None, values={}).close()
    assert "wandb" not in sys.modules
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    with pytest.raises(UsageError, match=r"pip install 'aigc-jax\[wandb\]'"):
        open_log(tmp_path / "other", 0, 1, wandb="project", values={})
    assert not (tmp_path / "other").exists()


def test_wandb_gets_what_is_logged(tmp_path, monkeypatch):
    calls = []

    class Fake:
        def init(self, **kwargs):
            calls.append(kwargs["project"])
            return self

        def log(self, figures, step):
            calls.append((step, figures["a/loss"]))

        def finish(self):
            calls.append("finished")

    monkeypatch.setitem(sys.modules, "wandb", Fake())
    log = open_log(tmp_path, 0, 1, wandb="project", values={})
    log.advance(1)
    log.write(record(1))
    log.close()
    assert calls == ["project", (1, 0.125), "finished"]
