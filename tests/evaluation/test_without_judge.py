"""Evaluation without a judge: measurements that need none are made, the reason is given for all others."""

import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.images import IMAGE
from aigc_jax.evaluation.during_training import make_evaluate_fn
from aigc_jax.evaluation.evaluate import SECTIONS, evaluate
from aigc_jax.evaluation.judge import no_judge
from aigc_jax.evaluation.model import EvaluatedModel, Replication
from aigc_jax.evaluation.section import Settings
from aigc_jax.report.measurements import MEASUREMENTS
from aigc_jax.runs import load_run
from aigc_jax.types import Data

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (150, 6, 6, 1)).astype(np.uint8)
DATA = Data("noise", ArraySource(IMAGES[:100]), ArraySource(IMAGES[100:]), ())


def sample(start, condition, num):
    return RNG.spawn(1)[0].uniform(-1, 1, (num, 6, 6, 1)).astype(np.float32)


def copies(start, condition, num):
    return IMAGE.load(IMAGES[np.arange(start, start + num) % 100])


def report_of(sample_fn):
    model = EvaluatedModel(sample_fn, replications=[Replication("once more", sample_fn)])
    stages = []
    settings = Settings(80, num_detected=20, num_swept=0)
    judge = no_judge(IMAGE, "noise has no classes")
    report = evaluate(model=model, judge=judge, data=DATA, settings=settings, on_progress=stages.append).report
    assert len(stages) == len(SECTIONS) + 1
    return report


def test_evaluation_without_a_judge_measures_repeats_and_copies():
    report = report_of(copies)
    assert report.find("repeatability").value == 1
    assert report.find("authenticity").value == 0  # each sample is a training example
    left_out = {name: reason for name, reason in report.left_out.items() if name in MEASUREMENTS}
    assert set(left_out) | {row.name for row in report.measurements} >= {
        "manifold_precision",
        "class_agreement",
        "coverage",
        "frechet_distance",
        "vendi_score",
    }
    for name in ("manifold_precision", "coverage", "frechet_distance", "vendi_score", "inception_score"):
        assert left_out[name] == "noise has no classes"
    assert report.left_out["detectors"] == "noise has no classes"
    # 80 samples repeat nothing, and are too few to show that 1,000 would not.
    assert [criterion.state for criterion in report.criteria] == [None, None, "undecided", None, None]
    assert [check.state for check in report.criterion("consistent").checks] == ["pass", "undecided"]


def test_evaluation_without_a_judge_notices_samples_that_change():
    assert report_of(sample).criterion("consistent").state == "fail"


@pytest.mark.standard_promotion
def test_evaluation_during_training_without_labels_uses_the_models_own(trained_run):
    experiment, config, variables = load_run(trained_run("vae_digits"))
    data = experiment.open_data()._replace(class_names=())
    found = make_evaluate_fn(experiment, config, data)(variables, 2)
    assert np.isfinite(found["eval/nll"])
