"""The command ``aigc-jax train``."""

from __future__ import annotations

import math
import os
import shlex
from collections import Counter
from pathlib import Path
from types import ModuleType

import jax

from aigc_jax.cli.arguments import Train
from aigc_jax.data.files import visible
from aigc_jax.data.fingerprint import summary
from aigc_jax.data.pipeline import check_batch_size
from aigc_jax.evaluation.during_training import make_evaluate_fn
from aigc_jax.runs import build_experiment, run_training
from aigc_jax.train.config import TrainConfig, validate
from aigc_jax.train.loop import abstract_state
from aigc_jax.train.parallel import find_devices
from aigc_jax.train.run_dir import check_path, checkpoint_steps, read_run
from aigc_jax.types import TrainState


def train_config(module: ModuleType, name: str, arguments: Train, command_line: str) -> int:
    """Train an experiment into a run directory, or go on with the one that is there; ``command_line`` resumes it."""
    config: TrainConfig = arguments.config
    workdir = arguments.workdir or Path("runs") / Path(name).stem
    # Cheap checks first; nothing is written before all of them.
    validate(config)
    check_path(workdir)
    if os.path.exists(workdir / "config.json") and checkpoint_steps(workdir):
        read_run(workdir)  # a run that cannot go on is refused before its data are opened
    devices = Counter(device.device_kind for device in find_devices())
    experiment, schedule_steps = build_experiment(module, config)
    data = experiment.open_data()
    num_examples = experiment.batch_spec["example"].shape[0]
    check_batch_size(len(data.train), num_examples, jax.process_count())
    print(f"data {summary(data)}", flush=True)
    print(f"model {name}: {_parameters(abstract_state(experiment))}, {config.steps} steps of {num_examples} examples")
    on = ", ".join(f"{num} x {kind}" for kind, num in devices.items())
    print(f"devices: {on}    run directory: {visible(str(workdir))}", flush=True)
    is_evaluated = config.eval_every > 0
    result = run_training(
        experiment,
        config,
        workdir,
        data=data,
        name=name,
        resume_command=command_line,
        evaluate_fn=make_evaluate_fn(experiment, config, data) if is_evaluated else None,
        schedule_steps=schedule_steps,
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


def _parameters(state: TrainState) -> str:
    """The number of parameters, in all and of each player."""
    sizes = {name: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree)) for name, tree in state.params.items()}
    parts = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    return f"{sum(sizes.values()):,} parameters" + (f" ({parts})" if len(sizes) > 1 else "")
