"""Checkpoints of runs whose transformers had separate blocks load into those of today."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.nets.dit import DiT
from aigc_jax.train.checkpoint import Checkpoints
from aigc_jax.train.former_layouts import with_separate_blocks
from aigc_jax.types import TrainState, UsageError

NET, DEPTH = DiT(4, 8, 3, head_width=4), 3


def state_of(net):
    """A state with numbers of their own in every array, the optimiser's too."""

    def init():
        params = {"denoiser": net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1), None)["params"]}
        state = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)).init(params["denoiser"])
        return TrainState(jnp.int32(7), params, {"denoiser": state}, {}, params, {})

    leaves, tree = jax.tree.flatten(jax.eval_shape(init))
    values = [np.full(leaf.shape, 1 + number, leaf.dtype) for number, leaf in enumerate(leaves)]
    values = [leaf + np.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape) for leaf in values]
    return jax.tree.unflatten(tree, values)


def former(state):
    """The state as a former version had it: block i with slice i of every array."""

    def separate(entries):
        blocks = entries.pop("blocks")
        return entries | {f"TransformerBlock_{i}": jax.tree.map(lambda x, i=i: x[i], blocks) for i in range(DEPTH)}

    has_blocks = lambda node: isinstance(node, dict) and "blocks" in node  # noqa: E731
    tree = jax.tree.map(lambda node: separate(dict(node)) if has_blocks(node) else node, state, is_leaf=has_blocks)
    assert "TransformerBlock_2" in tree.params["denoiser"]
    return tree


def abstract(state):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)


def test_with_separate_blocks_has_the_former_shapes():
    state = state_of(NET)
    assert with_separate_blocks(abstract(state)) == abstract(former(state))


def test_checkpoints_of_separate_blocks_load_into_a_scanned_network(tmp_path):
    state = state_of(NET)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(former(state))
    checkpoints.wait()
    restored = checkpoints.restore(int(state.step), abstract(state))
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    with pytest.raises(UsageError, match="of another model"):
        checkpoints.restore(int(state.step), abstract(state_of(NET.clone(depth=2))))
    checkpoints.close()
