"""Prefetching to the devices, and what counts as throughput."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.train.parallel import make_parallel
from aigc_jax.train.prefetch import PREFETCH, DevicePrefetcher, Throughput


def test_prefetcher_runs_ahead_but_not_beyond_the_end():
    asked = []

    def batches():
        for i in range(100):
            asked.append(i)
            yield {"x": np.full(4, i)}

    prefetcher = DevicePrefetcher(batches(), make_parallel("jit"), iter([1] * 5))
    got = []
    for _ in range(5):
        got.append(int(prefetcher.next()[1]["x"][0]))
        prefetcher.refill({})
        assert len(asked) == min(len(got) + PREFETCH, 5)
    assert got == [0, 1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("is_done", [True, False])
def test_prefetcher_counts_waiting_only_while_devices_are_idle(is_done):
    compute = jax.jit(lambda x: jax.lax.fori_loop(0, 30, lambda i, x: jnp.tanh(x @ x), x)[0, 0])
    jax.block_until_ready(compute(jnp.eye(1000)))  # compiled
    prefetcher = DevicePrefetcher(iter([{"x": np.zeros(4)}]), make_parallel("jit"), iter([1]))
    loss = compute(jnp.eye(1000))
    if is_done:
        jax.block_until_ready(loss)
    prefetcher.refill({"loss": loss})
    assert (prefetcher.wait_seconds > 0) == is_done


def test_throughput_excludes_pauses_and_earlier_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    prefetcher = DevicePrefetcher(iter([]), make_parallel("jit"), iter(()))
    prefetcher.wait_seconds = 50.0
    throughput = Throughput(prefetcher, 10)
    now[0] += 4
    prefetcher.wait_seconds += 1
    with throughput.paused():
        now[0] += 1000
    assert throughput.lap(18) == (2.0, 0.25)
    now[0] += 4
    assert throughput.lap(19) == (0.25, 0.0)
    assert throughput.total() == (8.0, 0.125)
