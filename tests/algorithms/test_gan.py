"""GANs: every objective with every pair, gradients per player, and two games with a known equilibrium."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.algorithms.gan import GANNetworks, clip_weights, gan
from aigc_jax.losses import adversarial, regularizers
from tests.contracts.table import NUM_CLASSES, ROWS, SHAPE, VARIANTS, batch_at, differ, leaves, pair

OBJECTIVES = {
    "minimax": adversarial.minimax(),
    "non_saturating": adversarial.non_saturating(smoothing=0.1),
    "least_squares": adversarial.least_squares(),
    "hinge": adversarial.hinge(),
    "wasserstein": adversarial.wasserstein(),
    "relativistic_average": adversarial.relativistic_average(),
}
BATCH = batch_at(VARIANTS["gan-minimax"], 0)
KEY = jax.random.key(0)


def build(networks, objective, **options):
    tx = optax.sgd(0.05)
    return gan(networks, objective, **{"generator_tx": tx, "discriminator_tx": tx, **options})


def one_of(which):
    """The objective of a traced number, so that a pair of networks compiles once for all objectives."""

    def choose(losses):
        return lambda real, fake: jnp.stack([loss(real, fake) for loss in losses])[which]

    objectives = OBJECTIVES.values()
    return adversarial.Objective(
        choose([o.discriminator for o in objectives]), choose([o.generator for o in objectives]), uses_real=True
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "num_classes"),
    [
        ("mlp", 0),
        pytest.param("mlp", NUM_CLASSES, marks=pytest.mark.slow),
        pytest.param("conv", 0, marks=pytest.mark.slow),
        pytest.param("resnet", NUM_CLASSES, marks=pytest.mark.slow),
    ],
)
def test_gan_step_is_finite_for_every_objective_and_pair(kind, num_classes):
    networks = pair(kind, None, num_classes)
    state = jax.jit(build(networks, OBJECTIVES["hinge"]).init)(KEY, BATCH)
    step = jax.jit(lambda which, state: build(networks, one_of(which)).step(state, BATCH, KEY))
    ends = [step(which, state) for which in range(len(OBJECTIVES))]
    for after, metrics in ends:
        assert all(np.isfinite(value) for value in metrics.values())
        for player in state.params:
            assert all(np.all(np.isfinite(leaf)) for leaf in leaves(after.params[player]))
            assert differ(after.params[player], state.params[player])
    assert differ(ends[0][0].params["generator"], ends[1][0].params["generator"])


@pytest.mark.slow
@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_gan_loss_moves_only_its_own_player(player):
    other = {"generator": "discriminator", "discriminator": "generator"}[player]
    algorithm = build(pair("mlp"), OBJECTIVES["minimax"], **{f"{other}_tx": optax.set_to_zero()})
    state = jax.jit(algorithm.init)(KEY, BATCH)
    after, _ = jax.jit(algorithm.step)(state, BATCH, KEY)
    assert differ(after.params[player], state.params[player])
    assert not differ(after.params[other], state.params[other])


def test_gan_r2_penalises_at_the_fakes_of_the_loss():
    networks = pair("mlp")
    batch = {**BATCH, "index": jnp.arange(8)}
    state = build(networks, OBJECTIVES["minimax"]).init(KEY, BATCH)
    images, _ = networks.generate(state.params, state.model_state, batch, KEY)
    np.testing.assert_array_equal(images, networks.fakes(state.params, state.model_state, batch, KEY))
    between = networks.between(state.params, state.model_state, batch, KEY)
    low, high = jnp.minimum(images, batch["example"]), jnp.maximum(images, batch["example"])
    assert jnp.all((between >= low - 1e-6) & (between <= high + 1e-6))


@pytest.mark.parametrize("limit", [0.01, 0.2])
def test_clip_weights_limits_weights(limit):
    tx = optax.chain(optax.sgd(1.0), clip_weights(limit))
    weights = jnp.linspace(-limit, limit, 9)
    state = tx.init(weights)
    updates, _ = tx.update(-3 * weights, state, weights)
    moved = optax.apply_updates(weights, updates)
    assert jnp.abs(moved).max() <= limit * (1 + 1e-6)
    np.testing.assert_allclose(moved, np.clip(4 * np.asarray(weights), -limit, limit), rtol=1e-5, atol=1e-8)
    with pytest.raises(ValueError):
        tx.update(weights, state)


@pytest.mark.slow
def test_clip_weights_limits_a_critic_after_one_step():
    row = ROWS["gan-wasserstein-clipped-n_critic"]
    algorithm = row.build(None)
    state = jax.jit(algorithm.init)(KEY, batch_at(row, 0))
    after, _ = jax.jit(algorithm.step)(state, batch_at(row, 0), KEY)
    assert max(np.abs(leaf).max() for leaf in leaves(state.params["discriminator"])) > 0.1
    assert max(np.abs(leaf).max() for leaf in leaves(after.params["discriminator"])) <= 0.1 + 1e-6


class Shift(nn.Module):
    """G(z) = scale z + shift: a Gaussian whose two numbers are to be learned."""

    @nn.compact
    def __call__(self, latent, condition, *, train):
        scale = self.param("scale", nn.initializers.constant(1.0), ())
        shift = self.param("shift", nn.initializers.zeros, ())
        return (scale * latent + shift).reshape(-1, 1, 1, 1)


class Parabola(nn.Module):
    """C(x) = a + b x + c x^2: the best discriminator between two Gaussians is of this form."""

    @nn.compact
    def __call__(self, image, condition, *, train):
        x = image.reshape(-1)
        a, b, c = (self.param(name, nn.initializers.zeros, ()) for name in "abc")
        return a + b * x + c * jnp.square(x), x[:, None]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["non_saturating", pytest.param("relativistic_average", marks=pytest.mark.slow)])
def test_gan_learns_a_gaussian(objective):
    networks = GANNetworks(Shift(), Parabola(), latent_dim=1)
    mean, std = 1.5, 0.5
    objective = {**OBJECTIVES, "non_saturating": adversarial.non_saturating()}[objective]
    algorithm = build(networks, objective, regularizer=regularizers.r1(networks.logits, gamma=0.3), ema_decay=0.99)
    state = jax.jit(algorithm.init)(KEY, {"example": jnp.zeros((256, 1, 1, 1))})

    @jax.jit
    def train(state):
        def body(state, key):
            image = mean + std * jax.random.normal(jax.random.fold_in(key, 7), (256, 1, 1, 1))
            return algorithm.step(state, {"example": image}, key)

        return jax.lax.scan(body, state, jax.random.split(KEY, 4000))

    state, metrics = train(state)
    samples = np.asarray(algorithm.sample(state.variables, jax.random.key(9), 20000, None)).ravel()
    assert samples.mean() == pytest.approx(mean, abs=0.08)
    assert samples.std() == pytest.approx(std, abs=0.08)
    # Nash: the discriminator can no longer tell, so its loss is that of a coin.
    assert float(metrics["discriminator/loss"][-200:].mean()) == pytest.approx(np.log(4), abs=0.05)


@pytest.mark.slow
def test_gan_learns_the_picture_of_each_class():
    networks = pair("mlp", None, NUM_CLASSES)
    pictures = jnp.sign(jax.random.normal(jax.random.key(3), (NUM_CLASSES, *SHAPE))) * 0.8
    label = jnp.arange(48) % NUM_CLASSES
    tx = optax.chain(optax.scale_by_rms(), optax.sgd(0.005))
    algorithm = build(
        networks,
        adversarial.non_saturating(),
        generator_tx=tx,
        discriminator_tx=tx,
        regularizer=regularizers.r1(networks.logits, gamma=0.1),
        ema_decay=0.99,
    )
    batch = {"example": pictures[label], "condition": label}
    state = jax.jit(algorithm.init)(KEY, batch)
    train = jax.jit(
        lambda state: jax.lax.scan(lambda s, k: algorithm.step(s, batch, k), state, jax.random.split(KEY, 1500))
    )
    state, _ = train(state)
    samples = algorithm.sample(state.variables, jax.random.key(9), 48, label)
    distance = jnp.mean(jnp.square(samples[:, None] - pictures[None]), axis=(2, 3, 4))
    assert np.mean(np.argmin(np.asarray(distance), axis=1) == np.asarray(label)) > 0.95
    assert jnp.mean(jnp.min(distance, axis=1)) < 0.2  # two random pictures of this kind differ by 1.28
