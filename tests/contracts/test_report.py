"""The report works for every generative method, with reasons for missing measurements."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.text import Texts as Documents
from aigc_jax.data.text import text_data
from aigc_jax.evaluation.evaluate import evaluate
from aigc_jax.evaluation.from_run import LoadedRun, evaluated_model
from aigc_jax.evaluation.judge import classifier_judge, no_judge
from aigc_jax.evaluation.section import Settings
from aigc_jax.report.html.page import to_html
from aigc_jax.report.measurements import CRITERION_TITLES, MEASUREMENTS
from aigc_jax.report.schema import to_json
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Conditions, Data, Experiment

from .table import GENERATIVE, NUM_CLASSES, ROWS, SHAPE, TOKENIZER, plain_run

NUM = 128  # more than a block, though some are equal
WEIGHTS = np.random.default_rng(0).normal(size=(64, NUM_CLASSES)).astype(np.float32)


def source(seed):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, size=(3 * NUM, *SHAPE), dtype=np.uint8)
    return ArraySource(images, generator.integers(0, NUM_CLASSES, size=len(images)).astype(np.int32))


def encode(images):
    logits = images.reshape(len(images), -1) @ WEIGHTS
    return {"logits": logits, "features": np.tanh(logits)}


DATA = Data("noise", source(0), source(1), [str(i) for i in range(NUM_CLASSES)])


def letters(seed):
    """A document of words of two letters."""
    return " ".join("".join(pair) for pair in np.random.default_rng(seed).choice(list("abcd"), (1000, 2)))


TEXT = text_data(Documents("letters", [letters(0)], [letters(1)]), TOKENIZER, 6)


# One row of each method: the report knows no more of a row than that.
NAMES_OF_ONE = {row.factory: name for name, row in reversed(ROWS.items()) if name in GENERATIVE}


@pytest.mark.parametrize("name", NAMES_OF_ONE.values())
def test_report_of_every_method_is_complete(name, monkeypatch):
    monkeypatch.setattr("aigc_jax.evaluation.trust.doubt", lambda *given: "")  # the judge has learned nothing
    run, row = plain_run(name), ROWS[name]
    is_text = row.modality.texts is not None
    data = TEXT if is_text else DATA
    spec = {"example": jax.ShapeDtypeStruct((row.batch_size, *row.shape), jnp.int32 if is_text else jnp.float32)}
    num_classes = row.num_classes or None
    conditions = None if num_classes is None else Conditions(DATA.class_names)
    experiment = Experiment(run.algorithm, lambda: data, spec, row.modality, conditions)
    loaded = LoadedRun(Path("nowhere"), experiment, TrainConfig(), run.states[-1].variables, None)
    model = evaluated_model(loaded)
    sweeps = [sweep._replace(variants=sweep.variants[:1]) for sweep in model.sweeps[:1]]
    model = model._replace(replications=model.replications[:1], sweeps=sweeps)
    settings = Settings(NUM, num_detected=NUM, num_swept=NUM)
    judge = classifier_judge("a classifier", encode, DATA.class_names)
    judge = no_judge(row.modality, "letters have no classes") if is_text else judge
    report, per_sample, _ = evaluate(model=model, judge=judge, data=data, settings=settings)
    assert [criterion.name for criterion in report.criteria] == list(CRITERION_TITLES)
    # So few samples decide nothing but what one case would decide; samples of four letters do repeat each other.
    assert report.criterion("consistent").state == ("fail" if is_text else "undecided")
    assert report.criterion("consistent").checks[0].state == "pass"
    followed = report.criterion("follows_condition")
    assert (followed.state is None, followed.is_applicable) == (num_classes is None, num_classes is not None)
    names = {row.name for row in report.measurements}
    assert names <= set(MEASUREMENTS)
    # Each measurement is there, or left out with a reason.
    expected = {"half_precision", "manifold_precision", "coverage"}
    assert names >= ({"longest_match", "repeated_ngrams", "distinct_ngrams"} if is_text else expected)
    # All texts of five letters occur in the training text.
    assert "copied_samples" in (report.left_out if is_text else names)
    assert all(reason for reason in report.left_out.values())
    missing = set(MEASUREMENTS) - names - set(report.left_out) - {"unseen_combinations", "accuracy_from_samples"}
    assert missing <= {"worst_class", "classifier_accuracy", "accuracy_on_samples", "seed_consistency"}
    scored = {name for name in per_sample if name.startswith("score/")}
    # Without a judge nothing says which samples a detector should find.
    assert is_text or {f"score/{name}" for name in run.algorithm.detectors} <= scored
    json.dumps(to_json(report), allow_nan=False)
    assert "Not copied" in to_html(report, title=name)
