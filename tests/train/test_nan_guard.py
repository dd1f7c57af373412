"""Detection of NaN and infinity in metrics and weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.train.nan_guard import LAG, NanGuard, NonFiniteError, check_weights, with_finite_flag
from aigc_jax.types import TrainState


def report(**metrics):
    step = with_finite_flag(lambda state, batch, key: (state, metrics))
    state = TrainState(jnp.int32(0), {}, {}, {}, {})
    return step(state, {}, jax.random.key(0))[1]


def test_nan_guard_reads_late_and_names_the_first_bad_step():
    guard = NanGuard()
    guard.push(1, report(loss=jnp.float32(1)))
    guard.push(2, report(aux=jnp.float32(jnp.nan), **{"a/loss": jnp.float32(-jnp.inf)}))
    for step in range(3, 2 + LAG):
        guard.push(step, report(loss=jnp.float32(jnp.nan)))
    with pytest.raises(NonFiniteError, match="a/loss is -inf at step 2") as caught:
        guard.push(2 + LAG, report(loss=jnp.float32(jnp.nan)))
    assert (caught.value.step, caught.value.name, caught.value.value) == (2, "a/loss", -np.inf)


def test_nan_guard_drain_checks_all_steps():
    guard = NanGuard()
    guard.push(1, report(loss=jnp.float32(1), count=jnp.int32(3)))
    guard.drain()
    guard.push(2, report(loss=jnp.float32(jnp.nan)))
    with pytest.raises(NonFiniteError, match="at step 2"):
        guard.drain()


def test_nan_guard_push_does_not_wait_for_the_step():
    class Unread(dict):
        def __getitem__(self, name):
            raise AssertionError("read too early")

    guard = NanGuard()
    for step in range(1, LAG + 1):
        guard.push(step, Unread())


def test_check_weights_covers_every_float_type_but_not_the_optimiser():
    state = TrainState(jnp.int32(4), {"a": jnp.ones(2)}, {"best": jnp.float32(jnp.inf)}, {}, {})
    check_weights(state)
    check_weights(state.replace(ema_params={"n": jnp.int32(3), "h": jnp.ones(2, jnp.bfloat16)}))
    for bad in (jnp.full(2, jnp.nan, jnp.bfloat16), jnp.array([1.0, jnp.inf])):
        with pytest.raises(NonFiniteError, match=r"ema_params/a is .* at step 4"):
            check_weights(state.replace(ema_params={"a": bad}))
