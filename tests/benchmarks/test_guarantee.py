"""The simulation of the guarantee: kept by calibration, broken without it."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.guarantee import certified_threshold, observed_threshold, population, shifted, simulate


def test_the_guarantee_is_kept_and_a_threshold_by_eye_breaks_it():
    source = shifted("good detector", 3.5, 0.05)
    row = simulate(source, 1000, 0.015, 0.05, certified_threshold, num_sets=100)
    assert row.certified > 90
    assert row.broken <= binom.ppf(0.999, 100, 0.05)
    assert simulate(source, 1000, 0.015, 0.05, observed_threshold, num_sets=100).broken > 25


def test_sources_know_their_risk(rng):
    source = shifted("fair", 2.0, 0.1)
    scores, truth = source.draw(rng, 200_000)
    for value in (-1.0, 0.0, 2.0):
        passed = scores <= value
        assert source.acceptance(value) == pytest.approx(passed.mean(), abs=4 * 0.5 / 200_000**0.5)
        assert source.risk(value) == pytest.approx(truth[passed].mean(), abs=4 * 0.3 / passed.sum() ** 0.5)
        own = population("own", scores, truth)
        assert own.risk(value) == pytest.approx(truth[passed].mean())
        assert own.acceptance(value) == pytest.approx(passed.mean())
    assert own.risk(np.inf) == pytest.approx(truth.mean())
