"""Token diffusion end to end: the estimated bound against exact entropies, conditions, guidance, bad input."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.algorithms.discrete_diffusion import TokenDenoiser, discrete_diffusion, spread_times
from aigc_jax.processes.discrete import CategoricalProcess, absorbing, uniform
from aigc_jax.rng import example_keys
from aigc_jax.samplers.discrete import TokenSampling
from aigc_jax.types import UsageError

LEVELS, NUM_CLASSES = 3, 2
SHAPE = (1, 2, 1)
TABLES = np.array(
    [
        [[0.30, 0.02, 0.05], [0.03, 0.25, 0.00], [0.05, 0.00, 0.30]],
        [[0.10, 0.20, 0.10], [0.02, 0.08, 0.10], [0.30, 0.05, 0.05]],
    ]
)


class ExactNet(nn.Module):
    """The exact belief of two tokens under a condition; where that is hidden, under both classes alike."""

    process: CategoricalProcess

    @nn.compact
    def __call__(self, x, noise_label, condition, *, keys=None):
        self.param("unused", nn.initializers.zeros, (1,))
        states = x.shape[-1]
        x_t = jnp.argmax(x.reshape(x.shape[0], 2, states), axis=-1).astype(jnp.int32)
        both = jnp.asarray(np.concatenate([TABLES, TABLES.mean(axis=0, keepdims=True)]), jnp.float32)
        table = both[jnp.full(x.shape[0], NUM_CLASSES) if condition is None else condition]
        likelihood = self.process.likelihood(x_t, noise_label)
        pairs = likelihood[:, 0, :, None] * likelihood[:, 1, None, :] * table
        belief = jnp.stack([pairs.sum(axis=2), pairs.sum(axis=1)], axis=1)
        return jnp.log(belief + 1e-30).reshape(*x.shape[:-1], LEVELS)


def build(process, **options):
    denoiser = TokenDenoiser(ExactNet(process), process, SHAPE, NUM_CLASSES)
    return discrete_diffusion(denoiser, tx=optax.sgd(0.1), **options)


def tokens_of(pairs):
    """Pairs of levels [N, 2] as examples."""
    return jnp.asarray(pairs, jnp.int32).reshape(-1, *SHAPE)


VARIABLES = {"params": {"denoiser": {"unused": jnp.zeros(1)}}, "model_state": {}}


@pytest.mark.parametrize("make", [absorbing, uniform])
def test_discrete_diffusion_evaluate_is_the_exact_nll_of_the_exact_denoiser(make):
    algorithm, repeats = build(make(LEVELS), num_times=32), 400
    pairs = [(0, 0), (1, 1), (2, 0)]
    batch = {
        "example": jnp.repeat(tokens_of(pairs), 2 * repeats, axis=0),
        "condition": jnp.tile(jnp.arange(2), len(pairs) * repeats),
    }
    rows = jax.jit(algorithm.evaluate)(VARIABLES, batch, jax.random.key(0))
    nll = np.asarray(rows["nll"]).reshape(len(pairs), repeats, 2)
    for number, (a, b) in enumerate(pairs):
        for label in range(2):
            draws, exact = nll[number, :, label], -np.log(TABLES[label, a, b])
            assert abs(draws.mean() - exact) < 4 * draws.std() / np.sqrt(repeats) + 1e-3
    np.testing.assert_allclose(rows["bits_per_dim"], rows["nll"] / 2 / np.log(2), rtol=1e-6)
    assert set(rows["num_tokens"].tolist()) == {2}


@pytest.mark.slow
@pytest.mark.parametrize("make", [absorbing, uniform])
def test_discrete_diffusion_loss_is_the_bound_of_evaluate(make):
    """Its mean over the data is the mean entropy of the classes."""
    algorithm, repeats = build(make(LEVELS), condition_dropout=0.0), 4000
    generator = np.random.default_rng(0)
    pairs, labels = [], []
    for label in range(NUM_CLASSES):
        drawn = generator.choice(LEVELS**2, repeats, p=TABLES[label].ravel())
        pairs += [(cell // LEVELS, cell % LEVELS) for cell in drawn]
        labels += [label] * repeats
    batch = {"example": tokens_of(pairs), "condition": jnp.asarray(labels, jnp.int32)}
    state = jax.jit(algorithm.init)(jax.random.key(0), batch)
    _, metrics = jax.jit(algorithm.step)(state, batch, jax.random.key(1))
    entropy = -(TABLES * np.log(np.maximum(TABLES, 1e-30))).sum() / NUM_CLASSES
    assert float(metrics["denoiser/loss"]) == pytest.approx(entropy, abs=0.12)
    assert float(metrics["denoiser/bits_per_dim"]) == pytest.approx(float(metrics["denoiser/loss"]) / 2 / np.log(2))


def sample(guidance, condition, num=4000):
    algorithm = build(absorbing(LEVELS), sampling=TokenSampling(num_steps=40, guidance=guidance))
    draw = jax.jit(algorithm.sample, static_argnums=2)
    images = draw(VARIABLES, jax.random.key(0), num, jnp.full(num, condition))
    np.testing.assert_array_equal(np.unique(images), [0, 1, 2])
    levels = np.asarray(images).reshape(num, 2)
    return np.bincount(levels[:, 0] * LEVELS + levels[:, 1], minlength=LEVELS**2).reshape(LEVELS, LEVELS) / num


@pytest.mark.slow
def test_discrete_diffusion_guidance_1_is_conditional_and_0_unconditional():
    assert np.abs(sample(1.0, 0) - TABLES[0]).sum() / 2 < 0.04
    assert np.abs(sample(1.0, 1) - TABLES[1]).sum() / 2 < 0.04
    assert np.abs(sample(0.0, 1) - TABLES.mean(axis=0)).sum() / 2 < 0.04
    # More weight goes further from the mean of both, in the same direction.
    further = sample(3.0, 0) - TABLES.mean(axis=0)
    assert (further * (TABLES[0] - TABLES.mean(axis=0))).sum() > 1.3 * ((TABLES[0] - TABLES.mean(axis=0)) ** 2).sum()


@pytest.mark.slow
def test_spread_times_depend_only_on_the_index_and_fill_the_line():
    key = jax.random.key(0)
    times = np.asarray(spread_times(key, jnp.arange(1000)))
    np.testing.assert_array_equal(spread_times(key, jnp.arange(500, 510)), times[500:510])
    assert np.abs(np.sort(times) - np.arange(1000) / 1000).max() < 0.005
    starts = [float(spread_times(key, jnp.zeros(1, jnp.int32))[0]) for key in example_keys(jax.random.key(1), 200)]
    assert abs(np.mean(starts) - 0.5) < 0.1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sampling": TokenSampling(num_steps=0)}, "num-steps"),
        ({"sampling": TokenSampling(guidance=-1.0)}, "guidance"),
        ({"sampling": TokenSampling(guidance=float("nan"))}, "guidance"),
        ({"num_times": 0}, "time"),
        ({"condition_dropout": 1.0}, "condition_dropout"),
    ],
)
def test_discrete_diffusion_refuses_impossible_settings_in_one_line(options, expected):
    with pytest.raises(UsageError, match=expected) as caught:
        build(absorbing(LEVELS), **options)
    assert "\n" not in str(caught.value)


def test_discrete_diffusion_refuses_guidance_without_condition():
    process = absorbing(LEVELS)
    denoiser = TokenDenoiser(ExactNet(process), process, SHAPE)
    with pytest.raises(UsageError, match="unconditional"):
        discrete_diffusion(denoiser, tx=optax.sgd(0.1), sampling=TokenSampling(guidance=2.0))
    with pytest.raises(UsageError, match="shape"):
        discrete_diffusion(denoiser, tx=optax.sgd(0.1)).init(jax.random.key(0), {"example": jnp.zeros((2, 4, 4, 1))})
