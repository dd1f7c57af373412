"""Checkpoints: a restored state equals the saved one, or the one before it, or one line says why not."""

import asyncio
import gc
import itertools
import json
import logging
import resource
import shutil
import warnings
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from aigc_jax.train.checkpoint import BrokenCheckpointError, Checkpoints, _describe, load_state, load_variables
from aigc_jax.train.run_dir import checkpoint_steps, write_run
from aigc_jax.train.sharding import MeshSettings, make_mesh
from aigc_jax.types import TrainState, UsageError

from .toys import ToyConfig, leaves


def make_state(step, width=3):
    params = {"a": {"w": jnp.arange(width, dtype=jnp.float32) + step, "half": jnp.full(2, step, jnp.bfloat16)}}
    return TrainState(
        jnp.int32(step),
        params,
        {"a": optax.adam(1e-3).init(params["a"])},
        {"a": {"count": jnp.int32(7), "is_on": jnp.bool_(True)}},
        {"a": jax.tree.map(lambda leaf: leaf * 2, params["a"])},
    )


SHAPES = jax.eval_shape(lambda: make_state(0))


def save(run, *steps, metrics=None, **options):
    write_run(run, "toy", ToyConfig(**{k: v for k, v in options.items() if k.startswith("best")}), {})
    checkpoints = Checkpoints(run, **options)
    for step in steps:
        checkpoints.save(make_state(step), (metrics or {}).get(step))
    checkpoints.wait()
    checkpoints.close()


def assert_is(state, step):
    expected = make_state(step)
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    for ours, theirs in zip(leaves(state), leaves(expected), strict=True):
        assert (ours.dtype, ours.tobytes()) == (theirs.dtype, theirs.tobytes())


def test_comes_back_bit_for_bit(tmp_path):
    save(tmp_path, 1, 2)
    assert_is(load_state(tmp_path, SHAPES), 2)
    assert_is(load_state(tmp_path, SHAPES, which=1), 1)


def test_variables_are_the_averaged_weights(tmp_path):
    save(tmp_path, 4)
    variables = load_variables(tmp_path, SHAPES)
    np.testing.assert_array_equal(variables["params"]["a"]["w"], [8, 10, 12])
    assert variables["model_state"]["a"]["count"] == 7


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    run = tmp_path_factory.mktemp("two")
    save(run, 1, 2)
    return run


def files_of_newest(run):
    return sorted(path for path in (run / "checkpoints" / "2").rglob("*") if path.is_file() and path.stat().st_size)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.unlink()], ids=["truncate", "flip", "remove"])
def test_damage_to_any_file_of_the_newest_is_noticed_or_harmless(tmp_path, two_checkpoints, damage, capsys):
    num_skipped = 0
    num_files = len(files_of_newest(two_checkpoints))
    for i in range(num_files):
        run = tmp_path / str(i)
        shutil.copytree(two_checkpoints, run)
        damage(files_of_newest(run)[i])
        checkpoints = Checkpoints(run, is_read_only=True)
        state = checkpoints.restore_latest(SHAPES)
        checkpoints.close()
        step = int(state.step)
        assert_is(state, step)  # whichever it is, it is right to the last bit
        warning = capsys.readouterr().err
        assert ("warning" in warning) == (step == 1 and "2" in [p.name for p in (run / "checkpoints").iterdir()])
        num_skipped += step == 1
    assert num_skipped >= 2


def test_a_broken_checkpoint_silences_no_task_of_another_library(tmp_path, two_checkpoints, caplog):
    shutil.copytree(two_checkpoints, tmp_path / "run")
    truncate(tmp_path / "run" / "checkpoints" / "2" / "state" / "manifest.ocdbt")
    assert_is(load_state(tmp_path / "run", SHAPES), 1)

    async def failing():
        raise ValueError("of another library")

    async def left_alone():
        task = asyncio.ensure_future(failing())
        await asyncio.sleep(0)
        del task

    asyncio.run(left_alone())
    gc.collect()
    assert "of another library" in caplog.text
    of_orbax = (
        "Task exception was never retrieved\nfuture: <Task finished coro=<read() done, defined at /lib/orbax/x.py:3>>"
    )
    logging.getLogger("asyncio").error(of_orbax)
    assert "orbax" not in caplog.text
    with pytest.raises(RuntimeWarning):
        warnings.warn("coroutine 'fetch' was never awaited", RuntimeWarning, stacklevel=1)
    warnings.warn("coroutine 'ArrayHandler.deserialize' was never awaited", RuntimeWarning, stacklevel=1)


def test_a_skipped_checkpoint_is_removed_so_that_its_step_can_be_saved_again(tmp_path, two_checkpoints, capsys):
    run = tmp_path / "run"
    shutil.copytree(two_checkpoints, run)
    truncate(run / "checkpoints" / "2" / "info" / "metadata")
    checkpoints = Checkpoints(run)
    assert_is(checkpoints.restore_latest(SHAPES), 1)
    assert checkpoints.steps() == [1]
    checkpoints.save(make_state(2))
    checkpoints.wait()
    assert_is(checkpoints.restore_latest(SHAPES), 2)
    checkpoints.close()
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_an_unfinished_save_is_not_taken_for_a_checkpoint(tmp_path, two_checkpoints):
    run = tmp_path / "run"
    shutil.copytree(two_checkpoints, run)
    folder = run / "checkpoints"
    (folder / "2").rename(folder / "2.orbax-checkpoint-tmp")  # what a kill in the middle of writing leaves
    assert_is(load_state(run, SHAPES), 1)


def test_when_all_are_broken_nothing_starts_from_scratch(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "checkpoints" / "1" / "info" / "metadata").write_text("{")
    with pytest.raises(UsageError, match="none of the 1 checkpoints"):
        Checkpoints(tmp_path).restore_latest(SHAPES)
    with pytest.raises(BrokenCheckpointError):
        load_state(tmp_path, SHAPES, which=1)


def test_the_newest_and_the_best_are_kept(tmp_path):
    metrics = {1: {"x": 3.0}, 2: {"x": 9.0}, 3: {"x": float("nan")}, 4: {"x": 4.0}, 5: {}}
    save(tmp_path, 1, 2, 3, 4, 5, metrics=metrics, keep=2, best_metric="x")
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [2, 4, 5]
    assert_is(load_state(tmp_path, SHAPES, which="best"), 2)


def test_best_may_be_the_smallest_and_is_remembered_by_the_next_process(tmp_path):
    options = {"keep": 1, "best_metric": "x", "best_mode": "min"}
    save(tmp_path, 1, 2, metrics={1: {"x": 1.0}, 2: {"x": 2.0}}, **options)
    checkpoints = Checkpoints(tmp_path, **options)
    assert checkpoints.best_step() == 1
    assert [checkpoints.is_best({"x": value}) for value in (0.5, 1.0, 1.5, float("nan"))] == [True, False, False, False]
    checkpoints.close()
    save(tmp_path, 3, **options)
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [1, 3]


@pytest.mark.parametrize(
    ("state", "where"),
    [
        (make_state(0, width=4), r"params/a/w is float32\[3\] there and float32\[4\] here"),
        (make_state(0).replace(opt_state={"a": optax.sgd(1.0).init({})}), "absent here"),
        (make_state(0).replace(model_state={"a": {"count": jnp.float32(7), "is_on": jnp.bool_(True)}}), "int32"),
    ],
)
def test_another_model_is_refused_in_one_line(two_checkpoints, state, where):
    with pytest.raises(UsageError, match=where) as caught:
        load_state(two_checkpoints, jax.eval_shape(lambda: state))
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, BrokenCheckpointError)


def test_what_is_not_there_is_named(tmp_path, two_checkpoints):
    with pytest.raises(UsageError, match="not a run directory"):
        load_state(tmp_path, SHAPES)
    write_run(tmp_path, "toy", ToyConfig(), {})
    with pytest.raises(UsageError, match="no checkpoint yet"):
        load_state(tmp_path, SHAPES)
    with pytest.raises(UsageError, match="no checkpoint at step 5: use one of 1, 2"):
        load_state(two_checkpoints, SHAPES, which=5)
    with pytest.raises(UsageError, match="no evaluated checkpoint"):
        load_state(two_checkpoints, SHAPES, which="best")


def test_saving_a_step_twice_keeps_the_first(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 1)
    assert json.loads((tmp_path / "checkpoints" / "1" / "info" / "metadata").read_text())
    assert_is(load_state(tmp_path, SHAPES), 1)


def test_a_flipped_bit_in_the_description_is_noticed_or_harmless(tmp_path, two_checkpoints, capfd):
    run = tmp_path / "run"
    shutil.copytree(two_checkpoints, run)
    file = run / "checkpoints" / "2" / "info" / "metadata"
    content, num_skipped = file.read_bytes(), 0
    for position in range(3, len(content), 29):
        flipped = bytearray(content)
        flipped[position] ^= 1 << (position % 7)
        file.write_bytes(bytes(flipped))
        state = load_state(run, SHAPES)
        assert_is(state, int(state.step))
        num_skipped += int(state.step) == 1
        assert "absl" not in capfd.readouterr().err
    assert num_skipped > len(content) / 29 / 2


@pytest.mark.parametrize(
    "info",
    [
        [],
        3,
        {},
        {"arrays": [], "metrics": {}},
        {"arrays": {"a": 3}, "metrics": {}},
        {"arrays": {}, "metrics": {"x": "y"}},
    ],
)
def test_a_description_of_other_structure_is_skipped(tmp_path, two_checkpoints, info):
    run = tmp_path / "run"
    shutil.copytree(two_checkpoints, run)
    (run / "checkpoints" / "2" / "info" / "metadata").write_text(json.dumps(info))
    assert_is(load_state(run, SHAPES), 1)


@pytest.mark.parametrize("is_signed", [True, False])
def test_checkpoints_of_the_first_format_are_read_and_checked(tmp_path, two_checkpoints, is_signed, capsys):
    """They have CRC-32 of each array, no number, and those of the first versions no checksum of their description."""
    run = tmp_path / "run"
    shutil.copytree(two_checkpoints, run)
    file = run / "checkpoints" / "2" / "info" / "metadata"
    info = json.loads(file.read_text())
    named = jax.tree.leaves_with_path(make_state(2))
    for path, leaf in named:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        info["arrays"][name] = [list(leaf.shape), str(leaf.dtype), zlib.crc32(np.asarray(leaf).tobytes())]
    info = {"arrays": info["arrays"], "metrics": info["metrics"]}
    described = json.dumps(info, sort_keys=True).encode()
    file.write_text(json.dumps({**info, "checksum": zlib.crc32(described)} if is_signed else info))
    assert_is(load_state(run, SHAPES), 2)
    assert capsys.readouterr().err == ""
    info["arrays"]["step"][2] ^= 1
    file.write_text(json.dumps(info))
    assert_is(load_state(run, SHAPES), 1)


def test_a_checkpoint_of_a_newer_format_is_refused(tmp_path, two_checkpoints):
    run = tmp_path / "run"
    shutil.copytree(two_checkpoints, run)
    file = run / "checkpoints" / "2" / "info" / "metadata"
    info = json.loads(file.read_text()) | {"format": 3}
    info["checksum"] = zlib.crc32(
        json.dumps({name: info[name] for name in ("format", "arrays", "metrics")}, sort_keys=True).encode()
    )
    file.write_text(json.dumps(info))
    with pytest.raises(UsageError, match="has format 3, this library reads up to 2"):
        load_state(run, SHAPES)


def test_names_that_are_no_steps_are_passed_over_or_refused(tmp_path, two_checkpoints):
    run = tmp_path / "run"
    shutil.copytree(two_checkpoints, run)
    for name in ("4²", "007", "5.tmp", "x", "-3", "1e3"):
        (run / "checkpoints" / name).mkdir()
    assert checkpoint_steps(run) == [1, 2]
    assert_is(load_state(run, SHAPES), 2)
    Checkpoints(run).close()
    (run / "checkpoints" / "\uff14").mkdir()  # a wide 4
    with pytest.raises(UsageError, match="\uff14 is no checkpoint: remove it"):
        load_state(run, SHAPES)


def test_links_are_refused_where_checkpoints_are_written(tmp_path, two_checkpoints):
    outside, run = tmp_path / "outside", tmp_path / "run"
    shutil.copytree(two_checkpoints / "checkpoints", outside)
    (outside / "3.orbax-checkpoint-tmp").mkdir()  # orbax would remove it
    write_run(run, "toy", ToyConfig(), {})
    (run / "checkpoints").symlink_to(outside)
    with pytest.raises(UsageError, match="checkpoints is a link"):
        Checkpoints(run)
    assert_is(load_state(run, SHAPES), 2)  # reading follows it
    (run / "checkpoints").unlink()
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "5000").symlink_to(outside / "2")
    with pytest.raises(UsageError, match="5000 is a link"):
        Checkpoints(run)
    assert sorted(path.name for path in outside.iterdir()) == ["1", "2", "3.orbax-checkpoint-tmp"]


def test_a_full_disk_is_told_in_one_line_with_the_last_good_checkpoint(tmp_path, capfd):
    save(tmp_path, 1)
    checkpoints, state = Checkpoints(tmp_path), jax.device_get(make_state(2, width=10_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    errors = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # no file above 1000 bytes
    try:
        # The error comes from a thread, at one of these calls and perhaps at the next ones again.
        for call in (lambda: checkpoints.save(state), checkpoints.wait, checkpoints.close):
            try:
                call()
            except UsageError as error:
                errors.append(str(error))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert errors
    for error in errors:
        assert "(File too large); the last good checkpoint is " in error
        assert "checkpoints/1:" in error
        assert "\n" not in error
    assert capfd.readouterr().err == ""
    assert_is(load_state(tmp_path, SHAPES), 1)


def test_verify_reads_the_checkpoint_back(tmp_path):
    save(tmp_path, 1, 2)
    checkpoints = Checkpoints(tmp_path, is_read_only=True)
    checkpoints.verify(2, SHAPES)
    (tmp_path / "checkpoints" / "2" / "state" / "manifest.ocdbt").unlink()
    with pytest.raises(UsageError, match="cannot be read back"):
        checkpoints.verify(2, SHAPES)
    checkpoints.close()


def in_parts(state, **mesh):
    """A state over a mesh, every array of even length split, and shapes with its shardings."""
    grid = make_mesh(MeshSettings(**mesh), jax.devices())

    def sharding(leaf):
        is_split = leaf.ndim and leaf.shape[0] % grid.shape["fsdp"] == 0
        return NamedSharding(grid, PartitionSpec("fsdp") if is_split else PartitionSpec())

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding(x)), state)
    return jax.tree.map(lambda x: jax.device_put(x, sharding(x)), state), shapes


@pytest.fixture(scope="module")
def two_checkpoints_in_parts(tmp_path_factory):
    run = tmp_path_factory.mktemp("two_in_parts")
    write_run(run, "toy", ToyConfig(), {})
    checkpoints = Checkpoints(run)
    for step in (1, 2):
        checkpoints.save(in_parts(make_state(step, width=8), fsdp=2)[0])
    checkpoints.wait()
    checkpoints.close()
    return run


@pytest.mark.parametrize("mesh", [{"fsdp": 2}, {"fsdp": 4}, {"fsdp": 2, "tensor": 2}])
def test_a_state_in_parts_is_restored_over_any_mesh(two_checkpoints_in_parts, mesh):
    expected, shapes = in_parts(make_state(2, width=8), **mesh)
    checkpoints = Checkpoints(two_checkpoints_in_parts, is_read_only=True)
    state = checkpoints.restore_latest(shapes)
    checkpoints.close()
    assert not state.params["a"]["w"].is_fully_replicated
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        assert ours.sharding == theirs.sharding
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


def test_a_state_in_parts_is_restored_whole_and_the_other_way_round(tmp_path, two_checkpoints_in_parts):
    expected = make_state(2, width=8)
    state = load_state(two_checkpoints_in_parts, jax.eval_shape(lambda: expected))
    for ours, theirs in zip(leaves(state), leaves(expected), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    write_run(tmp_path, "toy", ToyConfig(), {})
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(expected)
    checkpoints.wait()
    restored = checkpoints.restore_latest(in_parts(expected, fsdp=4)[1])
    checkpoints.close()
    assert len({str(shard.index) for shard in restored.params["a"]["w"].addressable_shards}) == 4
    np.testing.assert_array_equal(restored.params["a"]["w"], expected.params["a"]["w"])
    described = [
        json.loads((run / "checkpoints" / "2" / "info" / "metadata").read_text())
        for run in (tmp_path, two_checkpoints_in_parts)
    ]
    assert described[0] == described[1]  # the checksums too


def test_verify_of_a_state_in_parts_reads_no_more_at_a_time_than_its_largest_array(
    tmp_path, two_checkpoints_in_parts, monkeypatch
):
    run = shutil.copytree(two_checkpoints_in_parts, tmp_path / "run")
    shapes, sizes = in_parts(make_state(0, width=8), fsdp=4)[1], []

    def described(state, number):
        sizes.append([leaf.nbytes for leaf in jax.tree.leaves(state)])
        return _describe(state, number)

    monkeypatch.setattr("aigc_jax.train.checkpoint._describe", described)
    checkpoints = Checkpoints(run)
    checkpoints.verify(2, shapes)
    every = [leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes)]
    assert len(sizes) > 1
    assert list(itertools.chain(*sizes)) == every
    assert max(map(sum, sizes)) == max(every)
    for file in (run / "checkpoints" / "2" / "state").rglob("d/*"):
        truncate(file)
    with pytest.raises(UsageError, match=r"last good checkpoint is .*/1"):
        checkpoints.verify(2, shapes)
    checkpoints.close()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.unlink()], ids=["truncate", "flip", "remove"])
def test_damage_to_a_checkpoint_in_parts_is_noticed_or_harmless(tmp_path, two_checkpoints_in_parts, damage):
    shapes = in_parts(make_state(0, width=8), fsdp=4)[1]
    found = []
    for i, file in enumerate(files_of_newest(two_checkpoints_in_parts)):
        run = tmp_path / str(i)
        shutil.copytree(two_checkpoints_in_parts, run)
        damage(run / file.relative_to(two_checkpoints_in_parts))
        checkpoints = Checkpoints(run, is_read_only=True)
        state = checkpoints.restore_latest(shapes)
        checkpoints.close()
        found.append(int(state.step))
        for ours, theirs in zip(leaves(state), leaves(make_state(found[-1], width=8)), strict=True):
            assert ours.tobytes() == theirs.tobytes()
    assert found.count(1) >= 2


def test_a_save_that_was_not_finished_does_not_count_as_the_newest(tmp_path, capsys):
    write_run(tmp_path, "toy", ToyConfig(best_metric="x"), {})
    checkpoints = Checkpoints(tmp_path, best_metric="x")
    checkpoints.save(make_state(1), {"x": 1.0})
    checkpoints.save(make_state(2), {"x": 2.0})
    checkpoints._manager.wait_until_finished()
    shutil.rmtree(tmp_path / "checkpoints" / "2" / "state")  # orbax has it in its list, and reports success
    checkpoints.save(make_state(3), {"x": 0.0})
    checkpoints.wait()
    assert checkpoints.best_step() == 1
    assert checkpoints.steps() == [1, 3]
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "checkpoints/2 was not finished" in error
    assert_is(checkpoints.restore_latest(SHAPES), 3)
    checkpoints.close()
    # A folder that is gone is no step any more, and can be saved again.
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(make_state(4))
    checkpoints._manager.wait_until_finished()
    shutil.rmtree(tmp_path / "checkpoints" / "4")
    checkpoints.save(make_state(4))
    checkpoints.wait()
    assert_is(checkpoints.restore_latest(SHAPES), 4)
    checkpoints.close()
