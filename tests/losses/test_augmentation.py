"""Random affine maps against numpy's exact ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from aigc_jax.losses.augmentation import augmented, exchange_cells, noisy, random_affine

STILL = {"max_rotation": 0.0, "max_scale": 0.0, "max_shear": 0.0, "max_shift": 0.0}
IMAGES = jax.random.uniform(jax.random.key(0), (6, 7, 7, 2), minval=-1.0)
KEYS = jax.random.split(jax.random.key(1), 6)


@pytest.fixture
def extreme(monkeypatch):
    """Every draw is the end of its range."""
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, minval: jnp.ones(shape))


@pytest.mark.slow
def test_random_affine_of_zero_ranges_is_the_identity():
    np.testing.assert_allclose(random_affine(IMAGES, KEYS, **STILL), IMAGES, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("extreme")
@pytest.mark.parametrize("shift", [1, 3, 20])
def test_random_affine_shift_rolls_and_fills(shift):
    moved = random_affine(IMAGES, KEYS, **{**STILL, "max_shift": float(shift)}, fill=-0.5)
    expected = ndimage.shift(IMAGES, (0, -shift, -shift, 0), order=0, cval=-0.5)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


@pytest.mark.usefixtures("extreme")
def test_random_affine_quarter_turn_matches_numpy():
    turned = random_affine(IMAGES, KEYS, **{**STILL, "max_rotation": np.pi / 2})
    one_way, other_way = (np.rot90(IMAGES, k, axes=(1, 2)) for k in (1, -1))
    error = min(np.abs(turned - one_way).max(), np.abs(turned - other_way).max())
    # Rounding may put the border a hair outside, where the fill is blended in.
    assert error < 1e-4


@pytest.mark.usefixtures("extreme")
@pytest.mark.parametrize("setting", [{"max_scale": 0.3}, {"max_shear": 0.4}, {"max_rotation": 0.5}])
def test_random_affine_interpolation_matches_scipy(setting):
    """The map is read off the code's own effect on coordinates, then scipy resamples with it."""
    rows, columns = np.meshgrid(np.arange(7.0), np.arange(7.0), indexing="ij")
    ramp = jnp.asarray(np.stack([rows, columns], axis=-1)[None], jnp.float32)
    # A ramp's centre is inside whatever the map: there interpolation is exact and the map is linear.
    where = np.asarray(random_affine(ramp, KEYS[:1], **{**STILL, **setting}))[0]
    matrix = np.stack([(where[4, 3] - where[2, 3]) / 2, (where[3, 4] - where[3, 2]) / 2], axis=1)
    expected_determinant = {"max_scale": 1.3**2, "max_shear": 1.0, "max_rotation": 1.0}[next(iter(setting))]
    assert np.linalg.det(matrix) == pytest.approx(expected_determinant, rel=1e-4)
    offset = np.array([3.0, 3.0]) - matrix @ [3.0, 3.0]
    ours = random_affine(IMAGES[:1, ..., :1], KEYS[:1], **{**STILL, **setting})[0, ..., 0]
    theirs = ndimage.affine_transform(
        np.asarray(IMAGES[0, ..., 0]), matrix, offset, order=1, mode="grid-constant", cval=-1.0
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_random_affine_depends_on_each_images_own_key():
    same = jnp.broadcast_to(IMAGES[:1], IMAGES.shape)
    changed = random_affine(same, KEYS)
    assert len({np.asarray(image).tobytes() for image in changed}) == 6
    np.testing.assert_allclose(random_affine(same[:2], KEYS[jnp.array([4, 1])]), changed[jnp.array([4, 1])], atol=1e-6)
    assert jnp.abs(changed).max() <= 1 + 1e-6


@pytest.mark.slow
def test_augmented_depends_on_the_index_and_keeps_other_entries():
    seen = []

    def loss_fn(params, model_state, batch, key):
        seen.append(batch)
        return jnp.zeros(batch["example"].shape[0]), (model_state, {})

    loss = augmented(random_affine)(loss_fn)
    batch = {
        "example": jnp.broadcast_to(IMAGES[:1], IMAGES.shape),
        "index": jnp.arange(6),
        "condition": jnp.arange(6) * 2,
    }
    loss({}, {}, batch, jax.random.key(5))
    loss({}, {}, {name: value[2:4] for name, value in batch.items()}, jax.random.key(5))
    loss({}, {}, batch, jax.random.key(6))
    np.testing.assert_allclose(seen[0]["example"][2:4], seen[1]["example"], atol=1e-6)
    assert np.any(seen[0]["example"] != seen[2]["example"])
    np.testing.assert_array_equal(seen[0]["condition"], batch["condition"])


def test_cells_are_exchanged_at_their_places():
    images = jnp.arange(6, dtype=jnp.float32)[:, None, None, None] * 100 + jnp.arange(35.0).reshape(1, 5, 7, 1)
    mixed = np.asarray(exchange_cells(images, jax.random.split(jax.random.key(0), 6), rows=2, columns=3))
    source, place = np.divmod(mixed[..., 0], 100)
    np.testing.assert_array_equal(place, np.broadcast_to(np.arange(35).reshape(5, 7), place.shape))
    cells = [source[:, rows, columns] for rows in (slice(0, 3), slice(3, 5)) for columns in (slice(0, 3), slice(5, 7))]
    assert all((cell == cell[:, :1, :1]).all() for cell in cells)
    assert len(np.unique([cell[:, 0, 0] for cell in cells])) == 6


def test_noise_has_the_largest_standard_deviation_at_most():
    added = noisy(jnp.zeros((400, 10, 10, 1)), jax.random.split(jax.random.key(0), 400), max_std=0.5)
    std = np.asarray(added).reshape(400, -1).std(axis=1)
    # Uniform on [0, 0.5]: mean 0.25 with standard error 0.0072.
    assert std.max() < 0.7
    assert std.mean() == pytest.approx(0.25, abs=0.03)
