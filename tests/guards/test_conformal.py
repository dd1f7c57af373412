"""Conformal answer sets miss the true answer as often as stated, for a good model and a bad one."""

import math

import numpy as np
import pytest
from scipy.stats import beta

from aigc_jax.guards.conformal import answer_sets
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
