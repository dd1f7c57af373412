"""Training resumed from a checkpoint is bitwise equal to uninterrupted training."""

import jax
import numpy as np
import pytest

from aigc_jax.train.checkpoint import Checkpoints

from .table import ROWS, batch_at, leaves, plain_run


@pytest.mark.parametrize("name", ROWS)
def test_resumed_training_is_bitwise_equal(name, tmp_path):
    row, run = ROWS[name], plain_run(name)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(run.states[1])
    checkpoints.close()
    again = Checkpoints(tmp_path, is_read_only=True)
    spec = {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in batch_at(row, 0).items()}
    restored = again.restore_latest(jax.eval_shape(run.algorithm.init, jax.random.key(0), spec))
    again.close()
    state, metrics = run.step(restored, batch_at(row, 1), jax.random.fold_in(jax.random.key(0), 1))
    for ours, theirs in zip(leaves((state, metrics)), leaves((run.states[2], run.metrics[1])), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert int(state.step) == 2
