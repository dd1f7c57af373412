"""Choices of the VAE configs: each likelihood builds, and the schedule of iwae_mnist is the paper's."""

import dataclasses

import jax
import numpy as np
import pytest

from aigc_jax.configs import iwae_mnist, vae_mnist
from aigc_jax.train.loop import abstract_state

pytestmark = pytest.mark.standard_promotion


@pytest.mark.one_case
@pytest.mark.parametrize("kind", ["gaussian", "discretized_logistic", "bernoulli"])
@pytest.mark.parametrize("std", [None, 0.2])
def test_every_likelihood_of_vae_mnist_builds(kind, std):
    likelihood = vae_mnist.Likelihood(kind=kind, std=std)
    config = vae_mnist.Config(likelihood=likelihood, widths=(4, 4), parallel="jit")
    experiment = vae_mnist.build(config)
    params = abstract_state(experiment).params
    # The last sub-pixel convolution: four pixels of one colour.
    num_outputs = 2 if std is None and kind != "bernoulli" else 1
    shapes = [leaf.shape for leaf in jax.tree.leaves(params["vae"]["decoder"])]
    assert (3, 3, 4, 4 * num_outputs) in shapes
    rows = jax.eval_shape(
        experiment.algorithm.evaluate, {"params": params, "model_state": {}}, experiment.batch_spec, jax.random.key(0)
    )
    assert ("bits_per_dim" in rows) == (kind != "gaussian")


def test_the_papers_schedule():
    config = iwae_mnist.Config()
    assert config.steps == 3280 * 60_000 // config.batch_size
    rate = iwae_mnist._schedule(config)
    begin = 0
    for i in range(8):  # 3^i passes over 60,000 images at 0.001 * 10^(-i / 7)
        end = begin + 3**i * 60_000 // config.batch_size
        for step in (begin, end - 1):
            np.testing.assert_allclose(rate(step), 1e-3 * 10 ** (-i / 7), rtol=1e-5)
        begin = end
    assert begin == config.steps
    for steps in (1, 2, 50):  # however few: it ends at a tenth
        few = iwae_mnist._schedule(dataclasses.replace(config, steps=steps))
        np.testing.assert_allclose(few(steps), 1e-4, rtol=1e-5)


def test_the_cosine_ends_at_a_fiftieth():
    rate = iwae_mnist._schedule(iwae_mnist.Config(schedule="cosine", steps=100))
    np.testing.assert_allclose([rate(0), rate(100)], [1e-3, 2e-5], rtol=1e-4)
