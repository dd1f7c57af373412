"""Filters of ``aigc-jax sample``: samples that obey a rule and that pass the guards of a run."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aigc_jax.cli.arguments import Sample
from aigc_jax.cli.common import ids_of
from aigc_jax.data.files import visible
from aigc_jax.evaluation.attributes import RuleJudge, guarantee
from aigc_jax.evaluation.certificate import weights_digest
from aigc_jax.evaluation.classifiers import load_judge
from aigc_jax.evaluation.detectors import make_scorer
from aigc_jax.evaluation.evaluate import collect_evidence
from aigc_jax.evaluation.from_run import LoadedRun, scored_model
from aigc_jax.evaluation.guard_file import DRIFT_LEVEL, FILE, GuardRecord, drift, read_guard
from aigc_jax.evaluation.model import Scorer
from aigc_jax.evaluation.section import Evidence, Settings
from aigc_jax.guards.acceptance import Accepted, Guard, Guarded, first_accepted, guarded_by_all
from aigc_jax.guards.calibration import Threshold
from aigc_jax.guards.conformal import MeanLossThreshold
from aigc_jax.inference.sampling import BLOCK, SampleBlocksFn
from aigc_jax.progress import Progress
from aigc_jax.types import UsageError, Variables, WriteFn


class Filters(NamedTuple):
    """The filters of a command: a rule, guards, or both."""

    rule: RuleJudge | None = None
    guards: Sequence[GuardRecord] = ()
    files: Sequence[Path] = ()
    """Of the guards."""


def filters_of(arguments: Sample, rule: RuleJudge | None, variables: Variables) -> Filters | None:
    """The filters of a command, checked before anything is computed; None without any."""
    if rule is None and arguments.guard is None:
        return None
    if arguments.budget < 1:
        raise UsageError(f"expected --budget 1 or more, got {arguments.budget}: 50 is usual")
    if arguments.guard is not None and arguments.expert is not None:
        raise UsageError("got --guard with --expert, whose samples nothing calibrates: leave one of them out")
    files = [] if arguments.guard is None else list(arguments.guard) or [arguments.run / FILE]
    guards, weights = [read_guard(file) for file in files], weights_digest(variables)
    for file, record in zip(files, guards, strict=True):
        name = visible(str(file))
        if record.weights != weights:
            raise UsageError(
                f"{name} is of other weights (checkpoint {record.checkpoint} of a run of {record.config}): calibrate "
                "this run and checkpoint, or pass the --checkpoint that it is of"
            )
        if record.seed == arguments.seed:
            raise UsageError(
                f"{name} was calibrated on samples of seed {record.seed}, which are no evidence for themselves: pass "
                "another --seed"
            )
    return Filters(rule, guards, files)


def names_of_guards(arguments: Sample) -> dict[str, object]:
    """How files of guarded samples are named."""
    if arguments.guard is None:
        return {}
    return {"guard": "-".join(file.stem for file in arguments.guard) or "run"}


def write_kept(
    arguments: Sample,
    filters: Filters,
    draw: SampleBlocksFn,
    loaded: LoadedRun,
    condition: int | None,
    *,
    settings: Mapping[str, Any],
    write: WriteFn,
    out: Path,
    names: Sequence[str],
) -> int:
    """Write the first samples that pass all filters; 1 where a rule alone leaves too few within the budget.

    ``settings`` are those of the samples' distribution, to be compared with those of the calibration.
    """
    experiment, num, rule = loaded.experiment, arguments.num, filters.rule
    modality, ids = experiment.modality, ids_of(experiment, condition, num * arguments.budget)
    obeys = None if rule is None else functools.partial(_obeys, rule, modality.store)
    with Progress(num, "samples", "sample") as bar:
        found, guarded = _drawn(arguments, filters, draw, loaded, ids, obeys, bar.update)
    share, low, high = found.acceptance
    how = "obey the rule" if not filters.guards else "obey the rule and pass" if rule is not None else "pass the guard"
    passed = f"{found.num_passed} of {found.num_drawn} candidates {how} ({share:.1%}, {low:.1%} to {high:.1%})"
    if not len(found.places):
        raise UsageError(f"{passed}: nothing is written; raise --budget {arguments.budget}, or change the rule")
    samples = modality.store(found.samples)
    write(out, [samples], None if ids is None else ids[found.places], num=len(found.places), names=names)
    print(f"wrote {len(found.places)} samples to {out}\n{passed}")
    if rule is not None:
        print(guarantee(rule, found))
    if guarded is not None:
        _print_guarantee(filters, guarded, settings)
    if len(found.places) == num:
        return 0
    print(f"fewer than the {num} that --num asks for: raise --budget {arguments.budget}")
    return 1


def _obeys(rule: RuleJudge, store: Callable[[np.ndarray], np.ndarray], samples: np.ndarray) -> np.ndarray:
    return rule.obeys(store(samples))


def _drawn(
    arguments: Sample,
    filters: Filters,
    draw: SampleBlocksFn,
    loaded: LoadedRun,
    ids: np.ndarray | None,
    obeys: Callable[[np.ndarray], np.ndarray] | None,
    on_passed: Callable[[int], object],
) -> tuple[Accepted, Guarded | None]:
    """The samples that pass, and what the guards guarantee of them."""
    num, budget = arguments.num, arguments.budget
    if filters.guards:
        guards = [
            Guard(score_fn, each.threshold)
            for each, score_fn in zip(filters.guards, _scorers(filters, loaded), strict=True)
        ]
        sampler = guarded_by_all(draw, guards, accept=obeys, on_passed=on_passed, budget=budget, block_size=BLOCK)
        guarded = sampler(num, ids)
        return guarded.accepted, guarded
    assert obeys is not None

    def candidates(start: int, size: int) -> np.ndarray:
        return draw(start, None if ids is None else ids[start : start + size], size)

    def accept(samples: np.ndarray, start: int) -> np.ndarray:
        is_passed = obeys(samples)
        on_passed(int(is_passed.sum()))
        return is_passed

    return first_accepted(candidates, accept, num, max_draws=num * budget, block_size=BLOCK), None


def _scorers(filters: Filters, loaded: LoadedRun) -> list[Scorer]:
    model = scored_model(loaded)

    @functools.cache
    def evidence(by_classifier: bool) -> Evidence:
        experiment = loaded.experiment._replace(world=None) if by_classifier else loaded.experiment
        data = experiment.open_data()
        judge = load_judge(experiment, loaded.config, data).judge
        return collect_evidence(model, judge, data, Settings(num_samples=1))

    return [
        make_scorer(each.detector, each.typical, model, functools.partial(evidence, each.by_classifier))
        for each in filters.guards
    ]


def _print_guarantee(filters: Filters, guarded: Guarded, settings: Mapping[str, Any]) -> None:
    """The bound, and whether samples are those that it is about: warnings where they are not."""
    has_moved = False
    for record, file, scores in zip(filters.guards, filters.files, guarded.scores, strict=True):
        name = f"{visible(str(file))} ({record.detector})"
        changed = [key for key in {**record.sampling, **settings} if record.sampling.get(key) != settings.get(key)]
        for key in changed:
            then, now = (visible(str(each.get(key, "none")))[:60] for each in (record.sampling, settings))
            print(f"warning: since {name} was calibrated {key} went from {then} to {now}", file=sys.stderr)
        found = drift(record, scores)
        against = (
            f"p = {found.p_value:.2g} of {found.num} against those of the calibration; {found.acceptance:.1%} pass, "
            f"then {record.threshold.acceptance:.1%}"
        )
        if found.has_moved:
            print(f"warning: the scores of {name} have moved since then ({against})", file=sys.stderr)
        else:
            print(f"no sign that the scores of {name} have moved ({against}; alarm below {DRIFT_LEVEL:g})")
        has_moved |= found.has_moved or bool(changed)
    is_single = len(filters.guards) == 1 and filters.rule is None
    texts = [each.guarantee for each in filters.guards if is_single or isinstance(each.threshold, MeanLossThreshold)]
    texts += [] if is_single or math.isnan(guarded.bound) else [_union(filters, guarded)]
    for text in texts:
        print(f"{text}: not of these, which are drawn otherwise; calibrate again" if has_moved else text)


def _union(filters: Filters, guarded: Guarded) -> str:
    """The bound of several filters together."""
    counted = [each.unreliable for each in filters.guards if isinstance(each.threshold, Threshold)]
    what = "; or ".join(dict.fromkeys(counted))
    share, confidence = f"{100 * guarded.bound:.3g} %", f"{100 * (1 - guarded.delta):.4g} %"
    return f"with probability {confidence} at most {share} of those that pass all filters are {what} (union bound)"
