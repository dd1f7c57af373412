"""pmap, shard_map and jit over a mesh: each gives the parameters that one device gives."""

import jax
import numpy as np
import pytest

from aigc_jax.train.parallel import PARALLEL_MODES, axis_name, make_parallel

from .table import ROWS, batch_at, differ, leaves, plain_run

# shard_map runs each method's own collectives, so that every row is of it. To pmap and jit a row matters by the parts
# of a step alone: one of each kind.
PARTS = {
    "gan-non_saturating-conv-r1": "batch statistics, lazy regulariser",
    "gan-hinge-spectral-microbatches": "spectral norm, batch statistics of micro-batches",
    "gan-wasserstein-clipped-n_critic": "several updates of one player",
    "gan-relativistic_average-minibatch": "losses of the whole batch",
    "vqvae": "a codebook that is moved by statistics",
    "flow": "micro-batches, dropout, dropped conditions",
    "diffusion-hybrid": "two losses of one network",
}
PROGRAMS = [(name, mode) for name in ROWS for mode in PARALLEL_MODES if mode == "shard_map" or name in PARTS]


@pytest.mark.parametrize(("name", "mode"), PROGRAMS)
def test_step_on_four_devices_equals_one_device(name, mode):
    row, run = ROWS[name], plain_run(name)
    parallel = make_parallel(mode)
    assert jax.device_count() == 4
    state, root = parallel.put_state(run.states[0]), parallel.put_state(jax.random.key(0))
    step = parallel.compile_step(row.build(axis_name(mode)).step)
    for t in range(2):
        state, metrics = step(state, parallel.put_batch(jax.device_get(batch_at(row, t))), root)
    state = parallel.get_state(state)
    assert int(state.step) == 2
    assert differ(state.params, run.states[0].params, atol=1e-4)
    for part in ("params", "ema_params", "model_state"):
        for there, here in zip(leaves(getattr(state, part)), leaves(getattr(run.states[2], part)), strict=True):
            np.testing.assert_allclose(there, here, atol=1e-6)
    for key, value in run.metrics[1].items():
        np.testing.assert_allclose(metrics[key], value, atol=1e-5, rtol=1e-4, err_msg=key)
