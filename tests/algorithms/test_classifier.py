"""A classifier learns a separable problem."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import log_softmax

from aigc_jax.algorithms.classifier import classifier
from aigc_jax.nets.classifier import ConvClassifier


def test_classifier_learns_left_from_right_and_its_nll_matches_scipy():
    label = jnp.arange(32) % 2
    image = 0.3 * jax.random.normal(jax.random.key(0), (32, 8, 8, 1))
    image = image.at[:, :, :4].add(jnp.where(label == 0, 1.0, -1.0)[:, None, None, None])
    batch = {"example": image, "condition": label}
    algorithm = classifier(ConvClassifier(2, (4,), 8), optax.sgd(0.1), ema_decay=0.5)
    state, step = algorithm.init(jax.random.key(1), batch), jax.jit(algorithm.step)
    first = None
    for t in range(40):
        state, metrics = step(state, batch, jax.random.key(t))
        first = metrics if first is None else first
    assert metrics["classifier/loss"] < 0.4 * first["classifier/loss"]
    rows = algorithm.evaluate(state.variables, batch, jax.random.key(0))
    nll = -log_softmax(np.asarray(rows["logits"], np.float64), axis=1)[np.arange(32), label]
    np.testing.assert_allclose(rows["nll"], nll, rtol=1e-4, atol=1e-5)
    assert np.mean(rows["is_correct"]) == np.mean(np.argmax(rows["logits"], 1) == label) > 0.95
    assert set(algorithm.evaluate(state.variables, {"example": image}, jax.random.key(0))) == {"logits", "features"}
    assert algorithm.sample is None
