"""The loop keeps its promises whatever stops it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from aigc_jax.train.loop import abstract_state, initial_state, train
from aigc_jax.train.nan_guard import NonFiniteError
from aigc_jax.types import UsageError

from .toys import Game, ToyConfig, batches, experiment, leaves

GAME = Game(num_players=1)


def run(workdir, config=None, *, game=GAME, feed=batches, **kwargs):
    config = config or ToyConfig()
    toy = experiment(game, config.parallel, tx=kwargs.pop("tx", None))
    return train(toy, config, workdir, batches=feed, devices=jax.devices()[:1], **kwargs)


def lines(workdir):
    """The logged figures, without the timings, which no two runs share."""
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [(record["step"], record["metrics"]) for record in records]


def saved_steps(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def stop_at(step, number=signal.SIGTERM):
    """An evaluation during which the user wants to stop; the step after it is the last one."""

    def evaluate_fn(variables, now):
        if now == step:
            signal.raise_signal(number)
        return {"eval/w": float(np.sum(variables["params"]["a"]["w"]))}

    return evaluate_fn


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    result = run(workdir, ToyConfig(eval_every=1), evaluate_fn=stop_at(None))
    return result, lines(workdir)


@pytest.mark.one_case
@pytest.mark.parametrize(("step", "number"), [(1, signal.SIGTERM), (3, signal.SIGINT), (4, signal.SIGTERM)])
def test_stopped_and_resumed_is_bitwise_equal(tmp_path, capsys, whole_run, step, number):
    before = signal.getsignal(number)
    config = ToyConfig(eval_every=1)
    stopped = run(tmp_path, config, evaluate_fn=stop_at(step, number), resume_command="go on")
    assert (stopped.step, stopped.stopped_by) == (step + 1, number)
    assert signal.getsignal(number) is before
    assert "go on" in capsys.readouterr().err
    assert saved_steps(tmp_path)[-1] == step + 1
    resumed = run(tmp_path, config, evaluate_fn=stop_at(None))
    whole, figures = whole_run
    assert (resumed.step, resumed.stopped_by) == (6, None)
    for ours, theirs in zip(leaves(resumed.state), leaves(whole.state), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert lines(tmp_path) == figures
    assert [now for now, _ in figures] == [1, 2, 3, 4, 5, 6]


def test_work_lost_after_the_last_checkpoint_is_repeated_exactly(tmp_path, whole_run):
    """A crash, not a signal: what was logged after the newest checkpoint is cut and comes again."""

    def crash(variables, step):
        if step == 5:
            raise RuntimeError("power cut")
        return stop_at(None)(variables, step)

    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path, ToyConfig(eval_every=1), evaluate_fn=crash)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "metrics": {"a/lo')  # torn in the middle of a line
    resumed = run(tmp_path, ToyConfig(eval_every=1), evaluate_fn=stop_at(None))
    for ours, theirs in zip(leaves(resumed.state), leaves(whole_run[0].state), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert lines(tmp_path) == whole_run[1]


def test_resume_under_another_mode_and_device_count(tmp_path, whole_run):
    run(tmp_path, ToyConfig(steps=3, eval_every=1), evaluate_fn=stop_at(None))
    config = ToyConfig(eval_every=1, parallel="jit")
    toy = experiment(GAME, "jit")
    result = train(toy, config, tmp_path, batches=batches, evaluate_fn=stop_at(None))
    for ours, theirs in zip(leaves(result.state.params), leaves(whole_run[0].state.params), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.fixture
def _ctrl_c_interrupts():
    """A shell starts background jobs, CI's perhaps, with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_interrupts")
def test_a_second_ctrl_c_aborts_at_once(tmp_path):
    def evaluate_fn(variables, step):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ToyConfig(eval_every=1), evaluate_fn=evaluate_fn)
    assert signal.getsignal(signal.SIGINT) is before
    assert saved_steps(tmp_path) == []


def test_outside_the_main_thread_no_handler_is_touched(tmp_path):
    before, results = signal.getsignal(signal.SIGTERM), []
    during = lambda variables, step: results.append(signal.getsignal(signal.SIGTERM)) or {}  # noqa: E731
    thread = threading.Thread(
        target=lambda: results.append(run(tmp_path, ToyConfig(steps=1, eval_every=1), evaluate_fn=during).step)
    )
    thread.start()
    thread.join()
    assert results == [before, 1]


@pytest.mark.parametrize("log_every", [1, 100])
def test_nan_stops_the_run_and_no_bad_state_is_saved(tmp_path, log_every):
    config = ToyConfig(steps=12, checkpoint_every=3, log_every=log_every)
    with pytest.raises(NonFiniteError, match=r"a/loss is nan at step 7;.*checkpoints/6;") as caught:
        run(tmp_path, config, feed=lambda start: batches(start, bad_step=6))
    assert (caught.value.step, caught.value.name) == (7, "a/loss")
    assert saved_steps(tmp_path) == [3, 6]
    assert all(step < 7 for step, _ in lines(tmp_path))


def test_weights_that_overflow_under_finite_metrics_are_not_saved(tmp_path):
    # The gradient is fine and so is the loss; the update overflows, and no later step is there to notice.
    with pytest.raises(NonFiniteError, match=r"params/a/w is -?inf at step 1; no checkpoint"):
        run(tmp_path, ToyConfig(steps=1), tx=optax.chain(optax.scale(1e38), optax.scale(1e38)))
    assert saved_steps(tmp_path) == []


def test_the_best_checkpoint_is_kept_over_a_resume(tmp_path):
    scores = {1: 0.1, 2: 0.9, 3: float("nan"), 4: 0.2, 5: 0.3, 6: 0.4, 7: 0.95, 8: 0.0}
    evaluate_fn = lambda variables, step: {"eval/score": scores[step]}  # noqa: E731
    config = ToyConfig(eval_every=1, best_metric="eval/score", keep_checkpoints=1, checkpoint_every=3, steps=4)
    run(tmp_path, config, evaluate_fn=evaluate_fn)
    assert saved_steps(tmp_path) == [2, 4]
    run(tmp_path, ToyConfig(**{**vars(config), "steps": 6}), evaluate_fn=evaluate_fn)
    assert saved_steps(tmp_path) == [2, 6]
    run(tmp_path, ToyConfig(**{**vars(config), "steps": 8}), evaluate_fn=evaluate_fn)
    assert saved_steps(tmp_path) == [7, 8]
    assert lines(tmp_path)[2] == (3, {**lines(tmp_path)[2][1], "eval/score": None})


def test_a_best_metric_that_is_not_evaluated_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\(eval/w\), got 'fid'"):
        run(tmp_path, ToyConfig(eval_every=1, best_metric="fid"), evaluate_fn=stop_at(None))


def test_changed_settings_are_refused_and_a_longer_run_goes_on(tmp_path):
    first = run(tmp_path, ToyConfig(steps=2))
    with pytest.raises(UsageError, match="seed 0 -> 1"):
        run(tmp_path, ToyConfig(steps=2, seed=1))
    with pytest.raises(UsageError, match=r"params/b/w .* absent"):
        run(tmp_path, ToyConfig(steps=4), game=Game())
    again = run(tmp_path, ToyConfig(steps=2))
    for ours, theirs in zip(leaves(again.state), leaves(first.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert run(tmp_path, ToyConfig(steps=4)).step == 4


def test_grids_checkpoints_and_logs_come_when_due(tmp_path):
    config = ToyConfig(steps=5, sample_every=2, log_every=2, checkpoint_every=0)
    started = []
    result = run(tmp_path, config, on_start=lambda state: started.append(int(state.step)))
    assert started == [0]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        f"step_{step:08d}.png" for step in (2, 4, 5)
    ]
    assert [step for step, _ in lines(tmp_path)] == [2, 4, 5]
    assert saved_steps(tmp_path) == [5]
    assert list((tmp_path / "tensorboard").iterdir())
    assert 0 <= result.data_wait <= 1
    assert result.compile_seconds > 0


def test_the_data_is_asked_for_no_more_than_is_used_and_closed(tmp_path):
    asked, closed = [], []

    class Stream:
        def __init__(self, start):
            self.steps = iter(batches(start))

        def __iter__(self):
            return self

        def __next__(self):
            asked.append(1)
            return next(self.steps)

        def close(self):
            closed.append(1)

    run(tmp_path, ToyConfig(steps=3), feed=Stream)
    assert (len(asked), closed) == (3, [1])


def test_data_that_ends_is_reported(tmp_path):
    with pytest.raises(ValueError, match="4 more batches"):
        run(tmp_path, feed=lambda start: islice(batches(start), 2))


def test_initial_state_fits_its_abstract_state():
    toy = experiment()
    state, shapes = initial_state(toy, 3), abstract_state(toy)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), shapes)


CHILD = """
import sys, time
from pathlib import Path
from tests.train.toys import Game, ToyConfig, batches, experiment
from aigc_jax.train.loop import train

def slowly(start):
    for batch in batches(start):
        time.sleep(0.05)
        yield batch

config = ToyConfig(steps=int(sys.argv[2]), checkpoint_every=0)
result = train(experiment(Game(num_players=1)), config, Path(sys.argv[1]), batches=slowly, resume_command="THIS")
sys.exit(128 + result.stopped_by if result.stopped_by else 0)
"""


@pytest.mark.slow
def test_a_killed_process_says_how_to_resume_and_resumes_bitwise_equal(tmp_path):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # as in this process: the same program, bit for bit
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "killed"), "1000"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    file = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (file.exists() and len(file.read_text().splitlines()) >= 3):
        time.sleep(0.05)
    child.terminate()
    _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert "to resume: THIS" in err
    stopped = saved_steps(tmp_path / "killed")[-1]
    assert 3 <= stopped < 1000
    end = stopped + 2
    resumed = run(tmp_path / "killed", ToyConfig(steps=end, checkpoint_every=0))
    whole = run(tmp_path / "whole", ToyConfig(steps=end, checkpoint_every=0))
    for ours, theirs in zip(leaves(resumed.state), leaves(whole.state), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
