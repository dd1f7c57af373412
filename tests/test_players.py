"""The training step against games with a known solution."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.players import init_state, make_step
from aigc_jax.runs import load_config
from aigc_jax.tree import ema, ema_warmup_schedule
from aigc_jax.types import Player, Weighted


def quadratic(name, record=None):
    """Half the squared distance of the player's weights to each example: the gradient is w - mean(x)."""

    def loss_fn(params, model_state, batch, key):
        del key
        if record is not None:
            jax.debug.callback(lambda index, x: record.append((index.tolist(), x.tolist())), batch["index"], batch["x"])
        return 0.5 * jnp.square(params[name] - batch["x"]), (model_state, {"x": batch["x"]})

    return loss_fn


def start(players, **options):
    return init_state(players, {player.name: jnp.float32(0) for player in players}, {}, **options)


BATCH = {"x": jnp.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])}
KEY = jax.random.key(0)


def test_step_is_gradient_descent():
    players = [Player("a", quadratic("a"), optax.sgd(0.5))]
    state, metrics = make_step(players)(start(players), BATCH, KEY)
    assert float(state.params["a"]) == 0.5 * 4.5
    assert float(metrics["a/loss"]) == 0.5 * np.mean(np.arange(1, 9) ** 2)
    assert float(metrics["a/grad_norm"]) == 4.5
    assert float(metrics["a/x"]) == 4.5
    assert int(state.step) == 1


@pytest.mark.parametrize("num", [1, 2, 4, 8])
def test_step_does_not_depend_on_micro_batches(num):
    players = [Player("a", quadratic("a"), optax.sgd(0.5, momentum=0.9))]
    step = jax.jit(make_step(players, num_microbatches=num))
    state, metrics = step(*step(start(players), BATCH, KEY)[:1], BATCH, KEY)
    other, report = make_step(players)(*make_step(players)(start(players), BATCH, KEY)[:1], BATCH, KEY)
    np.testing.assert_allclose(state.params["a"], other.params["a"], rtol=1e-6)
    for name in report:
        np.testing.assert_allclose(metrics[name], report[name], rtol=1e-6)


def test_player_moves_only_its_own_weights_and_sees_those_of_others():
    def product(name, sign):
        def loss_fn(params, model_state, batch, key):
            return sign * params["a"] * params["b"] * batch["x"], (model_state, {})

        return loss_fn

    players = [Player("a", product("a", 1.0), optax.sgd(0.1)), Player("b", product("b", -1.0), optax.sgd(0.1))]
    state = init_state(players, {"a": jnp.float32(1), "b": jnp.float32(2)}, {})
    state, _ = make_step(players)(state, {"x": jnp.ones(2)}, KEY)
    assert float(state.params["a"]) == pytest.approx(1 - 0.1 * 2)
    assert float(state.params["b"]) == pytest.approx(2 + 0.1 * 0.8)  # against the weights that a has now
    frozen = [players[0]._replace(tx=optax.set_to_zero()), players[1]]
    state = init_state(frozen, {"a": jnp.float32(1), "b": jnp.float32(2)}, {})
    state, _ = make_step(frozen)(state, {"x": jnp.ones(2)}, KEY)
    assert float(state.params["a"]) == 1
    assert float(state.params["b"]) == pytest.approx(2.1)


@pytest.mark.parametrize("num_updates", [1, 2, 4])
def test_step_gives_each_update_of_a_critic_fresh_examples(num_updates):
    seen, other = [], []
    players = [
        Player("critic", quadratic("critic", seen), optax.sgd(0.1), num_updates=num_updates),
        Player("generator", quadratic("generator", other), optax.sgd(0.1)),
    ]
    state, _ = make_step(players)(start(players), BATCH, KEY)
    jax.effects_barrier()
    assert len(seen) == num_updates
    assert sorted(i for index, _ in seen for i in index) == list(range(8))
    for index, x in seen + other:
        assert x == [float(i + 1) for i in index]  # examples keep their numbers
    assert [len(index) for index, _ in other] == [8 // num_updates]
    assert np.sign(state.params["critic"]) == 1


def test_step_with_n_critic_equals_a_loop_of_updates():
    players = [Player("critic", quadratic("critic"), optax.adam(0.1), num_updates=2)]
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam raises a float to an integer power
        state, _ = make_step(players)(start(players), BATCH, KEY)
        w, tx = jnp.float32(0), optax.adam(0.1)
        opt_state = tx.init(w)
        for hand in (BATCH["x"][0::2], BATCH["x"][1::2]):
            updates, opt_state = tx.update(w - jnp.mean(hand), opt_state, w)
            w = optax.apply_updates(w, updates)
    np.testing.assert_allclose(state.params["critic"], w, rtol=1e-6)


def test_step_average_is_a_linear_filter():
    from scipy.signal import lfilter

    players = [Player("a", quadratic("a"), optax.sgd(0.3)), Player("b", quadratic("b"), optax.sgd(0.3))]
    step, state = make_step(players, ema_decay=0.8), start(players, ema_names=("a",))
    weights, averages = [], []
    for _ in range(6):
        state, _ = step(state, BATCH, KEY)
        weights.append(float(state.params["a"]))
        averages.append(float(state.ema_params["a"]))
    np.testing.assert_allclose(averages, lfilter([0.2], [1, -0.8], weights), rtol=1e-5)
    assert set(state.ema_params) == {"a"}
    assert state.variables["params"] == {"a": state.ema_params["a"], "b": state.params["b"]}


def test_step_takes_a_schedule_of_the_decay():
    players = [Player("a", quadratic("a"), optax.sgd(0.3))]
    step = make_step(players, ema_decay=lambda t: jnp.where(t == 0, 0.0, 1.0))
    state, _ = step(start(players, ema_names=("a",)), BATCH, KEY)
    kept = float(state.params["a"])
    state, _ = step(state, BATCH, KEY)
    assert float(state.ema_params["a"]) == kept != float(state.params["a"])


def test_step_without_decay_keeps_averages():
    players = [Player("a", quadratic("a"), optax.sgd(0.3))]
    state, _ = make_step(players)(start(players, ema_names=("a",)), BATCH, KEY)
    assert float(state.ema_params["a"]) == 0


def test_step_reports_the_gradient_norm_before_clipping():
    players = [Player("a", quadratic("a"), optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.5)))]
    state, metrics = make_step(players)(start(players), BATCH, KEY)
    assert float(state.params["a"]) == pytest.approx(0.5)
    assert float(metrics["a/grad_norm"]) == 4.5


def test_loss_fn_sees_the_step_that_the_state_does_not_hold():
    def loss_fn(params, model_state, batch, key):
        count = model_state["a"]["count"] + 1
        rest = {name: value for name, value in model_state.items() if name != "a"}
        return params["a"] * batch["x"] * model_state["step"].astype(jnp.float32), ({**rest, "a": {"count": count}}, {})

    players = [Player("a", loss_fn, optax.sgd(1.0), num_updates=2)]
    state = init_state(players, {"a": jnp.float32(0)}, {"a": {"count": jnp.int32(0)}})
    step = make_step(players, num_microbatches=2)
    state, _ = step(state, {"x": jnp.ones(8)}, KEY)
    assert float(state.params["a"]) == 0  # the step was 0 at both updates
    state, _ = step(state, {"x": jnp.ones(8)}, KEY)
    assert float(state.params["a"]) == -2
    assert set(state.model_state) == {"a"}
    assert int(state.model_state["a"]["count"]) == 8  # steps x updates x micro-batches


def test_step_gives_players_and_updates_their_own_keys():
    seen = []

    def loss_fn(params, model_state, batch, key):
        seen.append(tuple(jax.random.key_data(key).tolist()))
        return params["a"] * batch["x"], (model_state, {})

    def other(params, model_state, batch, key):
        seen.append(tuple(jax.random.key_data(key).tolist()))
        return params["b"] * batch["x"], (model_state, {})

    players = [Player("a", loss_fn, optax.sgd(0.1), num_updates=2), Player("b", other, optax.sgd(0.1))]
    make_step(players)(start(players), BATCH, KEY)
    assert len(seen) == len(set(seen)) == 3


@pytest.mark.parametrize(
    ("players", "options"),
    [
        ([], {}),
        ([Player("a", quadratic("a"), optax.sgd(1.0))] * 2, {}),
        ([Player("step", quadratic("step"), optax.sgd(1.0))], {}),
        ([Player("a", quadratic("a"), optax.sgd(1.0), num_updates=0)], {}),
        ([Player("a", quadratic("a"), optax.sgd(1.0))], {"num_microbatches": 0}),
    ],
)
def test_make_step_refuses_impossible_players(players, options):
    with pytest.raises(ValueError):
        make_step(players, **options)


@pytest.mark.parametrize(("num_updates", "num_microbatches"), [(3, 1), (1, 3), (2, 8)])
def test_step_refuses_a_batch_that_cannot_be_split(num_updates, num_microbatches):
    players = [Player("a", quadratic("a"), optax.sgd(1.0), num_updates=num_updates)]
    with pytest.raises(ValueError, match="multiple of"):
        make_step(players, num_microbatches=num_microbatches)(start(players), BATCH, KEY)


def test_step_averages_model_state_but_not_counters():
    def loss_fn(params, model_state, batch, key):
        new = {"mean": model_state["model"]["mean"] + 1.0, "count": model_state["model"]["count"] + 1}
        return params["model"] * batch["x"], ({**model_state, "model": new}, {})

    players = [Player("model", loss_fn, optax.sgd(0.1))]
    start = {"model": {"mean": jnp.float32(0), "count": jnp.int32(0)}}
    state = init_state(players, {"model": jnp.float32(1)}, start, ema_names=["model"])
    step = make_step(players, ema_decay=0.75)
    for _ in range(2):
        state, _ = step(state, {"x": jnp.ones(2)}, jax.random.key(0))
    average = state.variables["model_state"]["model"]
    assert float(state.model_state["model"]["mean"]) == 2.0
    assert float(average["mean"]) == 0.75 * 0.25 + 0.25 * 2.0
    assert int(average["count"]) == 2


def token_losses(params, model_state, batch, key):
    """The mean over a sequence's own tokens, weighted by their number."""
    error = jnp.square(params["model"] - batch["x"]) * batch["is_token"]
    length = batch["is_token"].sum(axis=1)
    return Weighted(error.sum(axis=1) / length, length), (model_state, {})


@pytest.mark.parametrize(("num_microbatches", "num_devices"), [(1, 1), (4, 1), (1, 4), (2, 4)])
def test_weighted_losses_are_the_mean_over_all_tokens(num_microbatches, num_devices):
    rng = np.random.default_rng(0)
    x, length = rng.normal(size=(8, 5)).astype(np.float32), np.array([1, 5, 2, 2, 5, 1, 3, 4])
    is_token = (np.arange(5) < length[:, None]).astype(np.float32)
    batch = {"x": jnp.asarray(x), "is_token": jnp.asarray(is_token)}
    players = [Player("model", token_losses, optax.sgd(1.0))]
    axis = "data" if num_devices > 1 else None
    step = make_step(players, axis_name=axis, num_microbatches=num_microbatches)
    state, key = init_state(players, {"model": jnp.float32(0.5)}, {}), jax.random.key(0)
    if axis is None:
        state, metrics = jax.jit(step)(state, batch, key)
    else:
        mesh = jax.make_mesh((num_devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        specs = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
        sharded = jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=jax.sharding.PartitionSpec())
        state, metrics = jax.jit(sharded)(state, batch, key)
    tokens = x[is_token > 0].astype(np.float64)
    np.testing.assert_allclose(metrics["model/loss"], np.square(0.5 - tokens).mean(), rtol=1e-5)
    np.testing.assert_allclose(state.params["model"], 0.5 - 2 * (0.5 - tokens).mean(), rtol=1e-5)


@pytest.mark.parametrize("name", ["gan_digits", "gan_mnist", "wgan_gp_mnist", "sngan_cifar10"])
def test_weight_average_of_gan_forgets_the_initial_weights_in_60_steps(name, monkeypatch):
    module, options = load_config(name), {}
    monkeypatch.setattr(module, "gan", lambda *_, **given: options.update(given))
    module.build(module.Config())
    kept = np.prod([float(options["ema_decay"](jnp.int32(step))) for step in range(60)])
    assert kept < 0.02  # at a constant decay of 0.995 it is 0.74


def test_ema_warmup_schedule_of_offset_two_is_the_mean_of_all_values_so_far():
    values = np.random.default_rng(0).normal(size=20).astype(np.float32)
    average, decay = jnp.float32(values[0]), ema_warmup_schedule(0.999, offset=2.0)
    for step, value in enumerate(values[1:]):
        average = ema(average, jnp.float32(value), decay(jnp.int32(step)))
    np.testing.assert_allclose(average, values.mean(), rtol=1e-5)
