"""The commands that measure: ``evaluate`` writes the report of a run, ``compare`` puts reports side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aigc_jax.cli_arguments import Compare, Evaluate
from aigc_jax.commands import conditions_of, picture_of
from aigc_jax.data.images import to_png
from aigc_jax.experiments import told_values
from aigc_jax.measuring import load_classifier, load_judge, make_accuracy_fn, with_inception, with_second_classifier
from aigc_jax.report.compare import Contender, compare
from aigc_jax.report.evaluate import Settings, evaluate
from aigc_jax.report.gate import check_gates, read_gates
from aigc_jax.report.side_by_side import table_lines, write_tables
from aigc_jax.report.text import summary_lines
from aigc_jax.report.write import read_per_sample, read_report, write_report
from aigc_jax.subjects import Loaded, load_subject, make_subject
from aigc_jax.train.moving import features_fn, make_path_fn
from aigc_jax.types import Data, UsageError


def evaluate_run(arguments: Evaluate) -> int:
    """Measure a run, write its report, print its figures, and check its gates."""
    _check(arguments)
    gates = read_gates(arguments.gate) if arguments.gate else None
    loaded = _load(arguments, arguments.run, {"sampling": arguments.overrides()}, arguments.checkpoint)
    partner, denoiser = (
        None if run is None else _load(arguments, run, {}) for run in (arguments.partner, arguments.denoiser)
    )
    subject = make_subject(loaded, partner=partner, denoiser=denoiser)
    data = loaded.experiment.open_data()
    judge = load_judge(loaded.experiment, loaded.config, data)
    if not arguments.single_judge and loaded.experiment.num_classes is not None:
        judge = with_second_classifier(judge, loaded.config, data)
    if arguments.inception is not None and loaded.experiment.example_name != "image":
        raise UsageError("the Inception network sees images, this run makes points: leave --inception out")
    if arguments.inception is not None:
        judge = with_inception(judge, arguments.inception)
    if arguments.cas and loaded.experiment.num_classes is not None and judge.world is None:
        subject = subject._replace(accuracy_fn=make_accuracy_fn(loaded.config, data))
    subject = subject._replace(path_lengths=_path_lengths(loaded, data))
    settings = Settings(arguments.num_samples, arguments.detector_samples, arguments.sweep_samples, arguments.risk)
    evaluation = evaluate(subject=subject, judge=judge, data=data, settings=settings, gates=gates)
    report = evaluation.report._replace(facts=_facts(loaded, arguments))
    html, json_file = write_report(arguments.run, report, grid=_grid(loaded, subject), per_sample=evaluation.per_sample)
    print("\n".join(summary_lines(report)))
    print(f"report: {html}    {json_file}")
    failures = check_gates(report, gates) if gates is not None else []
    for line in failures:
        print(f"gate failed: {line}", file=sys.stderr)
    return 1 if failures else 0


def _path_lengths(loaded: Loaded, data: Data) -> Callable[[int], np.ndarray] | None:
    """Path lengths in the features of the data's classifier; None where the model starts from no one latent."""
    if loaded.experiment.algorithm.generate is None or loaded.experiment.world is not None:
        return None
    _, classifier, weights = load_classifier(loaded.config, data)
    return make_path_fn(loaded.experiment, loaded.variables, loaded.seed, features_fn(classifier, weights))


def compare_runs(arguments: Compare) -> int:
    """Put reports side by side."""
    if arguments.out is not None and arguments.out.suffix != ".html":
        raise UsageError(f"expected an --out that ends in .html, got {arguments.out}")
    contenders = [Contender(run.resolve().name, read_report(run), read_per_sample(run)) for run in arguments.runs]
    tables, _ = compare(contenders)
    for table in tables:
        print("\n".join([table.title, *table_lines(table), ""]))
    if arguments.out is not None:
        title = " and ".join(each.name for each in contenders)
        write_tables(arguments.out, tables, title=title)
        print(f"comparison: {arguments.out}")
    return 0


def _check(arguments: Evaluate) -> None:
    if arguments.num_samples < 1:
        raise UsageError(f"expected at least one sample, got {arguments.num_samples}: pass --num-samples 100 or more")
    if min(arguments.sweep_samples, arguments.detector_samples) < 0:
        raise UsageError("expected --sweep-samples and --detector-samples of 0 or more: 0 leaves them out")
    if not 0 < arguments.risk < 1:
        raise UsageError(f"expected --risk in (0, 1), got {arguments.risk}: 0.01 accepts one violation in a hundred")


def _load(arguments: Evaluate, run: Path, overrides: dict[str, Any], checkpoint: str = "latest") -> Loaded:
    return load_subject(
        run,
        checkpoint=checkpoint,
        config_file=arguments.config if run == arguments.run else None,
        data_dir=arguments.data_dir,
        overrides=overrides,
        seed=arguments.seed,
    )


def _facts(loaded: Loaded, arguments: Evaluate) -> dict[str, str]:
    """How the samples were drawn."""
    how = {f"sampling {name}": str(value) for name, value in told_values(loaded.config, "sampling").items()}
    return {"checkpoint": arguments.checkpoint, "seed": str(arguments.seed), **how}


def _grid(loaded: Loaded, subject: Any) -> bytes | None:
    """Samples as a picture, not chosen."""
    num = 100 if loaded.experiment.example_name == "image" else 1000
    labels = conditions_of(loaded.experiment.num_classes, None, num)
    picture = picture_of(loaded.experiment, subject.sample_fn(0, labels, num), labels)
    return None if picture is None else to_png(picture)
