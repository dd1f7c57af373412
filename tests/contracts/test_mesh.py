"""jit over a mesh that splits the state: each mesh gives the parameters that one device gives."""

import jax
import numpy as np
import optax
import pytest

from aigc_jax.algorithms.flow_matching import flow_matching, rectified_flow_denoiser
from aigc_jax.nets.dit import DiTSettings, make_dit
from aigc_jax.train import sharding
from aigc_jax.train.parallel import make_parallel
from aigc_jax.train.sharding import MeshSettings

from .denoising_family import sampler_of
from .table import NUM_CLASSES, ROWS, SHAPE, batch_at, differ, leaves, plain_run

MESHES = {
    "fsdp": MeshSettings(fsdp=4),
    "data-fsdp": MeshSettings(data=2, fsdp=2),
    "data-tensor": MeshSettings(data=2, tensor=2),
}


def steps(algorithm, batches, state, mesh):
    """Two steps over a mesh; the state stays in parts."""
    parallel = make_parallel("jit", mesh=mesh)
    state, root = parallel.put_state(state), parallel.put_state(jax.random.key(0))
    # The tensor axis splits blocks of transformers alone.
    is_split = mesh.fsdp > 1 or (mesh.tensor > 1 and "blocks" in str(jax.tree.structure(state)))
    assert any(not leaf.is_fully_replicated for leaf in jax.tree.leaves(state)) == is_split
    begin = jax.tree.map(lambda leaf: leaf.sharding, state)
    step = parallel.compile_step(algorithm.step, state)
    for batch in batches:
        state, metrics = step(state, parallel.put_batch(batch), root)
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == begin
    return parallel.get_state(state), metrics


@pytest.mark.checked
@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("name", ["gan-hinge-spectral-microbatches", "vae-gaussian-mlp"])
def test_step_over_a_mesh_equals_one_device(name, mesh, monkeypatch):
    monkeypatch.setattr(sharding, "MIN_SIZE", 2)
    row, run = ROWS[name], plain_run(name)
    batches = [jax.device_get(batch_at(row, t)) for t in range(2)]
    state, metrics = steps(row.build(None), batches, run.states[0], MESHES[mesh])
    assert differ(state.params, run.states[0].params, atol=1e-4)
    for part in ("params", "ema_params", "model_state"):
        for there, here in zip(leaves(getattr(state, part)), leaves(getattr(run.states[2], part)), strict=True):
            np.testing.assert_allclose(there, here, atol=1e-6)
    for key, value in run.metrics[1].items():
        np.testing.assert_allclose(metrics[key], value, atol=1e-5, rtol=1e-4, err_msg=key)


@pytest.mark.checked
def test_step_of_a_transformer_over_a_mesh_equals_one_device(monkeypatch):
    """All meshes, of which one splits blocks by their outputs and inputs; with SGD, as in the table."""
    monkeypatch.setattr(sharding, "MIN_SIZE", 2)
    row = ROWS["flow"]
    net = make_dit(DiTSettings(2, 16, 2, head_width=4, mlp_ratio=2), num_classes=NUM_CLASSES)
    denoiser = rectified_flow_denoiser(net, SHAPE, num_classes=NUM_CLASSES)
    sampler = sampler_of(denoiser.process, "ddim", NUM_CLASSES)
    method = flow_matching(denoiser, tx=optax.sgd(0.5, momentum=0.9), sampler=sampler, ema_decay=0.5)
    batches = [jax.device_get(batch_at(row, t)) for t in range(2)]
    begin = jax.jit(method.init)(jax.random.key(1), batches[0])
    expected, _ = steps(method, batches, begin, MeshSettings())
    assert differ(expected.params, begin.params, atol=1e-4)
    for mesh in MESHES.values():
        state, _ = steps(method, batches, begin, mesh)
        for there, here in zip(leaves(state), leaves(expected), strict=True):
            np.testing.assert_allclose(there, here, atol=1e-6)
