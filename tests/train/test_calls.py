"""Several steps in one call give what single steps give, bit for bit, wherever calls are cut."""

import dataclasses
import json
import signal

import jax
import numpy as np
import pytest

from aigc_jax.train.calls import call_lengths, stack
from aigc_jax.train.loop import train
from aigc_jax.train.nan_guard import NonFiniteError

from .toys import Game, ToyConfig, batches, experiment, leaves

CONFIG = ToyConfig(steps=11, log_every=4, checkpoint_every=5)


def run(workdir, config, *, feed=batches, devices=None, **kwargs):
    """A game of two players with batch statistics, on all four devices."""
    game = Game(ema_decay=0.9)
    return train(experiment(game, config.parallel), config, workdir, batches=feed, devices=devices, **kwargs)


def kept(workdir):
    """What a run leaves: the logged figures, and the steps of its checkpoints."""
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    steps = sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())
    return [(record["step"], record["metrics"]) for record in records], steps


def test_call_lengths_end_at_every_interval_and_nowhere_else():
    lengths = list(call_lengths(7, 40, 8, [10, 0, 12]))
    ends = np.cumsum(lengths) + 7
    assert ends.tolist() == [10, 12, 20, 24, 30, 36, 40]
    assert list(call_lengths(3, 20, 8, [100])) == [8, 8, 1]
    assert list(call_lengths(4, 4, 8, [100])) == []


def test_stack_keeps_the_batch_first_and_fills_up_a_short_call():
    first, second = ({"example": np.full((4, 2), i, np.float32), "condition": np.full(4, i)} for i in (1, 2))
    stacked = stack([first, second], 3)
    assert stacked["example"].shape == (4, 3, 2)
    assert stacked["condition"].tolist() == [[1, 2, 0]] * 4
    assert stack([first], 1) is first


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["pmap", "shard_map", "jit"])
def test_steps_per_call_gives_the_same_bits(tmp_path, mode):
    config = dataclasses.replace(CONFIG, parallel=mode)
    one = run(tmp_path / "one", config)
    many = run(tmp_path / "many", dataclasses.replace(config, steps_per_call=3))
    for ours, theirs in zip(leaves(many.state), leaves(one.state), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert kept(tmp_path / "many") == kept(tmp_path / "one")
    assert kept(tmp_path / "many")[1] == [5, 10, 11]


@pytest.mark.slow
def test_steps_per_call_may_change_when_a_run_goes_on(tmp_path):
    one = run(tmp_path / "one", CONFIG, devices=jax.devices()[:1])

    def stop(variables, step):
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        return {}

    config = dataclasses.replace(CONFIG, steps_per_call=3)
    stopped = run(
        tmp_path / "many",
        dataclasses.replace(config, eval_every=2),
        evaluate_fn=stop,
        devices=jax.devices()[:1],
    )
    assert (stopped.step, stopped.stopped_by) == (4, signal.SIGTERM)  # the call under way is finished, not cut
    resumed = run(tmp_path / "many", dataclasses.replace(config, steps_per_call=7), devices=jax.devices()[:1])
    for ours, theirs in zip(leaves(resumed.state), leaves(one.state), strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_nan_inside_a_call_names_its_step(tmp_path):
    config = ToyConfig(steps=12, log_every=100, checkpoint_every=3, steps_per_call=5)
    with pytest.raises(NonFiniteError, match=r"a/loss is nan at step 8;.*checkpoints/6;") as caught:
        run(tmp_path, config, feed=lambda start: batches(start, bad_step=7), devices=jax.devices()[:1])
    assert (caught.value.step, caught.value.name) == (8, "a/loss")
    assert kept(tmp_path)[1] == [3, 6]
