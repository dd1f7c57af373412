"""Checkpoints of two processes, each of which holds a part of the state: damage that one sees, both hear of."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PEER = """
import sys
from pathlib import Path

import jax

jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize("127.0.0.1:" + sys.argv[2], num_processes=2, process_id=int(sys.argv[1]))

import jax.numpy as jnp
from jax.experimental import multihost_utils

from aigc_jax.train.checkpoint import Checkpoints
from aigc_jax.train.parallel import make_parallel
from aigc_jax.train.sharding import MeshSettings
from aigc_jax.types import TrainState

run, parallel = Path(sys.argv[3]), make_parallel("jit", mesh=MeshSettings(fsdp=2))


def state(step):
    return TrainState(jnp.int32(step), {"a": {"w": jax.random.normal(jax.random.key(step), (512, 64))}}, {}, {}, {})


checkpoints = Checkpoints(run)
for step in (1, 2):
    checkpoints.save(parallel.put_state(state(step)))
checkpoints.wait()
multihost_utils.sync_global_devices("saved")
if jax.process_index() == 0:
    for file in (run / "checkpoints/2/state/ocdbt.process_1/d").iterdir():  # read by process 1 alone
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
multihost_utils.sync_global_devices("damaged")
restored = checkpoints.restore_latest(parallel.placed(jax.eval_shape(lambda: state(0))))
own = restored.params["a"]["w"].addressable_shards[0]
assert (own.data == state(1).params["a"]["w"][own.index]).all()
checkpoints.save(parallel.put_state(state(2)))
checkpoints.wait()
assert (int(restored.step), checkpoints.steps()) == (1, [1, 2])
checkpoints.close()
"""


@pytest.mark.slow
def test_damage_that_one_process_sees_has_both_use_the_checkpoint_before(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1", "PYTHONPATH": os.getcwd()}
    words = [sys.executable, "-c", PEER]
    peers = [
        subprocess.Popen(
            [*words, str(i), port, str(tmp_path)], env=environment, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        for i in range(2)
    ]
    try:
        errors = [peer.communicate(timeout=200)[1] for peer in peers]
    finally:
        for peer in peers:  # SIGTERM is not heard after jax.distributed.initialize
            if peer.poll() is None:
                peer.kill()
                peer.wait()
    for peer, error in zip(peers, errors, strict=True):
        assert peer.returncode == 0, error
        assert "checkpoints/2 is incomplete; trying the one before" in error
