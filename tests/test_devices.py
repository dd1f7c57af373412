"""Steps on several devices outside of the trainer: the example of docs/devices.md, and meshes of both kinds."""

import re
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from aigc_jax import step_key
from aigc_jax.players import init_state, make_step
from aigc_jax.types import Player

ROOT = Path(__file__).parents[1]


class Net(nn.Module):
    """Looks classes up and folds its input: both have no one sharding of their result."""

    @nn.compact
    def __call__(self, x, condition):
        x = x.reshape(len(x), 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(len(x), -1)
        return nn.Dense(1)(jnp.tanh(nn.Dense(4)(x) + nn.Embed(3, 4)(condition)))[:, 0]


def loss_fn(params, model_state, batch, key):
    output = Net().apply({"params": params["net"]}, batch["example"], batch["condition"])
    return jnp.square(output - 1.0), (model_state, {"output": output})


def example():
    """A state, a batch of eight examples and the step of a small net."""
    player = Player("net", loss_fn, optax.sgd(0.1))
    batch = {"example": jax.random.normal(jax.random.key(1), (8, 4, 4)), "condition": jnp.arange(8) % 3}
    params = {"net": Net().init(jax.random.key(0), *batch.values())["params"]}
    return init_state([player], params, {}, ema_names=["net"]), batch, make_step([player], ema_decay=0.9)


@pytest.mark.slow
@pytest.mark.parametrize("is_state_spread", [True, False])
@pytest.mark.parametrize("axis_type", [AxisType.Explicit, AxisType.Auto])
def test_step_over_a_mesh_is_that_of_one_device(axis_type, is_state_spread):
    state, batch, step = example()
    expected, expected_metrics = jax.jit(step)(state, batch, jax.random.key(2))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(axis_type,))
    batch = jax.device_put(batch, NamedSharding(mesh, P("data")))
    if is_state_spread:
        state = jax.device_put(state, NamedSharding(mesh, P()))
    found, metrics = jax.jit(step)(state, batch, jax.random.key(2))
    for one, other in zip(
        jax.tree.leaves((found, metrics)), jax.tree.leaves((expected, expected_metrics)), strict=True
    ):
        assert one.sharding.is_fully_replicated
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-6)


@pytest.mark.slow
@pytest.mark.standard_promotion
def test_example_of_docs_devices_makes_its_steps():
    def block(path):
        (code,) = re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(), flags=re.DOTALL)
        return code

    names = {}
    exec(compile(block("README.md").replace("range(2000)", "range(1)"), "README.md", "exec"), names)
    exec(compile(block("docs/devices.md"), "docs/devices.md", "exec"), names)
    assert int(names["state"].step) == 3
    assert names["mesh"].devices.size == 4
    assert all(np.isfinite(value) for value in names["metrics"].values())


def test_step_takes_raw_keys_as_well():
    state, batch, step = example()
    typed, _ = step(state, batch, step_key(jax.random.key(3), 0))
    raw, _ = step(state, batch, step_key(jax.random.PRNGKey(3), 0))
    other, _ = step(state, batch, jax.random.fold_in(jax.random.PRNGKey(3), 0))
    for leaves in zip(*map(jax.tree.leaves, (typed, raw, other)), strict=True):
        np.testing.assert_array_equal(leaves[0], leaves[1])
        np.testing.assert_array_equal(leaves[0], leaves[2])
