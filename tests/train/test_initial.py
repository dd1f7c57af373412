"""A run that begins with the weights of another: which arrays it takes, once, and on whatever devices."""

import json
import shutil

import jax
import numpy as np
import pytest

from aigc_jax.train import sharding
from aigc_jax.train.initial import FILE, matched, read_initial, with_initial_weights
from aigc_jax.train.loop import train
from aigc_jax.train.sharding import DATA_PARALLEL, MeshSettings
from aigc_jax.types import TrainState, UsageError

from .toys import Game, ToyConfig, batches, experiment, leaves

ONE = Game(num_players=1)
FLOATS = [[2, 3], "float32"]


def run(workdir, steps, *, game=ONE, mode="jit", mesh=DATA_PARALLEL, initial=None):
    config = ToyConfig(steps=steps, parallel=mode, mesh=mesh, initial=None if initial is None else str(initial))
    return train(experiment(game, mode), config, workdir, batches=batches)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run of two players, of which the first has an average."""
    path = tmp_path_factory.mktemp("source")
    return path, run(path, 3, game=Game()).state


def began_with(workdir, *, mode="jit", mesh=DATA_PARALLEL, initial):
    """The state of a run before its first step."""
    states = []
    config = ToyConfig(steps=1, parallel=mode, mesh=mesh, initial=str(initial))
    toy = experiment(ONE, config.parallel)
    train(toy, config, workdir, batches=batches, on_start=lambda state: states.append(jax.device_get(state)))
    return states[0]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_run_begins_with_the_averaged_weights_of_another(mode, source, tmp_path, capsys):
    path, state = source
    began = began_with(tmp_path, initial=path, mode=mode)
    for ours in (began.params["a"]["w"], began.ema_params["a"]["w"]):
        np.testing.assert_array_equal(ours, state.ema_params["a"]["w"])
    np.testing.assert_array_equal(began.model_state["a"]["mean"], state.ema_model_state["a"]["mean"])
    assert int(began.step) == 0
    line = capsys.readouterr().err
    assert f"initialised 4 of 4 arrays from {path} (step 3); not used: b/w" in line
    record = read_initial(tmp_path)
    assert (record.step, record.num_taken, record.new) == (3, 4, ())
    assert set(record.not_used) == {"b/w", "b/mean", "b/last", "b/one"}


@pytest.mark.slow
def test_state_in_parts_begins_with_the_same_weights(source, tmp_path, monkeypatch):
    monkeypatch.setattr(sharding, "MIN_SIZE", 2)
    path, state = source
    began = began_with(tmp_path, initial=path, mesh=MeshSettings(fsdp=4))
    np.testing.assert_array_equal(began.params["a"]["w"], state.ema_params["a"]["w"])


def test_resumed_run_never_begins_again(source, tmp_path):
    path = shutil.copytree(source[0], tmp_path / "source")
    whole = run(tmp_path / "whole", 4, initial=path)
    run(tmp_path / "legs", 2, initial=path)
    shutil.rmtree(path)
    resumed = run(tmp_path / "legs", 4, initial=path)
    for ours, theirs in zip(leaves(resumed.state), leaves(whole.state), strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_another_initial_run_is_refused_on_resume(source, tmp_path):
    run(tmp_path / "run", 2, initial=source[0])
    with pytest.raises(UsageError, match="initial"):
        run(tmp_path / "run", 4)


def test_arrays_that_do_not_fit_begin_at_random(source, tmp_path, capsys):
    state = TrainState(0, {"a": {"w": np.zeros(16, np.float32), "v": np.ones(3, np.float32)}}, {}, {}, {})
    found = with_initial_weights(state, state, str(source[0]), tmp_path)
    np.testing.assert_array_equal(found.params["a"]["w"], source[1].ema_params["a"]["w"])
    np.testing.assert_array_equal(found.params["a"]["v"], 1)
    assert "initialised 1 of 2 arrays" in (line := capsys.readouterr().err)
    assert "new: a/v; not used: b/w, a/last, a/mean, a/one and 3 more" in line


def test_run_of_which_nothing_fits_is_refused(source, tmp_path):
    state = TrainState(0, {"a": {"w": np.zeros(5, np.float32)}}, {}, {}, {})
    with pytest.raises(UsageError, match=f"no array of {source[0]} fits this model"):
        with_initial_weights(state, state, str(source[0]), tmp_path)
    assert not (tmp_path / FILE).exists()


def test_arrays_are_matched_by_path_and_shape_within_players_and_their_parts():
    given = {"params/decoder/embed/w": ("ema_params/decoder/embed/w", FLOATS), "params/decoder/w": ("x", FLOATS)}
    wanted = {
        "params/decoder/embed/w": FLOATS,
        "params/base/embed/w": FLOATS,
        "params/classifier/decoder/embed/w": FLOATS,
        "params/classifier/a/decoder/embed/w": FLOATS,
        "params/base/w": [[3, 2], "float32"],
        "model_state/decoder/embed/w": FLOATS,
    }
    assert matched(wanted, given) == dict.fromkeys(list(wanted)[:3], "params/decoder/embed/w")


def test_trained_entries_come_before_frozen_ones_of_the_same_path():
    given = {"params/decoder/w": ("a", FLOATS), "params/another/w": ("b", FLOATS)}
    assert matched({"params/base/w": FLOATS}, given) == {"params/base/w": "params/decoder/w"}


def test_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not a run directory"):
        run(tmp_path / "run", 2, initial=tmp_path)


def test_damaged_checkpoint_of_another_run_is_refused(source, tmp_path):
    path = shutil.copytree(source[0], tmp_path / "source")
    for file in (path / "checkpoints" / "3" / "state").rglob("*"):
        if file.is_file() and file.parent.name == "d":
            file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(UsageError, match=r"incomplete|damaged"):
        run(tmp_path / "run", 2, initial=path)


@pytest.mark.parametrize("change", [{"format": 99}, {"step": "x"}, {"new": [3]}, {"more": 1}])
def test_broken_record_is_one_line(change, source, tmp_path):
    began_with(tmp_path, initial=source[0])
    content = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(content | change))
    with pytest.raises(UsageError, match=r"initial\.json is broken"):
        read_initial(tmp_path)
