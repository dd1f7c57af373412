"""The command ``aigc-jax evaluate``: judges a run and writes its report."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aigc_jax.cli.arguments import Evaluate, EvaluateSamples
from aigc_jax.data.export import file_name
from aigc_jax.data.files import visible
from aigc_jax.data.fingerprint import fingerprint
from aigc_jax.data.images import to_png
from aigc_jax.evaluation.classifiers import Classifier, load_judge, make_accuracy_fn
from aigc_jax.evaluation.evaluate import evaluate
from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.from_run import LoadedRun, earlier_step, evaluated_model, load_for_evaluation
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.recommendations import Commands
from aigc_jax.evaluation.section import Settings
from aigc_jax.inference.perturbation import make_path_fn
from aigc_jax.report.figures import Texts
from aigc_jax.report.files import FILES, read_report, write_report
from aigc_jax.report.gates import Gates, check_gates, read_gates
from aigc_jax.report.schema import Report
from aigc_jax.report.text import summary_lines
from aigc_jax.runs import load_config, option_words, reported_settings
from aigc_jax.train.config import TextConfig
from aigc_jax.train.config_io import config_from_values
from aigc_jax.train.run_dir import checkpoint_steps, read_run
from aigc_jax.types import Data, UsageError


def evaluate_run(arguments: Evaluate) -> int:
    """Measure a run, write its report, print its measurements, and check its gates."""
    begin = time.perf_counter()
    _check(arguments)
    gates = read_gates(arguments.gate) if arguments.gate else Gates()
    loaded = _load(arguments, arguments.run, {"sampling": arguments.overrides}, arguments.checkpoint)
    partner, denoiser = (
        None if run is None else _load(arguments, run, {}) for run in (arguments.partner, arguments.denoiser)
    )
    experiment, config, data = loaded.experiment, loaded.config, loaded.experiment.open_data()
    has_second_opinion = not arguments.single_judge and experiment.conditions is not None
    judge, classifier = load_judge(
        experiment, config, data, given=arguments.judge, has_second_opinion=has_second_opinion
    )
    model = with_classifier(evaluated_model(loaded, partner=partner, denoiser=denoiser), loaded, classifier)
    if arguments.cas and experiment.conditions is not None and classifier is not None and experiment.judges:
        model = model._replace(accuracy_fn=make_accuracy_fn(experiment.judges[0], config, data))
    evaluation = evaluate(
        model=model,
        judge=judge,
        data=data,
        settings=Settings(
            num_samples=arguments.num_samples,
            num_detected=arguments.detector_samples,
            num_swept=arguments.sweep_samples,
            min_judge_accuracy=arguments.judge_accuracy,
            risk=arguments.risk,
        ),
        gates=gates,
        commands=Commands(
            functools.partial(command_line, arguments),
            train_longer(loaded.run, arguments.config),
            earlier_step(loaded),
        ),
        on_progress=lambda stage: print(f"evaluate: {stage}", file=sys.stderr, flush=True),
    )
    facts = {**evaluation.report.facts, **_facts(loaded, arguments, data, time.perf_counter() - begin)}
    report, grid = with_samples(evaluation.report._replace(facts=facts), evaluation.samples, data)
    return print_report(
        report, grid, evaluation.per_sample, gates, run=arguments.run, folder=arguments.out or arguments.run / "report"
    )


def print_report(
    report: Report,
    grid: bytes | None,
    per_sample: Mapping[str, np.ndarray],
    gates: Gates,
    *,
    run: Path,
    folder: Path,
) -> int:
    """Write a report, print its lines, and check its gates; returns the exit status."""
    _keep_former(report, folder)
    html, json_file = write_report(run, report, grid=grid, per_sample=per_sample, folder=folder)
    # Whole lines for a log file.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print("\n".join(summary_lines(report, width)))
    print(f"report: {html}    {json_file}")
    failures = check_gates(report, gates)
    for line in failures:
        print(f"gate failed: {line}", file=sys.stderr)
    return 1 if failures else 0


def with_classifier(model: EvaluatedModel, loaded: LoadedRun, classifier: Classifier | None) -> EvaluatedModel:
    """A model with path lengths in the features of a classifier, where it starts from a single latent."""
    if classifier is None or loaded.experiment.algorithm.latents is None:
        return model
    given = classifier.experiment, classifier.variables
    return model._replace(path_lengths=make_path_fn(loaded.experiment, loaded.variables, loaded.seed, *given))


def check_measured(arguments: Evaluate | EvaluateSamples) -> None:
    """Refuse numbers out of range among the options that both ways of evaluation have."""
    if arguments.num_samples < 1:
        raise UsageError(f"expected at least one sample, got {arguments.num_samples}: pass --num-samples 100 or more")
    if not 0 <= arguments.judge_accuracy <= 1:
        raise UsageError(f"expected --judge-accuracy in [0, 1], got {arguments.judge_accuracy}: 0.75 by default")


def _check(arguments: Evaluate) -> None:
    check_measured(arguments)
    if min(arguments.sweep_samples, arguments.detector_samples) < 0:
        raise UsageError("expected --sweep-samples and --detector-samples of 0 or more: 0 leaves them out")
    if not 0 < arguments.risk < 1:
        raise UsageError(f"expected --risk in (0, 1), got {arguments.risk}: 0.01 accepts one violation in a hundred")


def _load(arguments: Evaluate, run: Path, overrides: dict[str, Any], checkpoint: str = "latest") -> LoadedRun:
    return load_for_evaluation(
        run,
        checkpoint=checkpoint,
        config_file=arguments.config if run == arguments.run else None,
        data=arguments.data,
        data_dir=arguments.data_dir,
        overrides=overrides,
        seed=arguments.seed,
    )


def command_line(arguments: Evaluate, **changes: Any) -> str:
    """The command line of an evaluation, with some options changed."""
    own = {field.name: field.default for field in dataclasses.fields(arguments)}
    overrides = {**arguments.overrides, **{name: value for name, value in changes.items() if name not in own}}
    values = {**{name: getattr(arguments, name) for name in own}, **changes}
    options = {f"{arguments.GROUP}.{name}" if name in own else name: value for name, value in overrides.items()}
    options |= {n: values[n] for n, default in own.items() if n not in ("run", "overrides") and values[n] != default}
    return shlex.join(["aigc-jax", "evaluate", str(arguments.run), *option_words(options)])


def train_longer(run: Path, config_file: Path | None) -> str:
    """The command line that trains a run for twice as many steps; "" where there is none."""
    described = read_run(run)
    name = str(config_file) if config_file else described.config
    module = load_config(name)
    config, default = config_from_values(module.Config, described.values), module.Config()
    unchanged: dict[str, Any] = {"steps": default.steps, "schedule_steps": default.schedule_steps}
    if isinstance(default, TextConfig):
        unchanged["vocabulary"] = default.vocabulary  # made of the text again, and long
    options = _options(dataclasses.replace(config, **unchanged), default)
    if options is None:
        return ""
    options["--steps"] = [str(2 * config.steps)]
    if described.schedule_steps is not None:
        options["--schedule-steps"] = [str(described.schedule_steps)]
    words = [word for option, values in options.items() for word in (option, *values)]
    return shlex.join(["aigc-jax", "train", name, "--workdir", str(run), *words])


def _options(config: Any, default: Any, prefix: str = "--") -> dict[str, list[str]] | None:
    """The options that lead from a default config to a config; None where a group is of another type."""
    if type(config) is not type(default):
        return None
    options: dict[str, list[str]] = {}
    for field in dataclasses.fields(config):
        value, usual = getattr(config, field.name), getattr(default, field.name)
        option = prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(usual):
            group = _options(value, usual, f"{option}.")
            if group is None:
                return None
            options |= group
        elif value != usual:
            options[option] = [str(each) for each in value] if isinstance(value, tuple) else [str(value)]
    return options


def _facts(loaded: LoadedRun, arguments: Evaluate, data: Data, seconds: float) -> dict[str, str]:
    """The origin of a report: weights, data, tool and device."""
    steps, checkpoint = checkpoint_steps(loaded.run), arguments.checkpoint
    if checkpoint == "latest" and steps:
        checkpoint = f"latest, step {steps[-1]}"
    params = jax.tree.leaves(loaded.variables["params"])
    return {
        "config": read_run(loaded.run).config,
        "checkpoint": checkpoint,
        "parameters": f"{sum(leaf.size for leaf in params):,}",
        "seed": str(arguments.seed),
        **{f"sampling {name}": str(value) for name, value in reported_settings(loaded.config, "sampling").items()},
        "data checksum": fingerprint(data).checksum[:12],
        **tool_facts(),
        "command": visible(command_line(arguments)),
        "duration": f"{seconds:.0f} s",
    }


def tool_facts() -> dict[str, str]:
    """Device, date, the version of this library, and its commit where it lies in a repository."""
    devices = Counter(device.device_kind for device in jax.local_devices())
    facts = {
        "device": ", ".join(f"{num} x {kind}" for kind, num in devices.items()),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    with contextlib.suppress(PackageNotFoundError):
        facts["aigc-jax"] = version("aigc-jax")
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        with contextlib.suppress(OSError):
            command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
            commit = subprocess.run(command, capture_output=True, text=True).stdout.strip()
            facts |= {"commit": commit} if commit else {}
    return facts


def with_samples(report: Report, samples: Examples, data: Data) -> tuple[Report, bytes | None]:
    """The report with the first samples as texts, or a picture of them."""
    first = samples.select(slice(0, samples.modality.num_shown))
    shown = samples.modality.show(first.values, first.condition, data.class_names)
    if isinstance(shown, np.ndarray):
        return report, to_png(shown)
    if not shown:
        return report, None
    labels = [""] * len(shown) if first.condition is None else [str(each) for each in first.condition]
    texts = Texts("samples", "Samples", "The first samples, not chosen.", list(zip(labels, shown, strict=True)))
    return report._replace(figures=[texts, *report.figures]), None


def _keep_former(report: Report, folder: Path) -> None:
    """Move the report of other settings that lies in a folder into one of its own, so that none is lost."""
    try:
        old = read_report(folder)
    except UsageError:  # none, or one that cannot be read
        return
    if _settings(old) == _settings(report):
        return
    place = folder / "_".join(file_name(f"{key}{value}") for key, value in _settings(old).items())[:100]
    try:
        place.mkdir(exist_ok=True)
        for file in FILES:
            if (folder / file).exists():
                (folder / file).replace(place / file)
    except OSError as error:
        raise UsageError(
            f"cannot keep the former report in {visible(str(place))} ({error.strerror}): pass another --out"
        ) from error
    print(f"the former report is kept in {visible(str(place))}", file=sys.stderr)


def _settings(report: Report) -> dict[str, str]:
    """The settings that make a report another one: checkpoint, number of samples, seed, sampler."""
    facts = {
        name.removeprefix("sampling "): value for name, value in report.facts.items() if name.startswith("sampling ")
    }
    step = report.facts.get("checkpoint", "").rpartition(" ")[2]
    return {"step": step, "n": str(report.num_samples), "seed": report.facts.get("seed", ""), **facts}
