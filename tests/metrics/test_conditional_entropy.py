"""Entropy given a condition: closed forms, and intervals that cover the truth in simulations."""

import numpy as np
import pytest

from aigc_jax.metrics.agreement import clopper_pearson
from aigc_jax.metrics.conditional_entropy import conditional_entropy
from aigc_jax.types import UsageError

LAWS = {
    "equal": np.full(3, 1 / 3),
    "unequal": np.array([0.5, 0.3, 0.15, 0.05]),
    "many equal": np.full(40, 1 / 40),
}


@pytest.mark.parametrize("name", LAWS)
def test_interval_covers_the_truth(name):
    law, rng, is_covered = LAWS[name], np.random.default_rng(0), []
    truth = -np.sum(law * np.log(law))
    for _ in range(300):
        found = conditional_entropy(rng.choice(len(law), 400, p=law), np.arange(400) % 2, len(law))
        is_covered.append(found.low <= truth <= found.high)
    assert np.mean(is_covered) >= 0.92


def test_conditions_count_the_same_and_are_kept_apart():
    condition = np.repeat([0, 1], [1000, 10])
    found = conditional_entropy(np.where(condition == 1, 3, np.arange(1010) % 2), condition, 4)
    assert found.per_condition == pytest.approx([np.log(2) + 1 / 2000, 0])
    assert found.value == pytest.approx(found.per_condition.mean())


def test_a_single_value_leaves_a_doubt():
    found = conditional_entropy(np.ones(50, int), np.arange(50) % 2, 2)
    assert (found.value, found.low) == (0, 0)
    share = clopper_pearson(50, 50)[0]
    assert found.high == pytest.approx(-share * np.log(share) - (1 - share) * np.log(1 - share))


def test_nothing_to_be_varied_is_refused():
    with pytest.raises(UsageError, match="2 values"):
        conditional_entropy(np.zeros(3, int), np.zeros(3, int), 1)
