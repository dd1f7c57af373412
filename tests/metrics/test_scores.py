"""The Inception-style score against torch-fidelity's numbers, closed forms and its own bounds."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.metrics.scores import inception_score
from aigc_jax.types import UsageError
from tests.metrics.examples import example_logits

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


@pytest.mark.parametrize("num_splits", [1, 7, 10])
def test_inception_score_agrees_with_torch_fidelity(num_splits):
    score = inception_score(example_logits(), num_splits=num_splits, seed=None)
    assert score.mean == pytest.approx(GOLDEN[f"inception_score_{num_splits}"][0], rel=1e-12)
    assert score.unsplit == pytest.approx(GOLDEN["inception_score_1"][0], rel=1e-12)


def test_inception_score_of_ten_classes_is_below_10_by_splits():
    # The handbook: 9.52 with 10 shuffled splits of 1000 samples.
    logits = 1e3 * np.eye(10)[np.random.RandomState(0).randint(0, 10, 1000)]
    score = inception_score(logits)
    assert score.mean == pytest.approx(9.52, abs=0.1)
    assert 9.9 < score.unsplit <= 10


def test_inception_score_shuffles_sorted_samples():
    logits = 1e3 * np.eye(10)[np.arange(1000) // 100]
    assert inception_score(logits, seed=None).mean == pytest.approx(1)
    assert inception_score(logits, seed=0).mean > 9
    assert inception_score(logits, seed=0) == inception_score(logits, seed=0) != inception_score(logits, seed=1)
    assert inception_score(logits).unsplit == pytest.approx(10)


def test_inception_score_of_uniform_predictions_and_of_one_class_is_1():
    assert inception_score(np.zeros((40, 5))).mean == pytest.approx(1)
    assert inception_score(1e3 * np.eye(5)[np.zeros(40, int)]).mean == pytest.approx(1)


def test_inception_score_of_two_kinds_is_the_closed_form():
    # Half are (p, 1 - p), half (1 - p, p): the marginal is even, so the score is 2 exp(-H(p)).
    p = 0.8
    logits = np.log(np.array([[p, 1 - p], [1 - p, p]] * 50))
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    score = inception_score(jnp.asarray(logits), seed=None)
    assert score.mean == pytest.approx(2 * np.exp(-entropy), rel=1e-6)


@pytest.mark.parametrize("num_splits", [0, 6])
def test_inception_score_refuses_impossible_splits(num_splits):
    with pytest.raises(UsageError, match="num_splits"):
        inception_score(np.zeros((5, 3)), num_splits=num_splits)
