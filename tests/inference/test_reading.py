"""Attributes by trained models, and samples guided by them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.inference.reading import guided_by_rule, trained_reader
from aigc_jax.losses.semantic import semantic_loss
from aigc_jax.rules.circuit import circuit
from aigc_jax.rules.formula import formula
from aigc_jax.runs import load_run
from aigc_jax.types import UsageError


def test_readers_give_log_probabilities_of_attributes_and_of_classes(trained_runs):
    images = jnp.linspace(-1.0, 1.0, 2 * 28 * 28).reshape(2, 28, 28, 1)
    for name, sizes in (
        ("attribute_reader", dict.fromkeys(("top_left", "top_right", "bottom_left", "bottom_right"), 10)),
        ("classifier_digits", {"label": 10}),
    ):
        experiment, _, variables = load_run(trained_runs(name))
        reader = trained_reader(experiment, variables)
        assert {name: len(values) for name, values in reader.attributes.items()} == sizes
        found = reader.log_probs(images)
        assert {name: values.shape for name, values in found.items()} == {name: (2, n) for name, n in sizes.items()}
        for values in found.values():
            np.testing.assert_allclose(jnp.exp(values).sum(axis=1), 1, rtol=1e-5)
    assert reader.attributes["label"] == tuple("0123456789")


def test_models_that_read_or_denoise_nothing_are_refused(trained_runs):
    experiment, _, variables = load_run(trained_runs("flow_sums"))
    with pytest.raises(UsageError, match="reader of attributes or of a classifier"):
        trained_reader(experiment, variables)
    other, _, own = load_run(trained_runs("attribute_reader"))
    reader = trained_reader(other, own)
    with pytest.raises(UsageError, match="denoises no examples"):
        guided_by_rule(other, reader, circuit(formula("top_left == 3", reader.attributes)), 1.0)


def test_guidance_draws_towards_what_the_reader_takes_for_the_rule(trained_runs):
    experiment, _, variables = load_run(trained_runs("flow_sums"))
    other, _, own = load_run(trained_runs("attribute_reader"))
    reader = trained_reader(other, own)
    rule = circuit(formula("sum(top) == 3 and bottom_left == 7", reader.attributes, reader.groups))
    energies = {}
    for scale in (0.0, 20.0):
        sample = jax.jit(guided_by_rule(experiment, reader, rule, scale).algorithm.sample, static_argnums=2)
        drawn = sample(variables, jax.random.key(0), 8, None)
        energies[scale] = np.asarray(semantic_loss(rule, reader.log_probs(drawn)))
        if not scale:
            plain = jax.jit(experiment.algorithm.sample, static_argnums=2)(variables, jax.random.key(0), 8, None)
            np.testing.assert_allclose(drawn, plain, atol=1e-5)
    assert energies[20.0].mean() < energies[0.0].mean() - 0.5
