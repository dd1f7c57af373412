"""Meshes and rules: which device holds which part of a state, without a device where shapes suffice."""

import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import PartitionSpec as P

from aigc_jax.train.config import TrainConfig
from aigc_jax.train.parallel import make_parallel
from aigc_jax.train.sharding import MeshSettings, make_mesh, state_shardings
from aigc_jax.types import TrainState, UsageError


@dataclass(frozen=True)
class FakeDevice:
    """A device as those of a topology: it has a place, and computes nothing."""

    id: int
    process_index: int
    slice_index: int


def fake_devices(num, num_processes=1, slices=None):
    return [FakeDevice(i, i * num_processes // num, slices[i] if slices else 0) for i in range(num)]


def ids(mesh):
    return [[[device.id for device in row] for row in plane] for plane in mesh.devices]


def test_make_mesh_gives_the_devices_that_are_left_to_data():
    mesh = make_mesh(MeshSettings(fsdp=2, tensor=2), fake_devices(8))
    assert mesh.axis_names == ("data", "fsdp", "tensor")
    assert ids(mesh) == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert all(kind == jax.sharding.AxisType.Auto for kind in mesh.axis_types)


def test_make_mesh_puts_slices_along_data():
    mesh = make_mesh(MeshSettings(fsdp=2), fake_devices(4, slices=[0, 1, 0, 1]))
    assert ids(mesh) == [[[0], [2]], [[1], [3]]]


def test_make_mesh_keeps_the_devices_of_a_process_together():
    devices = [FakeDevice(i, process, 0) for i, process in enumerate([0, 1, 0, 1])]
    assert ids(make_mesh(MeshSettings(fsdp=2), devices)) == [[[0], [2]], [[1], [3]]]


@pytest.mark.parametrize("settings", [MeshSettings(fsdp=3), MeshSettings(data=2, fsdp=2), MeshSettings(data=0)])
def test_make_mesh_refuses_sizes_that_do_not_multiply(settings):
    with pytest.raises(UsageError, match=r"mesh of 8 devices, got data .*--mesh.fsdp") as caught:
        make_mesh(settings, fake_devices(8))
    assert "\n" not in str(caught.value)


def test_make_mesh_keeps_the_tensor_axis_within_a_process():
    assert make_mesh(MeshSettings(tensor=2), fake_devices(4, 2)).shape["tensor"] == 2
    with pytest.raises(UsageError, match="must be of one process"):
        make_mesh(MeshSettings(tensor=4), fake_devices(4, 2))


@pytest.mark.parametrize("mode", ["pmap", "shard_map"])
def test_modes_of_data_parallelism_refuse_a_mesh(mode):
    with pytest.raises(UsageError, match="--parallel jit"):
        make_parallel(mode, mesh=MeshSettings(fsdp=2))
    with pytest.raises(UsageError, match="--parallel jit"):
        make_parallel(mode, rules=(("kernel", "fsdp"),))


def test_rules_over_data_alone_are_followed():
    parallel = make_parallel("jit", rules=(("in/kernel", "data,none"),))
    placed = parallel.placed(abstract_state({"in/kernel": (64, 256)}))
    assert placed.params["net"]["in"]["kernel"].sharding.spec == P("data", None)


def abstract_state(shapes, tx=None):
    """A state of one network whose arrays have these shapes, with an average."""
    tree: dict = {}
    for path, shape in shapes.items():
        *groups, name = path.split("/")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[name] = jax.ShapeDtypeStruct(shape, jnp.float32)
    opt_state = {"net": jax.eval_shape((tx or optax.adamw(1e-3)).init, tree)}
    return TrainState(jax.ShapeDtypeStruct((), jnp.int32), {"net": tree}, opt_state, {}, {"net": tree})


SHAPES = {
    "in/kernel": (64, 256),
    "in/bias": (256,),
    "odd/kernel": (129, 130),
    "blocks/attention/qkv/kernel": (3, 128, 384),
    "blocks/attention/out/kernel": (3, 128, 128),
    "blocks/hidden/kernel": (3, 128, 512),
    "blocks/out/kernel": (3, 512, 128),
}


def specs(shapes=SHAPES, rules=(), tx=None, **mesh):
    """``{path: spec}`` of a state over eight devices that are not there."""
    mesh = jax.sharding.AbstractMesh(MeshSettings(**mesh).sizes(8), ("data", "fsdp", "tensor"))
    tree = state_shardings(abstract_state(shapes, tx), mesh, rules)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): s.spec for path, s in jax.tree.leaves_with_path(tree)
    }


def test_state_shardings_split_the_largest_axis_that_divides():
    found = specs(fsdp=8)
    assert found["params/net/in/kernel"] == P(None, "fsdp")
    assert found["params/net/blocks/out/kernel"] == P(None, "fsdp")
    assert found["params/net/in/bias"] == found["step"] == P()  # small
    assert found["params/net/odd/kernel"] == P()  # nothing divides


def test_state_shardings_of_averages_and_moments_are_those_of_their_parameter():
    found = specs(fsdp=2, tensor=2, tx=optax.chain(optax.clip(1.0), optax.adamw(1e-3)))
    params = {path.removeprefix("params/net/"): spec for path, spec in found.items() if path.startswith("params/")}
    moments = {path for path in found if "/mu/" in path or "/nu/" in path}
    assert len(moments) == 2 * len(params)
    assert len({tuple(spec) for spec in params.values()}) >= 3
    for path in moments:
        assert found[path] == params[re.split("/[mn]u/", path)[1]]
    assert {path: found[f"ema_params/net/{path}"] for path in params} == params


def test_state_shardings_of_factored_moments_fit_their_own_shape():
    found = specs({"in/kernel": (256, 256 * 128)}, fsdp=8, tx=optax.adafactor(1e-3))
    rows = {path: spec for path, spec in found.items() if "v_row" in path or "v_col" in path}
    assert P("fsdp") in rows.values()  # [32768], large enough to be split by its own one axis


def test_tensor_rules_split_the_blocks_of_a_transformer():
    found = specs(fsdp=2, tensor=2)
    assert found["params/net/blocks/attention/qkv/kernel"] == P(None, "fsdp", "tensor")
    assert found["params/net/blocks/attention/out/kernel"] == P(None, "tensor", "fsdp")
    assert found["params/net/blocks/hidden/kernel"] == P(None, "fsdp", "tensor")
    assert found["params/net/blocks/out/kernel"] == P(None, "tensor", "fsdp")
    assert found["params/net/in/kernel"] == P(None, "fsdp")


def test_own_rules_come_first_and_the_first_match_decides():
    rules = (("net/in/kernel", "fsdp,none"), ("in/kernel", "none"), ("bias", "tensor"))
    found = specs(fsdp=2, tensor=2, rules=rules)
    assert found["params/net/in/kernel"] == found["ema_params/net/in/kernel"] == P("fsdp", None)
    assert found["opt_state/net/0/mu/in/kernel"] == P("fsdp", None)
    assert found["params/net/in/bias"] == P("tensor")
    assert found["params/net/blocks/hidden/kernel"] == P(None, "fsdp", "tensor")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (("odd", "fsdp,none"), r"net/odd/kernel \[129, 130\] that 8 devices along fsdp divide, got 129"),
        (("in/bias", "none,fsdp"), "spec of the 1 axes of net/in/bias"),
        (("in/kernel", "fsdp,fsdp"), "got 'fsdp,fsdp'"),
        (("in/kernel", "model"), "each none, data, fsdp, tensor"),
        (("in/kernel(", "fsdp"), "expected a pattern in --sharding-rules"),
    ],
)
def test_a_rule_that_does_not_fit_is_told_in_one_line(rule, message):
    with pytest.raises(UsageError, match=message) as caught:
        specs(fsdp=8, rules=(rule,))
    assert "\n" not in str(caught.value)


def test_a_tensor_axis_that_does_not_divide_is_told_in_one_line():
    with pytest.raises(UsageError, match=r"along tensor divide, got 516 .*change --mesh.tensor"):
        specs({"blocks/hidden/kernel": (128, 516)}, tensor=8)


def test_train_config_is_data_parallel_by_default():
    assert not TrainConfig().mesh.is_sharded
    assert MeshSettings(tensor=2).is_sharded
