"""Experts of one kind are drawn from together; others are refused."""

import pytest

from aigc_jax.inference.experts import with_experts
from aigc_jax.runs import load_run
from aigc_jax.types import Conditions, UsageError


def test_experts_of_another_number_of_classes_are_refused(trained_run):
    experiment, _, _ = load_run(trained_run("gpt_docs"))
    classed = experiment._replace(conditions=Conditions(["bad", "good"]))
    with_experts(classed, classed, classed)
    with pytest.raises(UsageError, match="as many classes as the run, got 0, 2"):
        with_experts(classed, experiment, experiment)
