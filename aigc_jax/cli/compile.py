"""The command ``aigc-jax compile``: an experiment compiled for a TPU that is not there."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import ModuleType

import jax

from aigc_jax.cli.arguments import Compile
from aigc_jax.cli.operations import groups_with_remat, step_operations
from aigc_jax.data.files import visible
from aigc_jax.runs import build_experiment
from aigc_jax.train.compile_for import GIB, Compiled, compile_lowered, find_topology, lower_sampler, lower_step
from aigc_jax.train.config import TrainConfig, validate
from aigc_jax.train.loop import abstract_state


def compile_config(module: ModuleType, name: str, arguments: Compile, command_line: str) -> int:
    """Print whether the programs of an experiment fit a TPU; 1 where one does not."""
    del command_line
    # Only the compiler is of the TPU. What it compiles is no use to another command.
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)
    config: TrainConfig = arguments.config
    validate(config)
    devices = find_topology(arguments.topology)
    data, fsdp, tensor = config.mesh.sizes(len(devices))
    if config.parallel == "pmap" and not config.mesh.is_sharded:
        # It is shard_map behind another interface, which takes no devices that are not there.
        config = dataclasses.replace(config, parallel="shard_map")
    experiment, _ = build_experiment(module, config)
    num_hosts, num_examples = len({each.process_index for each in devices}), experiment.batch_spec["example"].shape[0]
    num_parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract_state(experiment).params))
    what = f"{num_parameters:,} parameters, {num_examples} examples a step"
    where = f"{len(devices)} devices of {num_hosts} hosts (data {data} x fsdp {fsdp} x tensor {tensor})"
    print(f"{visible(Path(name).stem)} for {visible(arguments.topology)}: {where}, {what}")
    flops, again = step_operations(module, config)
    print(f"operations of a step in products and convolutions: {flops:.4g}{again}", flush=True)
    step = compile_lowered(lower_step(experiment, config, devices), devices[0])
    print(f"training step: {_verdict(step, devices[0].device_kind, _advice(config, len(devices)))}", flush=True)
    fits = step.fits
    if arguments.sampler and experiment.algorithm.sample is not None:
        sampler = compile_lowered(lower_sampler(experiment, devices[0]), devices[0])
        print(f"sampler of a block: {_verdict(sampler, devices[0].device_kind, 'a smaller network')}", flush=True)
        fits = fits and sampler.fits
    return 0 if fits else 1


def _verdict(program: Compiled, kind: str, advice: str) -> str:
    needed, available, temporary = (
        f"{size / GIB:.2f} GiB" for size in (program.memory, program.available, program.temporary)
    )
    if not program.fits:
        return f"does not fit: needs {needed}, a {kind} has {available}: try {advice}"
    collectives = ", ".join(f"{num} {name}" for name, num in program.collectives.most_common()) or "no collectives"
    return (
        f"fits: {needed} of {available} on each device, {temporary} of them temporary; {collectives}; compiled in "
        f"{program.seconds:.0f} s"
    )


def _advice(config: TrainConfig, num_devices: int) -> str:
    """What makes a training step smaller and is not set yet."""
    options = [] if config.parallel == "jit" else ["--parallel jit"]
    options = [] if config.mesh.is_sharded else [*options, f"--mesh.fsdp {num_devices}"]
    options += [f"--{name}.remat full" for name in groups_with_remat(config) if getattr(config, name).remat != "full"]
    return " ".join(options) or f"--num-microbatches {2 * config.num_microbatches}"
