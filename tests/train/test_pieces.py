"""The loop's small parts: the watch for NaN, the feed, the grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.train.feed import AHEAD, Feed, Speed
from aigc_jax.train.finite import LAG, FiniteWatch, NonFiniteError, check_weights, with_finite_flag
from aigc_jax.train.parallel import make_parallel
from aigc_jax.train.samples import make_grid_fn
from aigc_jax.types import TrainState

from .toys import experiment


def report(**metrics):
    step = with_finite_flag(lambda state, batch, key: (state, metrics))
    state = TrainState(jnp.int32(0), {}, {}, {}, {})
    return step(state, {}, jax.random.key(0))[1]


def test_the_watch_looks_late_and_names_the_first_bad_step():
    watch = FiniteWatch()
    watch.push(1, report(loss=jnp.float32(1)))
    watch.push(2, report(aux=jnp.float32(jnp.nan), **{"a/loss": jnp.float32(-jnp.inf)}))
    for step in range(3, 2 + LAG):
        watch.push(step, report(loss=jnp.float32(jnp.nan)))
    with pytest.raises(NonFiniteError, match="a/loss is -inf at step 2") as caught:
        watch.push(2 + LAG, report(loss=jnp.float32(jnp.nan)))
    assert (caught.value.step, caught.value.name, caught.value.value) == (2, "a/loss", -np.inf)


def test_draining_looks_at_all():
    watch = FiniteWatch()
    watch.push(1, report(loss=jnp.float32(1), count=jnp.int32(3)))
    watch.drain()
    watch.push(2, report(loss=jnp.float32(jnp.nan)))
    with pytest.raises(NonFiniteError, match="at step 2"):
        watch.drain()


def test_pushing_does_not_wait_for_the_step():
    class Unread(dict):
        def __getitem__(self, name):
            raise AssertionError("looked at too early")

    watch = FiniteWatch()
    for step in range(1, LAG + 1):
        watch.push(step, Unread())


def test_weights_are_checked_in_every_float_type_but_not_the_optimiser():
    state = TrainState(jnp.int32(4), {"a": jnp.ones(2)}, {"best": jnp.float32(jnp.inf)}, {}, {})
    check_weights(state)
    check_weights(state.replace(ema_params={"n": jnp.int32(3), "h": jnp.ones(2, jnp.bfloat16)}))
    for bad in (jnp.full(2, jnp.nan, jnp.bfloat16), jnp.array([1.0, jnp.inf])):
        with pytest.raises(NonFiniteError, match=r"ema_params/a is .* at step 4"):
            check_weights(state.replace(ema_params={"a": bad}))


def test_the_feed_runs_ahead_but_not_beyond_the_end():
    asked = []

    def batches():
        for i in range(100):
            asked.append(i)
            yield {"x": np.full(4, i)}

    feed = Feed(batches(), make_parallel("jit"), 5)
    got = []
    for _ in range(5):
        got.append(int(feed.next()["x"][0]))
        feed.refill({})
        assert len(asked) == min(len(got) + AHEAD, 5)
    assert got == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("is_done", [True, False])
def test_only_what_the_devices_wait_for_counts_as_waiting(is_done):
    compute = jax.jit(lambda x: jax.lax.fori_loop(0, 30, lambda i, x: jnp.tanh(x @ x), x)[0, 0])
    jax.block_until_ready(compute(jnp.eye(1000)))  # compiled
    feed = Feed(iter([{"x": np.zeros(4)}]), make_parallel("jit"), 1)
    loss = compute(jnp.eye(1000))
    if is_done:
        jax.block_until_ready(loss)
    feed.refill({"loss": loss})
    assert (feed.waited > 0) == is_done


def test_speed_counts_neither_pauses_nor_what_was_before(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    feed = Feed(iter([]), make_parallel("jit"), 0)
    feed.waited = 50.0
    speed = Speed(feed, 10)
    now[0] += 4
    feed.waited += 1
    with speed.paused():
        now[0] += 1000
    assert speed.lap(18) == (2.0, 0.25)
    now[0] += 4
    assert speed.lap(19) == (0.25, 0.0)
    assert speed.total() == (8.0, 0.125)


def test_a_conditional_grid_has_a_row_per_class_and_is_fixed():
    toy = experiment(num_classes=3)
    draw = make_grid_fn(toy, seed=0)
    variables = {"params": {"a": {"w": jnp.zeros(16)}}, "model_state": {}}
    grid = draw(variables)
    np.testing.assert_array_equal(grid, draw(variables))
    rows = np.array_split(grid[:, grid.shape[1] // 3 :].astype(float), 3)
    assert np.all(np.diff([row[row < 255].mean() for row in rows]) > 5)  # the toy shifts each class's brightness
    assert not np.array_equal(grid, make_grid_fn(toy, seed=1)(variables))


def test_no_grid_for_a_model_without_images_or_samples():
    toy = experiment(num_classes=None)
    assert make_grid_fn(toy, 0)({"params": {"a": {"w": jnp.zeros(16)}}, "model_state": {}}).shape[-1] == 3
    assert make_grid_fn(toy._replace(algorithm=toy.algorithm._replace(sample=None)), 0) is None
    tokens = {"tokens": jax.ShapeDtypeStruct((8, 5), jnp.int32)}
    assert make_grid_fn(toy._replace(batch_spec=tokens), 0) is None
