"""The command ``aigc-jax train``."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shlex
import time
from collections import Counter
from pathlib import Path
from types import ModuleType

import jax

from aigc_jax.cli.arguments import Train
from aigc_jax.data.files import visible
from aigc_jax.data.fingerprint import summary
from aigc_jax.data.pipeline import check_batch_size
from aigc_jax.evaluation.during_training import make_evaluate_fn
from aigc_jax.runs import build_experiment, resolved, run_training
from aigc_jax.train.cluster import Address, joined_cluster
from aigc_jax.train.config import TrainConfig, validate
from aigc_jax.train.loop import abstract_state
from aigc_jax.train.parallel import find_devices
from aigc_jax.train.run_dir import check_path, checkpoint_steps, read_run
from aigc_jax.train.watchdog import Limits
from aigc_jax.types import TrainState, UsageError


def train_config(module: ModuleType, name: str, arguments: Train, command_line: str) -> int:
    """Train an experiment into a run directory, or go on with the one that is there; ``command_line`` resumes it."""
    started = time.monotonic()
    config: TrainConfig = arguments.config
    workdir = arguments.workdir or Path("runs") / Path(name).stem
    # Cheap checks first; nothing is written before all of them, but the logs of several processes.
    validate(config)
    check_path(workdir)
    stop_before = _seconds("--save-before", arguments.save_before)
    limits = Limits(
        _seconds("--step-timeout", arguments.step_timeout), None if stop_before is None else started + stop_before
    )
    address = Address(arguments.coordinator, arguments.num_processes, arguments.process_id)
    is_distributed = arguments.distributed or address != Address()
    with joined_cluster(address, workdir) if is_distributed else contextlib.nullcontext():
        again = "the same command, in every process" if is_distributed else command_line
        return _train(module, name, config, workdir, limits, again)


def _train(
    module: ModuleType, name: str, config: TrainConfig, workdir: Path, limits: Limits, resume_command: str
) -> int:
    if os.path.exists(workdir / "config.json") and checkpoint_steps(workdir):
        read_run(workdir)  # a run that cannot go on is refused before its data are opened
    devices = Counter(device.device_kind for device in find_devices())
    config = resolved(module, config)
    experiment, schedule_steps = build_experiment(module, config)
    data = experiment.open_data()
    num_examples = experiment.batch_spec["example"].shape[0]
    check_batch_size(len(data.train), num_examples, jax.process_count())
    print(f"data {summary(data)}", flush=True)
    print(f"model {name}: {_parameters(abstract_state(experiment))}, {config.steps} steps of {num_examples} examples")
    on = ", ".join(f"{num} x {kind}" for kind, num in devices.items())
    if jax.process_count() > 1:
        on += f" of {jax.process_count()} processes"
    print(f"devices: {on}    run directory: {visible(str(workdir))}", flush=True)
    is_evaluated = config.eval_every > 0
    result = run_training(
        experiment,
        config,
        workdir,
        data=data,
        name=name,
        resume_command=resume_command,
        evaluate_fn=make_evaluate_fn(experiment, config, data) if is_evaluated else None,
        schedule_steps=schedule_steps,
        limits=limits,
    )
    if result.stopped_by is not None:
        return 128 + result.stopped_by
    if result.seconds:
        print(
            f"trained {name} to step {result.step} in {result.seconds:.0f} s (without {result.compile_seconds:.0f} s "
            f"of compilation; {100 * result.data_wait:.1f} % of the time waiting for data)"
        )
    else:
        longer = f"--steps {2 * result.step}"
        if schedule_steps is not None:
            longer += f" --schedule-steps {schedule_steps} (step sizes then stay at their last values)"
        print(f"{visible(str(workdir))} is complete at step {result.step}: to go on, pass for example {longer}")
    config_file = ["--config", name] if name.endswith(".py") else []
    command = shlex.join(["aigc-jax", "evaluate", str(workdir), *config_file])
    print(f"run directory: {visible(str(workdir))}    next: {visible(command)}")
    return 0


def _seconds(option: str, text: str | None) -> float | None:
    """The seconds of ``3h30m``, ``25m`` or ``90s``."""
    if text is None:
        return None
    found = re.fullmatch(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d{1,6})?)s?)?", text)
    seconds = (
        sum(float(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0.0
    )
    if seconds <= 0:
        raise UsageError(f"expected a time as 90s, 25m or 3h30m for {option}, got {text!r}: set it so")
    return seconds


def _parameters(state: TrainState) -> str:
    """The number of parameters, in all and of each player."""
    sizes = {name: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree)) for name, tree in state.params.items()}
    parts = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    return f"{sum(sizes.values()):,} parameters" + (f" ({parts})" if len(sizes) > 1 else "")
