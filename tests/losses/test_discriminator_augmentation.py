"""Augmentation of what a discriminator sees, against numpy, scipy and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import ndimage, stats

from aigc_jax.algorithms.gan import GANNetworks, gan
from aigc_jax.configs import gan_digits
from aigc_jax.losses.adversarial import hinge
from aigc_jax.losses.discriminator_augmentation import (
    ADAPTIVE,
    DIFFERENTIABLE,
    Adaptive,
    adapted,
    adaptive_augmentation,
    differentiable_augmentation,
)
from aigc_jax.nets.mlp import MLPDiscriminator, MLPGenerator
from aigc_jax.types import UsageError

NUM = 400
IMAGE = np.random.default_rng(0).uniform(-1, 1, (8, 6, 3)).astype(np.float32)
IMAGES, KEYS = jnp.broadcast_to(IMAGE, (NUM, *IMAGE.shape)), jax.random.split(jax.random.key(0), NUM)


@functools.cache
def changed(kind: str, p: float | None = None) -> np.ndarray:
    if p is None:
        return np.asarray(jax.jit(functools.partial(differentiable_augmentation, kinds=(kind,)))(IMAGES, KEYS))
    return np.asarray(jax.jit(functools.partial(adaptive_augmentation, kinds=(kind,)))(IMAGES, KEYS, p))


def test_translation_shifts_by_up_to_an_eighth_and_fills():
    # (8 + 4) // 8 and (6 + 4) // 8 pixels, as the released code rounds.
    expected = {ndimage.shift(IMAGE, (i, j, 0), order=0, cval=0.0).tobytes() for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert {image.tobytes() for image in changed("translation")} == expected


def test_cutout_is_a_square_of_half_the_sides():
    is_cut = (changed("cutout") == 0).all(axis=-1)
    np.testing.assert_array_equal(np.where(is_cut[..., None], IMAGE, changed("cutout")), IMAGES)
    rows, columns = is_cut.any(axis=2), is_cut.any(axis=1)
    # A rectangle, of 4 x 3 where it lies within the image.
    np.testing.assert_array_equal(is_cut, rows[:, :, None] & columns[:, None])
    assert rows.sum(axis=1).max() == 4
    assert columns.sum(axis=1).max() == 3
    # Each pixel at the middle is cut where one of four first rows of nine, and of three columns of six, is drawn.
    share = is_cut[:, 4, 3].mean()
    assert share == pytest.approx(4 / 9 * 3 / 6, abs=4 * 0.5 / np.sqrt(NUM))


def test_colours_are_an_affine_map_of_each_pixel():
    """Brightness b, saturation s and contrast c make of pixel x c (s (x - its grey) + its grey - mean) + mean + b."""
    found = changed("colour")
    grey = IMAGE.mean(axis=-1, keepdims=True)
    design = np.stack(
        [(IMAGE - grey).ravel(), (grey - grey.mean()).repeat(3, axis=-1).ravel(), np.ones(IMAGE.size)], axis=1
    )
    fitted, *_ = np.linalg.lstsq(design, found.reshape(NUM, -1).T, rcond=None)
    np.testing.assert_allclose(design @ fitted, found.reshape(NUM, -1).T, atol=1e-5)
    saturation, contrast, brightness = fitted[0] / fitted[1], fitted[1], fitted[2] - IMAGE.mean()
    for values, low, size in ((saturation, 0, 2), (contrast, 0.5, 1), (brightness, -0.5, 1)):
        assert stats.kstest(values, stats.uniform(low, size).cdf).pvalue > 1e-4


def test_adaptive_augmentation_is_applied_with_its_probability():
    unchanged = adaptive_augmentation(IMAGES, KEYS, jnp.float32(0.0))
    np.testing.assert_array_equal(unchanged, IMAGES)
    is_other = np.abs(changed("colour", 0.3) - IMAGE).reshape(NUM, -1).max(axis=1) > 1e-6
    # Brightness, contrast and saturation, each with its own coin.
    assert is_other.mean() == pytest.approx(1 - 0.7**3, abs=4 * 0.48 / np.sqrt(NUM))


def test_quarter_turns_leak_at_probability_one_alone():
    """Turns mix what a generator makes by a matrix; a discriminator can tell its inputs apart if it is regular."""
    square = jnp.broadcast_to(IMAGE[:6], (NUM, 6, 6, 3))
    turned = [np.rot90(IMAGE[:6], -k) for k in range(4)]

    def mixing(p):
        found = np.asarray(adaptive_augmentation(square, KEYS, p, kinds=("quarter_turn",)))
        nearest = np.argmin([np.abs(found - each).max(axis=(1, 2, 3)) for each in turned], axis=0)
        assert np.abs(found - np.array(turned)[nearest]).max() < 1e-5
        shares = np.bincount(nearest, minlength=4) / NUM
        return shares, np.linalg.svd([np.roll(shares, k) for k in range(4)])[1].min()

    for p in (0.8, 1.0):
        shares, least = mixing(p)
        expected = np.array([1 - p + p / 4, p / 4, p / 4, p / 4])
        np.testing.assert_allclose(shares, expected, atol=4 * 0.5 / np.sqrt(NUM))
        # The eigenvalue 1 - p, up to the noise of the shares.
        assert least == pytest.approx(1 - p, abs=0.15)


def test_geometry_agrees_with_scipy():
    flipped = {image.tobytes() for image in changed("flip", 1.0)}
    assert flipped == {IMAGE.tobytes(), np.ascontiguousarray(IMAGE[:, ::-1]).tobytes()}
    # A ramp shows where each pixel is looked up.
    ramp = jnp.stack(jnp.meshgrid(jnp.arange(9.0), jnp.arange(9.0), indexing="ij"), axis=-1)[None]
    noise = jax.random.uniform(jax.random.key(3), (1, 9, 9, 1))
    for kind in ("scale", "rotation"):
        where = np.asarray(adaptive_augmentation(ramp, KEYS[:1], 1.0, kinds=(kind,)))[0]
        matrix = np.stack([(where[5, 4] - where[3, 4]) / 2, (where[4, 5] - where[4, 3]) / 2], axis=1)
        if kind == "rotation":
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-4)
        else:
            np.testing.assert_allclose(matrix, matrix[0, 0] * np.eye(2), atol=1e-4)
        theirs = ndimage.affine_transform(
            np.asarray(noise[0, ..., 0]), matrix, np.array([4.0, 4.0]) @ (np.eye(2) - matrix).T, order=1, mode="reflect"
        )
        ours = adaptive_augmentation(noise, KEYS[:1], 1.0, kinds=(kind,))[0, ..., 0]
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_adapted_moves_to_its_target_and_stays_in_range():
    how = Adaptive(adaptive_augmentation, target=0.6, num_to_one=1000)
    rising = adapted(jnp.float32(0.999), jnp.float32(1.0), jnp.float32(1.0), 10, how)
    falling = adapted(jnp.float32(0.5), jnp.float32(0.6), jnp.float32(-1.0), 10, how)
    np.testing.assert_allclose(rising, [1.0, 1.0])
    np.testing.assert_allclose(falling, [0.49, 0.2], atol=1e-6)


def test_gan_shows_its_discriminator_changed_images_alone():
    """With images all replaced by the change, the real ones are without effect, and so is the generator's gradient."""
    networks, tx = GANNetworks(MLPGenerator((4, 4, 1), (8,)), MLPDiscriminator((8,)), 3), optax.sgd(0.1)
    algorithm = gan(networks, hinge(), generator_tx=tx, discriminator_tx=tx, augment=lambda images, keys: 0.0 * images)
    batches = [{"example": jnp.full((6, 4, 4, 1), value)} for value in (0.3, -0.9)]
    state = algorithm.init(jax.random.key(0), batches[0])
    (one, metrics), (other, _) = (jax.jit(algorithm.step)(state, batch, jax.random.key(1)) for batch in batches)
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
    jax.tree.map(np.testing.assert_array_equal, one.params["generator"], state.params["generator"])
    assert metrics["generator/grad_norm"] == 0 < metrics["discriminator/loss"]


def test_gan_carries_the_probability_in_its_state():
    networks, tx = GANNetworks(MLPGenerator((4, 4, 1), (8,)), MLPDiscriminator((8,)), 3), optax.sgd(0.0)
    how = Adaptive(lambda images, keys, p: images + p, target=-0.99, num_to_one=60)
    algorithm = gan(networks, hinge(), generator_tx=tx, discriminator_tx=tx, augment=how, num_microbatches=2)
    batch = {"example": jnp.zeros((6, 4, 4, 1))}
    state = algorithm.init(jax.random.key(0), batch)
    step, seen = jax.jit(algorithm.step), list[float]()
    for number in range(3):
        state, metrics = step(state, batch, jax.random.key(number))
        seen.append(float(state.model_state["discriminator"]["augment"]["p"]))
    # Six examples of sixty a step.
    np.testing.assert_allclose(seen, [0.1, 0.2, 0.3], atol=1e-6)
    assert metrics["discriminator/augment_p"] == pytest.approx(0.275)


def test_augmentation_refuses_unknown_changes():
    with pytest.raises(UsageError, match="expected changes of colour, translation, cutout, got 'flip'"):
        differentiable_augmentation(IMAGES, KEYS, kinds=("flip",))
    with pytest.raises(UsageError, match="got 'cutout'"):
        adaptive_augmentation(IMAGES, KEYS, 0.5, kinds=("cutout",))
    assert set(DIFFERENTIABLE) - set(ADAPTIVE) == {"cutout"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"changes": ("colour",)}, "changes without augment"),
        ({"augment": "differentiable", "changes": ("flip",)}, "got 'flip'"),
        ({"augment": "adaptive", "changes": ("cutout",)}, "got 'cutout'"),
    ],
)
def test_gan_digits_refuses_changes_that_it_does_not_know(settings, words):
    with pytest.raises(UsageError, match=words):
        gan_digits.build(gan_digits.Config(discriminator=gan_digits.Discriminator(**settings)))
