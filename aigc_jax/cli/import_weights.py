"""The command ``aigc-jax import``: a run directory of weights that another program wrote."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from types import ModuleType

import jax

from aigc_jax.cli.arguments import Import
from aigc_jax.data.files import visible, write_text
from aigc_jax.inference.published import load_published
from aigc_jax.runs import build_experiment
from aigc_jax.train.checkpoint import Checkpoints
from aigc_jax.train.config import TrainConfig, validate
from aigc_jax.train.loop import abstract_state, initial_state
from aigc_jax.train.parallel import find_devices
from aigc_jax.train.run_dir import check_path, checkpoint_steps, lock_run, write_run
from aigc_jax.train.weights import open_weights
from aigc_jax.types import TrainState, UsageError, Variables

FILE = "imported.json"
"""Says in the run where its weights come from."""


def import_weights(module: ModuleType, name: str, arguments: Import, command_line: str) -> int:
    """Make a run whose checkpoint of step 0 holds the weights of a file, as averages too."""
    del command_line
    config: TrainConfig = arguments.config
    file, out = arguments.weights, arguments.workdir or Path("runs") / Path(name).stem
    validate(config)
    check_path(out)
    find_devices()
    if checkpoint_steps(out):
        raise UsageError(f"{visible(str(out))} holds a run already: name another --workdir")
    weights = open_weights(file)
    experiment, schedule_steps = build_experiment(module, config)
    shapes = abstract_state(experiment)
    variables = load_published(weights.shapes, weights.read, shapes.variables)
    state = with_variables(initial_state(experiment, config.seed), variables)
    with lock_run(out):
        write_run(out, name, config, experiment.batch_spec, schedule_steps=schedule_steps)
        checkpoints = Checkpoints(out)
        try:
            checkpoints.save(state)
            checkpoints.wait()
            checkpoints.verify(0, shapes)
        finally:
            checkpoints.close()
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        origin = {"format": 1, "file": file.name, "sha256": digest, "license": "that of the file's origin"}
        write_text(out / FILE, json.dumps(origin, indent=2) + "\n")
    size = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    config_file = ["--config", name] if name.endswith(".py") else []
    command = shlex.join(["aigc-jax", "sample", str(out), *config_file])
    print(f"read {size:,} parameters from {visible(str(file))}")
    print(f"run directory: {visible(str(out))}    next: {visible(command)}")
    return 0


def with_variables(state: TrainState, variables: Variables) -> TrainState:
    """A state with the weights to sample with: they become its parameters and their averages."""
    params, model_state = variables["params"], variables["model_state"]
    return state.replace(
        params={name: params[name] for name in state.params},
        ema_params={name: params[name] for name in state.ema_params},
        model_state={name: model_state[name] for name in state.model_state},
        ema_model_state={name: model_state[name] for name in state.ema_model_state},
    )
