"""Numbers of examples: conditions in turn, first occurrences, and pairs of equal ones."""

import numpy as np

from aigc_jax.evaluation.examples import conditions_in_turn, first_occurrences, repeated_pairs


def test_conditions_in_turn_repeats_the_classes():
    assert conditions_in_turn(3, 4, 5).tolist() == [3, 4, 0, 1]
    assert conditions_in_turn(3, 4, None) is None


def test_first_occurrences_leaves_equal_examples_out():
    assert first_occurrences(np.array([[3], [1], [3], [2]])).tolist() == [0, 1, 3]
    assert first_occurrences(np.array([[0.0], [-0.0]])).tolist() == [0]


def test_repeated_pairs_counts_within_and_across_sets():
    assert repeated_pairs([np.array([[3], [1], [3]]), np.array([[3]])]) == 3
