"""Means of likelihoods, and their lines for a terminal."""

import numpy as np
import pytest

from aigc_jax.evaluation.likelihood import likelihood_lines, mean_rows


def test_mean_rows_gives_means_and_perplexity():
    assert mean_rows({"nll": np.array([1.0, 3.0])})["nll"].value == 2.0
    rows = mean_rows({"nll": 4 * np.log([8.0, 8.0]), "num_tokens": np.array([4, 4])})
    assert rows["perplexity"].value == pytest.approx(8.0)


def test_likelihood_lines_print_the_interval():
    (line,) = likelihood_lines(mean_rows({"nll": np.array([90.0, 92.0, 91.0])}))
    assert line == "nll           91.00 nats per example  (95 % interval 89.87 to 92.13, n = 3)"
