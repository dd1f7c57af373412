"""The whole loop over meshes: a run that changes its mesh and mode ends where an unsharded one does."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from aigc_jax.train import sharding
from aigc_jax.train.loop import initial_state, train
from aigc_jax.train.nan_guard import NonFiniteError, check_weights
from aigc_jax.train.parallel import make_parallel
from aigc_jax.train.sharding import MeshSettings
from aigc_jax.types import UsageError

from .toys import ToyConfig, batches, experiment, leaves


@pytest.fixture(autouse=True)
def split_small_arrays(monkeypatch):
    monkeypatch.setattr(sharding, "MIN_SIZE", 2)


def run(workdir, steps, mode="jit", **mesh):
    config = ToyConfig(steps=steps, parallel=mode, mesh=MeshSettings(**mesh), sample_every=2)
    return train(experiment(mode=mode), config, workdir, batches=batches)


@pytest.mark.slow
def test_a_run_goes_on_over_other_meshes_and_in_other_modes(tmp_path, capsys):
    legs = [(2, "jit", {"fsdp": 4}), (4, "jit", {"fsdp": 2}), (6, "shard_map", {}), (8, "jit", {"fsdp": 4})]
    for steps, mode, mesh in legs:
        result = run(tmp_path / "legs", steps, mode, **mesh)
    assert "mesh.fsdp 4 -> 2" in capsys.readouterr().err
    assert not result.state.params["a"]["w"].is_fully_replicated
    expected = run(tmp_path / "one", 8)
    for ours, theirs in zip(leaves(result.state), leaves(expected.state), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    pictures = [sorted(each.name for each in (tmp_path / name / "samples").iterdir()) for name in ("legs", "one")]
    assert pictures[0] == pictures[1] != []


@pytest.mark.slow
def test_stopped_and_resumed_over_a_mesh_is_bitwise_equal(tmp_path):
    run(tmp_path / "legs", 2, fsdp=2)
    resumed, whole = run(tmp_path / "legs", 4, fsdp=2), run(tmp_path / "one", 4, fsdp=2)
    for ours, theirs in zip(leaves(resumed.state), leaves(whole.state), strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_a_mesh_that_does_not_fit_is_refused_before_a_run_directory_is_made(tmp_path):
    with pytest.raises(UsageError, match="mesh of 4 devices"):
        run(tmp_path / "run", 2, fsdp=3)
    with pytest.raises(UsageError, match="add --parallel jit"):
        run(tmp_path / "run", 2, "pmap", fsdp=2)
    assert not (tmp_path / "run").exists()


def test_initial_state_in_parts_is_the_initial_state():
    parallel, toy = make_parallel("jit", mesh=MeshSettings(fsdp=4)), experiment(mode="jit")
    state, plain = initial_state(toy, 3, parallel.shardings), initial_state(toy, 3)
    largest = max(jax.tree.leaves(state.params), key=lambda leaf: leaf.size)
    assert {shard.data.size for shard in largest.addressable_shards} == {largest.size // 4}
    for ours, theirs in zip(leaves(state), leaves(plain), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_every_device_has_memory_of_its_own_over_a_mesh():
    parallel, toy = make_parallel("jit", mesh=MeshSettings(fsdp=2)), experiment(mode="jit")
    for leaf in jax.tree.leaves(parallel.put_state(initial_state(toy, 0))):
        assert len({shard.data.unsafe_buffer_pointer() for shard in leaf.addressable_shards}) == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_check_weights_finds_a_bad_weight_of_a_state_in_parts(bad):
    parallel, toy = make_parallel("jit", mesh=MeshSettings(fsdp=4)), experiment(mode="jit")
    state = parallel.put_state(initial_state(toy, 0))
    check_weights(state)
    w = state.params["b"]["w"]
    params = {**state.params, "b": {"w": jax.device_put(w.at[11].set(bad), w.sharding)}}
    with pytest.raises(NonFiniteError, match="params/b/w"):
        check_weights(state.replace(params=params))


@pytest.mark.slow
def test_a_device_of_eight_holds_an_eighth_of_the_state():
    words = [sys.executable, "-m", "benchmarks", "memory", "--configs", "gan_digits"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    header, row = (line.split() for line in done.stdout.splitlines()[1:])
    whole, half, quarter, eighth, share, small = map(float, row[2:])
    assert header[-2:] == ["share", "small"]
    assert whole > half > quarter > eighth > 0
    assert share <= 0.125 * (1 - small) + small + 0.002
