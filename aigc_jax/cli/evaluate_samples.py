"""``aigc-jax evaluate --samples``: the report of samples that any library made."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
import sys
import time

from aigc_jax.cli.arguments import EvaluateSamples
from aigc_jax.cli.evaluate import check_measured, print_report, tool_facts, with_samples
from aigc_jax.data.files import visible
from aigc_jax.data.fingerprint import fingerprint
from aigc_jax.data.sources import open_data
from aigc_jax.evaluation.from_samples import GivenSamples, evaluate_samples, read_samples, with_classes
from aigc_jax.report.gates import Gates, read_gates
from aigc_jax.runs import option_words
from aigc_jax.types import Data


def evaluate_given_samples(arguments: EvaluateSamples) -> int:
    """Measure samples, write their report, print its measurements, and check its gates."""
    begin = time.perf_counter()
    check_measured(arguments)
    gates = read_gates(arguments.gate) if arguments.gate else Gates()
    samples = read_samples(arguments.samples)
    shape = samples.images.shape[1:]
    data = _open(arguments, arguments.reference, shape)
    samples = with_classes(samples, data.class_names, title=visible(str(arguments.samples)))
    if arguments.train not in (None, arguments.reference):
        data = data._replace(train=_open(arguments, str(arguments.train), shape).train)
    evaluation = evaluate_samples(
        samples,
        data,
        knows_training=arguments.train is not None,
        num_samples=arguments.num_samples,
        min_judge_accuracy=arguments.judge_accuracy,
        has_second_opinion=not arguments.single_judge,
        judge=arguments.judge,
        gates=gates,
    )
    facts = {**evaluation.report.facts, **_facts(arguments, samples, data, time.perf_counter() - begin)}
    report, grid = with_samples(evaluation.report._replace(facts=facts), evaluation.samples, data)
    folder = arguments.out or arguments.samples.with_name(f"{arguments.samples.stem}_report")
    return print_report(report, grid, evaluation.per_sample, gates, run=arguments.samples, folder=folder)


def _open(arguments: EvaluateSamples, name: str, shape: tuple[int, ...]) -> Data:
    height, width, channels = shape
    print(f"evaluate: opening {visible(name)}", file=sys.stderr)
    return open_data(name, data_dir=arguments.data_dir, image_shape=(height, width, channels), num_classes=None)


def _facts(arguments: EvaluateSamples, samples: GivenSamples, data: Data, seconds: float) -> dict[str, str]:
    own = {field.name: field.default for field in dataclasses.fields(arguments)}
    values = {name: getattr(arguments, name) for name in own}
    options = {name: value for name, value in values.items() if value != own[name]}
    return {
        "samples": f"{visible(str(arguments.samples))}, {len(samples.images)} of {list(samples.images.shape[1:])}",
        "samples checksum": hashlib.sha256(samples.images.tobytes()).hexdigest()[:12],
        "data checksum": fingerprint(data).checksum[:12],
        **tool_facts(),
        "command": visible(shlex.join(["aigc-jax", "evaluate", *option_words(options)])),
        "duration": f"{seconds:.0f} s",
    }
