"""What each command of the command line does, as functions that return the exit status."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from aigc_jax.cli_arguments import Edit, Info, Likelihood, List, Prepare, Sample, Trained
from aigc_jax.data.arrays import take
from aigc_jax.data.images import make_grid, to_float, to_uint8, write_npz, write_png
from aigc_jax.data.points import scatter
from aigc_jax.data.prepare import list_data, prepare
from aigc_jax.experiments import config_names, group_values, load_run, run_training
from aigc_jax.measuring import make_evaluate_fn
from aigc_jax.report.likelihood import likelihood_lines, mean_rows, write_likelihood
from aigc_jax.train.config import TrainConfig, validate
from aigc_jax.train.likelihood import likelihood_rows
from aigc_jax.train.loop import abstract_state
from aigc_jax.train.sampling import check_seed, make_edit_fn, make_sample_fn
from aigc_jax.train.world_data import list_worlds
from aigc_jax.types import Experiment, UsageError, Variables


def train_config(
    module: ModuleType, name: str, config: TrainConfig, *, workdir: Path | None, resume_command: str
) -> int:
    """Train an experiment into a run directory, or go on with the one that is there."""
    workdir = workdir or Path("runs") / Path(name).stem
    validate(config)
    experiment: Experiment = module.build(config)
    abstract_state(experiment)  # settings that no network can have are refused before anything is written
    data = experiment.open_data()
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


def sample(arguments: Sample) -> int:
    """Draw samples from a run into a grid or an .npz file."""
    num, seed = arguments.num, arguments.seed
    if num < 1:
        raise UsageError(f"expected at least one sample, got {num}: pass --num 1 or more")
    experiment, _, variables = _load(arguments, {"sampling": arguments.overrides()})
    # Samples drawn in another way have another name: they can lie side by side.
    how = "".join(f"_{name}{_in_a_name(value)}" for name, value in arguments.overrides().items())
    out = arguments.out or arguments.run / "samples" / f"sample_seed{seed}_num{num}{how}.png"
    if out.suffix not in (".png", ".npz"):
        raise UsageError(f"expected an --out that ends in .png or .npz, got {out}")
    labels = conditions_of(experiment.num_classes, arguments.condition, num)
    samples = make_sample_fn(experiment, variables, seed)(0, labels, num)
    if out.suffix == ".npz":
        is_image = experiment.example_name == "image"
        write_npz(out, to_uint8(samples) if is_image else samples, labels, name=experiment.example_name)
    else:
        picture = picture_of(experiment, samples, labels)
        if picture is None:
            raise UsageError(f"there is no picture of samples of shape {samples.shape[1:]}: pass --out samples.npz")
        write_png(out, picture)
    print(f"wrote {num} samples to {out}")
    return 0


def _in_a_name(value: object) -> str:
    """A setting as part of a file name: 0.3-5.0 for a pair."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def edit(arguments: Edit) -> int:
    """Change held-out images, and draw them above the results."""
    num, how = arguments.num, f"{arguments.keep}_strength{arguments.strength}_seed{arguments.seed}"
    if num < 1 or not 0 < arguments.strength <= 1:
        raise UsageError(f"expected --num 1 or more and --strength in (0, 1], got {num} and {arguments.strength}")
    out = arguments.out or arguments.run / "samples" / f"edit_keep_{how}.png"
    if out.suffix != ".png":
        raise UsageError(f"expected an --out that ends in .png, got {out}")
    check_seed(arguments.seed)
    experiment, _, variables = _load(arguments, {"sampling": arguments.overrides()})
    edit_fn = make_edit_fn(experiment, variables, keep=arguments.keep, strength=arguments.strength)
    held_out = experiment.open_data().held_out
    batch = take(held_out, np.linspace(0, len(held_out) - 1, num).astype(np.int64))
    image, condition = to_float(batch["image"]), conditions_of(experiment.num_classes, arguments.condition, num)
    if arguments.condition is None and condition is not None:
        condition = batch["label"]
    rows = [image, *(edit_fn(image, condition, 3 * arguments.seed, row) for row in range(3))]
    write_png(out, make_grid(to_uint8(np.concatenate(rows)), num, row_labels=["given", *["made"] * 3]))
    print(f"wrote {num} images and three results of each to {out}")
    return 0


def likelihood(arguments: Likelihood) -> int:
    """Measure how likely a run finds examples, print it, and write it beside the report."""
    experiment, values, variables = _load(arguments, {"likelihood": arguments.overrides()})
    data = experiment.open_data()
    rows = likelihood_rows(
        experiment,
        variables,
        {"held_out": data.held_out, "train": data.train}[arguments.split],
        num_examples=arguments.num_examples,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
    )
    means, settings = mean_rows(rows), group_values(values, "likelihood")
    file = write_likelihood(
        arguments.run, means, data=data.name, split=arguments.split, seed=arguments.seed, settings=settings
    )
    print("\n".join(likelihood_lines(means)))
    how = ", ".join(f"{name} {value}" for name, value in settings.items())
    print(f"{arguments.split} examples of {data.name}{f'; {how}' if how else ''}    {file}")
    return 0


def _load(arguments: Trained, overrides: Mapping[str, Mapping[str, Any]]) -> tuple[Experiment, TrainConfig, Variables]:
    return load_run(
        arguments.run,
        checkpoint=arguments.checkpoint,
        config_file=arguments.config,
        data_dir=arguments.data_dir,
        overrides=overrides,
    )


def prepare_data(arguments: Prepare) -> int:
    """Download a data set and write it as array_record files."""
    print(prepare(arguments.name, arguments.data_dir))
    return 0


def list_all_data(arguments: List) -> int:
    """Print a table of the data sets that can be trained on."""
    rows = [("name", "classes", "shape", "examples", "where"), *list_data(arguments.data_dir), *list_worlds()]
    widths = [max(len(str(row[column])) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4], sep="  ")
    return 0


def info(arguments: Info) -> int:
    """Print versions, devices and the shipped experiments."""
    del arguments
    print(f"python {platform.python_version()} on {platform.platform()}")
    for package in ("aigc-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets"):
        try:
            print(f"{package} {version(package)}")
        except PackageNotFoundError:
            print(f"{package} (no metadata: run from a source tree)")
    print("devices:", ", ".join(f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()))
    print("configs:", ", ".join(config_names()))
    return 0


def conditions_of(num_classes: int | None, condition: int | None, num: int) -> np.ndarray | None:
    """One class for all samples, or the classes in turn: sample i's does not depend on how many are drawn."""
    if num_classes is None:
        if condition is not None:
            raise UsageError(f"got --condition {condition}, but this model is unconditional: leave the option out")
        return None
    if condition is None:
        return (np.arange(num) % num_classes).astype(np.int32)
    if not 0 <= condition < num_classes:
        raise UsageError(f"expected a condition from 0 to {num_classes - 1}, got {condition}: pass --condition 0")
    return np.full(num, condition, np.int32)


def picture_of(experiment: Experiment, samples: np.ndarray, labels: np.ndarray | None) -> np.ndarray | None:
    """Images in a grid, points of the plane where they are, and None of anything else."""
    if experiment.example_name == "image":
        return _grid(to_uint8(samples), labels)
    return scatter(samples, labels) if samples.shape[1:] == (2,) else None


def _grid(images: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """A row per class where the classes are equally many, else rows of ten."""
    if labels is None or len(set(labels.tolist())) < 2 or len(labels) % len(set(labels.tolist())):
        return make_grid(images, min(10, len(images)))
    classes = sorted(set(labels.tolist()))
    order = np.argsort(labels, kind="stable")
    return make_grid(images[order], len(labels) // len(classes), row_labels=[str(label) for label in classes])
