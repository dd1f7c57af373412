"""One step, three ways to run it: the same parameters, no recompile, no second copy of the state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import monitoring
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from aigc_jax.train import parallel as parallel_lib
from aigc_jax.train.parallel import PARALLEL_MODES, axis_name, make_parallel
from aigc_jax.types import UsageError

from .toys import Game, algorithm, batch_at, leaves

GAMES = [Game(num_players=1, ema_decay=None), Game(num_updates=2, num_microbatches=2)]


def run(game, mode, num_devices, num_steps=3):
    parallel = make_parallel(mode, jax.devices()[:num_devices])
    method = algorithm(game, mode)
    state = parallel.put_state(method.init(jax.random.key(1), {}))
    root = parallel.put_state(jax.random.key(0))
    step = parallel.compile_step(method.step)
    for t in range(num_steps):
        state, metrics = step(state, parallel.put_batch(batch_at(t, size=16)), root)
    return parallel.get_state(state), metrics


def plain_run(game, num_steps=3):
    """What the modes must reproduce: the step under a bare jit, no mesh, no axis."""
    method = algorithm(game, "jit")
    state, step = method.init(jax.random.key(1), {}), jax.jit(method.step)
    for t in range(num_steps):
        state, metrics = step(state, batch_at(t, size=16), jax.random.fold_in(jax.random.key(0), t))
    return state, metrics


@pytest.mark.one_case
@pytest.mark.parametrize("game", GAMES, ids=str)
def test_all_modes_give_what_one_device_gives(game):
    state, metrics = plain_run(game)
    if game.ema_decay:  # an average that is a copy of the weights would prove nothing
        assert not np.allclose(state.ema_params["a"]["w"], state.params["a"]["w"], atol=1e-3)
    for mode in PARALLEL_MODES:
        there, report = run(game, mode, 4)
        assert int(there.step) == 3
        for ours, theirs in zip(leaves(there.params), leaves(state.params), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        for ours, theirs in zip(leaves((there, report)), leaves((state, metrics)), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)
        assert all(value.shape == () for value in report.values())


@pytest.mark.one_case
@pytest.mark.parametrize("mode", PARALLEL_MODES)
@pytest.mark.parametrize("num_devices", [1, 4])
def test_second_call_compiles_nothing_and_the_state_is_donated(mode, num_devices):
    parallel = make_parallel(mode, jax.devices()[:num_devices])
    method = algorithm(Game(), mode, tx=optax.sgd(0.1, momentum=0.9))
    init = method.init(jax.random.key(1), {})
    state, root = parallel.put_state(init), parallel.put_state(jax.random.key(0))
    feed = [parallel.put_batch(batch_at(t)) for t in range(3)]
    num_traces = 0

    def counted(state, batch, key):
        nonlocal num_traces
        num_traces += 1
        return method.step(state, batch, key)

    step = parallel.compile_step(counted)
    second, _ = step(state, feed[0], root)
    compilations = []
    monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compilations.append(event) if "compile" in event else None
    )
    third, _ = step(second, feed[1], root)
    step(third, feed[2], root)
    seen = list(compilations)
    jax.jit(lambda x: x + 17)(1.0)  # the listener does hear a compilation
    monitoring.clear_event_listeners()
    assert num_traces == 1
    assert seen == []
    assert compilations
    used = [leaf for leaf in jax.tree.leaves((state.params, state.opt_state)) if leaf.size > 1]
    assert used
    assert all(leaf.is_deleted() for leaf in used)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(init))


@pytest.mark.parametrize("mode", PARALLEL_MODES)
def test_the_copy_taken_out_survives_the_next_step(mode):
    parallel = make_parallel(mode)
    method = algorithm(Game(), mode)
    state = parallel.put_state(method.init(jax.random.key(1), {}))
    root, step = jax.random.key(0), parallel.compile_step(method.step)
    state, _ = step(state, parallel.put_batch(batch_at(0)), root)
    taken = parallel.get_state(state)
    before = [leaf.copy() for leaf in leaves(taken)]
    step(state, parallel.put_batch(batch_at(1)), root)
    for then, now in zip(before, leaves(taken), strict=True):
        np.testing.assert_array_equal(then, now)
    assert all(len(leaf.devices()) == 1 for leaf in jax.tree.leaves(taken))


@pytest.mark.parametrize("mode", PARALLEL_MODES)
def test_each_device_gets_its_consecutive_part_of_the_batch(mode):
    batch = make_parallel(mode).put_batch({"x": np.arange(8)})
    parts = {shard.device.id: np.ravel(shard.data).tolist() for shard in batch["x"].addressable_shards}
    assert parts == {0: [0, 1], 1: [2, 3], 2: [4, 5], 3: [6, 7]}


@pytest.mark.parametrize("mode", PARALLEL_MODES)
def test_a_batch_that_does_not_split_is_refused(mode):
    with pytest.raises(UsageError, match="multiple of 4"):
        make_parallel(mode).put_batch({"x": np.zeros(6)})


def test_an_unknown_mode_is_refused():
    with pytest.raises(UsageError, match="pmap, shard_map, jit"):
        make_parallel.__wrapped__("xmap") if hasattr(make_parallel, "__wrapped__") else make_parallel("xmap")


def test_axis_names():
    assert [axis_name(mode) for mode in PARALLEL_MODES] == [parallel_lib.AXIS, parallel_lib.AXIS, None]


@pytest.mark.parametrize("mode", PARALLEL_MODES)
@pytest.mark.parametrize("make", [np.ones, jax.numpy.ones])
def test_every_device_has_memory_of_its_own(mode, make):
    # Sharing it, as device_put does on a CPU, ends in a crash when it is donated.
    there = make_parallel(mode).put_state(make((4096,), np.float32))
    pointers = {shard.data.unsafe_buffer_pointer() for shard in there.addressable_shards}
    assert len(pointers) == 4


def test_fake_devices_finish_500_asynchronous_steps_with_collectives():
    # With a thread pool of two, the second of these steps never ends: see PJRT_NPROC in tests/conftest.py.
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))

    @jax.jit
    @jax.shard_map(mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data"))
    def step(x):
        for _ in range(3):
            x = jnp.tanh(x @ x[0]) + 1e-3 * jax.lax.pmean(x, "data")
        return x

    x = jax.device_put(jnp.ones((4, 64, 64)), NamedSharding(mesh, PartitionSpec("data")))
    for _ in range(500):
        x = step(x)
    assert jnp.all(jnp.isfinite(x))
