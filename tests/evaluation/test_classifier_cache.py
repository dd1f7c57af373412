"""The cache of classifiers: an entry fits its identity, or it is trained anew."""

import json
import os
import shutil
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.data.files import LockedError, file_lock
from aigc_jax.evaluation.classifier_cache import FILE, Entry, load_or_train
from aigc_jax.train.checkpoint import Checkpoints
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.run_dir import write_run
from aigc_jax.types import TrainState, UsageError

STEPS = 3


def state(step, value):
    params = {"net": {"w": jnp.full(4, value, jnp.float32)}}
    return TrainState(jnp.int32(step), params, {}, {}, {})


SHAPES = jax.eval_shape(lambda: state(0, 0.0))


def entry(seed=0):
    return Entry("toy classifier", {"seed": seed, "widths": (1, 2)}, STEPS, SHAPES)


class Trainer:
    """Training of a classifier whose weights are its seed; a checkpoint of step 2 holds -1."""

    def __init__(self, seed=0):
        self.seed, self.num_trained = seed, 0

    def __call__(self, run):
        self.num_trained += 1
        write_run(run, "classifier", TrainConfig(), {})
        checkpoints = Checkpoints(run)
        checkpoints.save(state(2, -1.0))
        checkpoints.save(state(STEPS, float(self.seed)))
        checkpoints.wait()
        checkpoints.close()


def load(seed=0, trainer=None):
    trainer = trainer or Trainer(seed)
    variables = load_or_train(entry(seed), trainer)
    np.testing.assert_array_equal(variables["params"]["net"]["w"], np.full(4, seed))
    return trainer.num_trained


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AIGC_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "classifiers"


def entries(folder):
    return sorted(path for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_cache_trains_an_entry_once(folder, capsys):
    assert [load(), load(), load(1), load(1)] == [1, 0, 1, 0]
    assert entries(folder) == sorted(entry(seed).folder for seed in (0, 1))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("training the toy classifier once; it is kept in ") for line in lines)


def flip_a_weight(run):
    file = max((run / "checkpoints" / str(STEPS) / "state" / "d").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def swap(run):
    """Put the checkpoints of another classifier under this name."""
    load(7)
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(entry(7).folder / "checkpoints", run / "checkpoints")


def swap_whole(run):
    load(7)
    shutil.rmtree(run)
    shutil.copytree(entry(7).folder, run)


def edit(**changes):
    def change(run):
        content = json.loads((run / FILE).read_text())
        (run / FILE).write_text(json.dumps({**content, **changes}))

    return change


@pytest.mark.one_case
@pytest.mark.parametrize(
    "damage",
    [
        flip_a_weight,
        swap,
        swap_whole,
        edit(step=2),
        edit(checksum="0" * 64),
        edit(identity={}),
        lambda run: (run / FILE).unlink(),
        lambda run: (run / FILE).write_text("{"),
        lambda run: (run / "config.json").unlink(),
        lambda run: shutil.rmtree(run / "checkpoints" / str(STEPS)),
        lambda run: shutil.rmtree(run / "checkpoints"),
        lambda run: [path.write_bytes(b"") for path in run.rglob("*") if path.is_file()],
        lambda run: [shutil.rmtree(run), run.write_text("")],
        lambda run: [shutil.rmtree(run), run.symlink_to("/nowhere")],
    ],
)
def test_cache_trains_anew_what_does_not_fit(folder, capsys, damage):
    load()
    damage(entry().folder)
    capsys.readouterr()
    assert load() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("training the toy classifier anew, the cached one does not fit (")
    assert load() == 0


def test_cache_keeps_nothing_of_a_failed_training(folder):
    def fail(run):
        Trainer()(run)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_train(entry(), fail)
    assert entries(folder) == []


CHILD = """
import sys, time
from pathlib import Path
from aigc_jax.data.files import file_lock
folder = Path(sys.argv[1])
with file_lock(folder.with_name(f".{folder.name}.lock")):
    folder.with_name(f".{folder.name}.tmp").mkdir()
    print("training", flush=True)
    time.sleep(600)
"""


def test_cache_removes_folders_of_dead_processes_alone(folder):
    other, abandoned = entry(5).folder, folder / ".toy-classifier-0123.a8dh2"  # of an older version of the library
    abandoned.mkdir(parents=True)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(other)], stdout=subprocess.PIPE)
    child.stdout.readline()
    load()
    assert entries(folder) == sorted([other.with_name(f".{other.name}.tmp"), entry().folder])
    child.kill()
    child.wait()
    child.stdout.close()
    load(1)
    assert entries(folder) == sorted([entry().folder, entry(1).folder])


def test_cache_trains_in_one_process_at_a_time(capsys):
    started, may_end, trainer = threading.Event(), threading.Event(), Trainer()

    def slow(run):
        started.set()
        assert may_end.wait(60)
        trainer(run)

    first = threading.Thread(target=load_or_train, args=(entry(), slow))
    first.start()
    assert started.wait(60)
    second = threading.Thread(target=load, args=(0, trainer))
    second.start()
    while "waiting for process" not in (err := capsys.readouterr().err):
        second.join(0.05)
    assert f"waiting for process {os.getpid()} on " in err
    may_end.set()
    for thread in (first, second):
        thread.join(60)
    assert trainer.num_trained == 1


def test_cache_that_cannot_be_written_is_named(folder):
    folder.parent.write_text("")
    with pytest.raises(UsageError, match="AIGC_JAX_CACHE"):
        load()


def test_cache_that_cannot_be_written_serves_readers(folder, monkeypatch):
    load()
    monkeypatch.setattr("aigc_jax.evaluation.classifier_cache.file_lock", None)  # no lock is needed
    assert load() == 0


def test_file_lock_is_held_once(tmp_path):
    lock = tmp_path / "lock"
    with file_lock(lock), pytest.raises(LockedError, match=str(os.getpid())), file_lock(lock):
        pass
    with file_lock(lock):
        pass
