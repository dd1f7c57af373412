"""The command ``aigc-jax calibrate``: labels samples of a run, and writes a guard whose filter has a guarantee."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import numpy as np

from aigc_jax.cli.arguments import Calibrate
from aigc_jax.cli.common import condition_number, names_of
from aigc_jax.data.files import read_text, unreadable, visible
from aigc_jax.evaluation.calibrating import Calibrated, calibrated, distribution, title_of_unreliable, unreliable
from aigc_jax.evaluation.certificate import weights_digest
from aigc_jax.evaluation.classifiers import load_judge
from aigc_jax.evaluation.detectors import all_scores, typical_of
from aigc_jax.evaluation.evaluate import collect_evidence
from aigc_jax.evaluation.from_run import LoadedRun, load_for_evaluation, scored_model
from aigc_jax.evaluation.guard_file import FILE, GuardRecord, quantiles, write_guard
from aigc_jax.evaluation.section import Evidence, Settings
from aigc_jax.guards.calibration import DESIGN, Threshold, min_accepted
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.train.run_dir import checkpoint_steps, read_run
from aigc_jax.types import UsageError

JUDGES = ("world", "classifier")

_LEAST = 1e-9
"""Least risk and doubt."""

MAX_LABELLED = 1_000_000
"""Samples that are drawn to be labelled, at most."""


def calibrate(arguments: Calibrate) -> int:
    """Label samples of a run by a judge, choose its best detector, and certify a threshold."""
    _check(arguments)
    labels = None if arguments.judge in (None, *JUDGES) else _read_labels(Path(arguments.judge))
    loaded = load_for_evaluation(
        arguments.run,
        checkpoint=arguments.checkpoint,
        config_file=arguments.config,
        data=arguments.data,
        data_dir=arguments.data_dir,
        overrides={"sampling": arguments.overrides},
        seed=arguments.seed,
    )
    evidence = labelled_evidence(arguments, loaded, num=arguments.num if labels is None else int(labels[0].max()) + 1)
    title = (
        title_of_unreliable(evidence) if labels is None else f"samples that {Path(arguments.judge or '').name} marks"
    )
    scores = all_scores(evidence, evidence.samples.num)
    if labels is None:
        grades = unreliable(evidence).astype(np.float64)
    else:
        scores, grades = {name: values[labels[0]] for name, values in scores.items()}, labels[1]
    delta = 1 - arguments.confidence
    found = calibrated(scores, grades, detector=arguments.detector, risk=arguments.risk, delta=delta)
    record = _record(arguments, loaded, evidence, found, scores[found.detector], title)
    out = arguments.out or arguments.run / FILE
    write_guard(out, record)
    print("\n".join(_report(record, found, grades)))
    option = "" if arguments.out is None else f" {visible(str(out))}"
    print(f"wrote {visible(str(out))}: aigc-jax sample {visible(str(arguments.run))} --guard{option}")
    return 0


def _check(arguments: Calibrate) -> None:
    for name, value in (("--risk", arguments.risk), ("--confidence", arguments.confidence)):
        if not _LEAST <= value <= 1 - _LEAST:
            usual = "0.01 lets one in a hundred pass" if name == "--risk" else "0.95 is usual"
            raise UsageError(f"expected {name} in (0, 1), got {value:g}: {usual}")
    if not 1 <= arguments.num <= MAX_LABELLED:
        raise UsageError(
            f"expected --num of 1 to {MAX_LABELLED:,} samples to label, got {arguments.num}: 5000 is usual"
        )
    if arguments.judge not in (None, *JUDGES) and Path(arguments.judge).suffix != ".csv":
        raise UsageError(
            f"expected --judge world, classifier or a .csv file of labels; got {visible(arguments.judge)!r}"
        )
    least = min_accepted(arguments.risk, 1 - arguments.confidence)
    if arguments.num < (needed := -int(-least // (1 - DESIGN))) and arguments.judge in (None, *JUDGES):
        raise UsageError(
            f"{arguments.num} labelled samples cannot certify a risk of {100 * arguments.risk:g} %: --num {needed} or "
            f"more, of which {least} are accepted without a violation, or a larger --risk"
        )


def labelled_evidence(arguments: Calibrate, loaded: LoadedRun, *, num: int) -> Evidence:
    """The samples to label, with the predictions of the judge that the command names."""
    experiment = loaded.experiment
    if arguments.judge == "world" and experiment.world is None:
        raise UsageError("got --judge world, but the data of this run are no world: --judge classifier, or a .csv file")
    if arguments.judge == "classifier":
        experiment = experiment._replace(world=None)
    data = experiment.open_data()
    judge = load_judge(experiment, loaded.config, data).judge
    model = scored_model(loaded)
    number = condition_number(experiment, arguments.condition)
    if number is not None:
        model = model._replace(conditions=np.full(num, number, np.int32))
    print(f"drawing {num} samples and their scores", file=sys.stderr, flush=True)
    return collect_evidence(model, judge, data, Settings(num_samples=num))


def _read_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of samples, and how unreliable each is, of a .csv file with rows ``id,0``, ``id,1`` or between."""
    advice = (
        "write rows of a sample's number and 1 for an unreliable one, 0 for the others; or --judge world, classifier"
    )
    grade = re.compile(r"[01]|[01]?\.[0-9]{1,17}")
    rows = [row for row in csv.reader(read_text(path, advice=advice).removeprefix("\ufeff").splitlines()) if row]
    try:
        is_header = bool(rows) and not rows[0][0].strip().isdigit() and not grade.fullmatch(rows[0][-1].strip())
        rows = rows[1:] if is_header else rows
        if not rows:
            raise ValueError("no labels")
        for number, row in enumerate(rows, 1):
            if len(row) != 2 or not row[0].strip().isascii() or not row[0].strip().isdigit():
                raise ValueError(f"label {number} is not of the form id,0 or id,1")
            if int(row[0][:20]) >= MAX_LABELLED or not grade.fullmatch(row[1].strip()) or float(row[1]) > 1:
                raise ValueError(f"label {number} is not of an id below {MAX_LABELLED:,} and a grade from 0 to 1")
        ids = np.array([int(row[0]) for row in rows])
        if len(np.unique(ids)) < len(ids):
            raise ValueError("a sample has two labels")
    except (ValueError, csv.Error) as error:
        raise unreadable(path, error, advice) from error
    return ids, np.array([float(row[1]) for row in rows])


def _record(
    arguments: Calibrate,
    loaded: LoadedRun,
    evidence: Evidence,
    found: Calibrated,
    scores: np.ndarray,
    title: str,
) -> GuardRecord:
    steps = checkpoint_steps(arguments.run)
    by_name = {each.name: each for each in evidence.model.detectors}
    number = condition_number(loaded.experiment, arguments.condition)
    return GuardRecord(
        config=read_run(arguments.run).config,
        checkpoint=str(steps[-1]) if arguments.checkpoint == "latest" else arguments.checkpoint,
        weights=weights_digest(loaded.variables),
        seed=arguments.seed,
        sampling=distribution(loaded.config, None if number is None else names_of(loaded.experiment)[number]),
        judge=evidence.judge.name if arguments.judge in (None, *JUDGES) else Path(arguments.judge).name,
        by_classifier=arguments.judge == "classifier",
        unreliable=title,
        detector=found.detector,
        typical=typical_of(evidence, by_name[found.detector]) if found.detector in by_name else None,
        threshold=found.threshold,
        quantiles=quantiles(scores),
    )


def _report(record: GuardRecord, found: Calibrated, grades: np.ndarray) -> list[str]:
    """Risk without a guard, detectors, and the guarantee, in lines."""
    num, num_bad, of = len(grades), int(grades.sum()), found.threshold
    if isinstance(of, Threshold):
        low, high = clopper_pearson(num_bad, num)
        lines = [f"{num_bad} of {num} are {record.unreliable}: {num_bad / num:.2%} ({low:.2%} to {high:.2%})"]
        kept = f"{of.acceptance:.1%} of the {of.num_tested} samples that certify, {of.risk:.3%} of those unreliable"
    else:
        lines = [f"mean grade of {num} samples by {record.judge}: {grades.mean():.3g}"]
        kept = f"{of.acceptance:.1%} of the {of.n} samples that certify, mean grade {of.risk:.3g} with 0 of the others"
    width = max(map(len, found.assessed))
    for name, each in sorted(found.assessed.items(), key=lambda item: -item[1].auc.value):
        chosen = "  <- chosen" if name == found.detector else ""
        area = f"AUC {each.auc.value:.3f} ({each.auc.low:.3f} to {each.auc.high:.3f})"
        lines.append(f"  {name:{width}}  {area}  {each.verdict}{chosen}")
    lines.append(f"accepted: {kept}")
    return [*lines, record.guarantee]
