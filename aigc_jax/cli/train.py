"""The command ``aigc-jax train``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from aigc_jax.data.fingerprint import summary
from aigc_jax.evaluation.classifiers import make_evaluate_fn
from aigc_jax.runs import run_training
from aigc_jax.train.config import TrainConfig, validate
from aigc_jax.train.loop import abstract_state
from aigc_jax.types import Experiment


def train_config(
    module: ModuleType, name: str, config: TrainConfig, *, workdir: Path | None, resume_command: str
) -> int:
    """Train an experiment into a run directory, or go on with the one that is there."""
    workdir = workdir or Path("runs") / Path(name).stem
    validate(config)
    experiment: Experiment = module.build(config)
    abstract_state(experiment)  # settings that no network can have are refused before anything is written
    data = experiment.open_data()
    print(f"data {summary(data)}", flush=True)
    is_evaluated = config.eval_every > 0
    result = run_training(
        experiment,
        config,
        workdir,
        data=data,
        name=name,
        resume_command=resume_command,
        evaluate_fn=make_evaluate_fn(experiment, config, data) if is_evaluated else None,
    )
    if result.stopped_by is not None:
        return 128 + result.stopped_by
    if result.seconds:
        print(
            f"trained {name} to step {result.step} in {result.seconds:.0f} s (compilation {result.compile_seconds:.0f} "
            f"s apart, {100 * result.data_wait:.1f} % of the time waiting for data)"
        )
    else:
        print(f"{workdir} is complete at step {result.step}: pass more --steps to go on, or another --workdir")
    print(f"run directory: {workdir}    next: aigc-jax evaluate {workdir}")
    return 0
