"""Conformal answer sets miss the true answer as often as stated, for a good model and a bad one."""

import math

import numpy as np
import pytest
from scipy.stats import beta

from aigc_jax.guards.conformal import answer_sets, control_mean_loss
from aigc_jax.types import UsageError


def questions(num, rng, *, sharpness):
    """Probabilities of five candidates [num, 5], and the true one: drawn from them only if sharpness is 1."""
    own = rng.dirichlet(np.ones(5), size=num)
    believed = own**sharpness / np.sum(own**sharpness, axis=1, keepdims=True)
    return believed, np.array([rng.choice(5, p=row) for row in own])


@pytest.mark.parametrize("sharpness", [1.0, 8.0])
def test_answer_sets_hold_the_truth_as_often_as_stated(sharpness, rng):
    """The coverage given the calibrating questions has a beta distribution (Vovk 2012), whatever the model."""
    alpha, num = 0.1, 199
    level = 1 - math.floor(alpha * (num + 1)) / (num + 1)
    held = []
    for _ in range(100):
        believed, truth = questions(num, rng, sharpness=sharpness)
        found = answer_sets(believed[np.arange(num), truth], alpha)
        believed, truth = questions(500, rng, sharpness=sharpness)
        held.append(found.sets(believed)[np.arange(500), truth].mean())
    k = math.floor(alpha * (num + 1))
    spread = math.sqrt((beta(num + 1 - k, k).var() + level * (1 - level) / 500) / 100)
    assert abs(np.mean(held) - level) < 4 * spread


def test_answer_sets_of_too_few_questions_hold_all():
    found = answer_sets(np.full(8, 0.9), alpha=0.1)  # 9 are needed
    assert found.sets(np.array([[0.0, 1.0]])).all()
    assert answer_sets(np.full(9, 0.9), alpha=0.1).threshold == 0.9


def test_answer_sets_count_a_missing_number_as_a_miss():
    found = answer_sets(np.array([np.nan, *np.linspace(0.5, 1.0, 18)]), alpha=0.1)
    assert found.threshold == 0.5  # the second smallest: NaN is below it
    assert found.sets(np.array([[np.nan, 0.1]])).tolist() == [[True, False]]


def test_answer_sets_of_tied_probabilities_miss_no_more_than_stated():
    """All ties are in or out together: of 20 equal ones all are in."""
    found = answer_sets(np.repeat([0.2, 0.6], 10), alpha=0.2)
    assert found.threshold == 0.2
    assert found.sets(np.array([[0.2, 0.6, 0.1]])).tolist() == [[True, True, False]]


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
def test_answer_sets_refuse_a_share_out_of_range(alpha):
    with pytest.raises(UsageError, match="alpha in"):
        answer_sets(np.ones(5), alpha)


def test_answer_sets_are_exact_at_each_rank():
    """Of n + 1 exchangeable questions the new one is as likely at each rank: misses are k of n + 1."""
    num, alpha = 49, 0.1
    values = np.random.default_rng(0).permutation(num + 1) / 100
    misses = sum(
        not answer_sets(np.delete(values, i), alpha).sets(values[i : i + 1][None]).item() for i in range(num + 1)
    )
    assert misses == 5


def graded(rng, num):
    """Scores, and losses that rise with them in part: in the mean (0.1 + 0.4 u) / 2 at the score u."""
    scores = rng.uniform(size=num)
    return scores, rng.uniform(size=num) * (0.1 + 0.4 * scores)


def test_mean_loss_is_controlled_in_expectation_and_hardly_below(rng):
    alpha = 0.05
    found = [control_mean_loss(*graded(rng, 200), alpha) for _ in range(400)]
    values = np.array([each.value for each in found])
    # E [loss; score <= v] = integral of (0.1 + 0.4 u) / 2 from 0 to v.
    expected = 0.05 * values + 0.1 * values**2
    error = expected.std() / np.sqrt(len(found))
    # By theorem 2 of the paper at most 2 / (n + 1) below.
    assert alpha - 2 / 201 - 4 * error < expected.mean() < alpha + 4 * error
    for each, share in zip(found[:5], values, strict=False):
        assert each.acceptance == pytest.approx(share, abs=0.15)


def test_mean_loss_without_enough_labels_accepts_nothing():
    found = control_mean_loss(np.arange(10.0), np.full(10, 0.5), 0.05)
    assert not found.is_certified
    assert not found.accepts(np.arange(3.0)).any()
    assert "takes 19 labelled samples or more" in found.guarantee
    assert control_mean_loss(np.arange(19.0), np.zeros(19), 0.05).value == 18.0


def test_mean_loss_of_ties_and_of_scores_that_are_no_numbers():
    found = control_mean_loss(np.array([1.0] * 50 + [2.0] * 50 + [np.nan] * 100), np.tile([0.0, 0.2], 100), 0.05)
    # 5 + 1 of 201 at the score 1, 11 at 2.
    assert (found.value, found.acceptance, found.risk) == (1.0, 0.25, pytest.approx(5 / 200))
    assert found.accepts(np.array([1.0, 1.1, np.nan])).tolist() == [True, False, False]


@pytest.mark.parametrize(("losses", "alpha"), [([], 0.1), ([1.5], 0.1), ([np.nan], 0.1), ([0.5], 0.0), ([0.5], 1.0)])
def test_mean_loss_of_impossible_inputs_is_one_line(losses, alpha):
    with pytest.raises(UsageError) as caught:
        control_mean_loss(np.zeros(len(losses)), np.array(losses, np.float64), alpha)
    assert "\n" not in str(caught.value)
