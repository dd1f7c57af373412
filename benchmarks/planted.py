"""Planted faults on real MNIST digits: each must fail its own criterion of the report, and a perfect sampler none.

The perfect sampler draws real digits that neither the training nor the held-out examples contain: three disjoint random
parts of the 60,000 training images of MNIST, so that nothing but chance tells them apart.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aigc_jax.data.arrays import ArraySource, take
from aigc_jax.data.images import to_float
from aigc_jax.data.sources import open_data
from aigc_jax.evaluation.classifiers import load_classifier
from aigc_jax.evaluation.evaluate import evaluate
from aigc_jax.evaluation.judge import classifier_judge, with_second_opinion
from aigc_jax.evaluation.model import EvaluatedModel, Replication, Sampler
from aigc_jax.evaluation.section import Settings
from aigc_jax.report.schema import Report
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Data

NUM_TRAIN, NUM_HELD_OUT, NUM_CLASSES = 20_000, 5_000, 10


def register(commands: Any) -> None:
    """Add the command ``planted`` to a parser's subcommands."""
    parser = commands.add_parser("planted", help="planted faults fail their own criterion", description=__doc__)
    parser.add_argument("--data-dir", default=None, help="where tfds:mnist lies")
    parser.add_argument("--num-samples", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=None, help="a .json file for the figures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate every planted sampler, and print which criteria fail; 1 where one is wrong."""
    config = TrainConfig(data="tfds:mnist", data_dir=args.data_dir)
    mnist = open_data(config.data, data_dir=args.data_dir, image_shape=(28, 28, 1), num_classes=NUM_CLASSES)
    first, second = (load_classifier(name, config, mnist) for name in ("classifier_digits", "mixer_digits"))
    judge = classifier_judge(first.name, first.encode_fn, mnist.class_names)
    judge = with_second_opinion(judge, second.name, second.encode_fn)
    data, pool = _parts(mnist)
    rows = {}
    for title, (sampler, num_classes, expected) in _samplers(data, pool).items():
        model = EvaluatedModel(sampler, num_classes, replications=[Replication("once more", sampler)])
        settings = Settings(args.num_samples, num_detected=0, num_swept=0)
        report = evaluate(model=model, judge=judge, data=data, settings=settings).report
        rows[title] = {"failed": _failed(report), "expected": expected, "checks": _checks(report)}
        print(
            f"{title:42} failed: {', '.join(_failed(report)) or 'none':30} expected: {', '.join(expected) or 'none'}",
            flush=True,
        )
    if args.out is not None:
        args.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["failed"] == row["expected"] for row in rows.values()) else 1


def _parts(mnist: Data) -> tuple[Data, dict[str, np.ndarray]]:
    """Training and held-out examples, and the pool of real digits that samplers draw from."""
    order = np.random.default_rng(0).permutation(len(mnist.train))
    ends = [NUM_TRAIN, NUM_TRAIN + NUM_HELD_OUT]
    train, held_out, pool = (take(mnist.train, np.sort(part)) for part in np.split(order, ends))
    ours, real = (ArraySource(part["image"], part["label"]) for part in (train, held_out))
    return Data("tfds:mnist in parts", ours, real, mnist.class_names), pool


def _samplers(data: Data, pool: dict[str, np.ndarray]) -> dict[str, tuple[Sampler, int | None, list[str]]]:
    """Each sampler, its number of conditions, and the criteria that should fail."""
    images, labels = to_float(pool["image"]), pool["label"]
    shuffled = np.random.default_rng(1).permutation(len(images))
    by_class = [shuffled[labels[shuffled] == each] for each in range(NUM_CLASSES)]
    train = take(data.train, np.arange(len(data.train)))
    train_images = to_float(train["image"])
    train_by_class = [np.flatnonzero(train["label"] == each) for each in range(NUM_CLASSES)]
    kept = shuffled[labels[shuffled] < NUM_CLASSES - 2]

    def of_class(index: np.ndarray, condition: np.ndarray) -> np.ndarray:
        place = [by_class[c][i // NUM_CLASSES % len(by_class[c])] for i, c in zip(index, condition, strict=True)]
        return images[place]

    def sampler(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Sampler:
        def draw(start: int, condition: np.ndarray | None, num: int) -> np.ndarray:
            return change(np.arange(start, start + num), np.zeros(num, int) if condition is None else condition)

        return draw

    def copying(index: np.ndarray, condition: np.ndarray) -> np.ndarray:
        made = of_class(index, condition).copy()
        for row in np.flatnonzero(index // NUM_CLASSES % 20 == 0):
            made[row] = train_images[train_by_class[condition[row]][index[row] // NUM_CLASSES]]
        return made

    def ignoring(index: np.ndarray, condition: np.ndarray) -> np.ndarray:
        made = of_class(index, condition).copy()
        # From the end of the shuffled pool, each digit once: nothing but the condition shall be wrong.
        for row in np.flatnonzero(index // NUM_CLASSES % 10 == 0):
            made[row] = images[shuffled[-1 - (index[row] // 100 * 10 + index[row] % 10)]]
        return made

    def reusing(index: np.ndarray, condition: np.ndarray) -> np.ndarray:
        return of_class(np.where(index // NUM_CLASSES % 20 == 1, index - NUM_CLASSES, index), condition)

    return {
        "perfect": (sampler(of_class), NUM_CLASSES, []),
        "perfect, unconditional": (sampler(lambda index, _: images[shuffled[index]]), None, []),
        "copies 5 % of its samples": (sampler(copying), NUM_CLASSES, ["not_copied"]),
        "drops two classes (unconditional)": (sampler(lambda index, _: images[kept[index]]), None, ["diverse"]),
        "ignores its condition 10 % of the time": (sampler(ignoring), NUM_CLASSES, ["follows_condition"]),
        "reuses a key for one sample in twenty": (sampler(reusing), NUM_CLASSES, ["consistent"]),
    }


def _failed(report: Report) -> list[str]:
    return [each.name for each in report.criteria if each.state == "fail"]


def _checks(report: Report) -> list[dict[str, object]]:
    return [
        {"criterion": criterion.name, **check._asdict()} for criterion in report.criteria for check in criterion.checks
    ]
