"""``aigc-jax latents``: pictures of a known autoencoder, and the command on real runs."""

import numpy as np
import pytest
from PIL import Image

from aigc_jax import cli
from aigc_jax.cli.latents import NUM_COLUMNS, Encoded, interpolation, reconstruction, traversal
from aigc_jax.data.images import to_uint8
from aigc_jax.inference.latents import LatentFns

GENERATOR = np.random.default_rng(0)
COMMON = ["--steps", "1", "--batch-size", "8", "--checkpoint-every", "0", "--sample-every", "0", "--parallel", "jit"]


def decode(latents, condition):
    """Pixel i shows latent i; the class is not looked at."""
    return np.clip(latents.reshape(-1, 2, 2, 1), -1, 1).astype(np.float32)


FNS = LatentFns(lambda images, label: images.reshape(-1, 4), decode)


def encoded(labels=None, num=40, is_map=False):
    latents = (GENERATOR.normal(size=(num, 4)) * np.array([0.01, 0.3, 0.1, 0.2])).astype(np.float32)
    return Encoded(decode(latents, None), labels, latents.reshape(num, 2, 2, 1) if is_map else latents)


def cells(picture, size=2):
    """The images of a grid, without the labels on its left: [row, column, height, width]."""
    gap, scale = 2, 2
    pitch = (size + gap) * scale
    columns = picture[:, -(NUM_COLUMNS * pitch + gap * scale) :, 0]
    rows = columns.shape[0] // pitch
    found = np.zeros((rows, NUM_COLUMNS, size, size), np.uint8)
    for row in range(rows):
        for column in range(NUM_COLUMNS):
            top, left = row * pitch + gap * scale, column * pitch + gap * scale
            found[row, column] = columns[top : top + size * scale : scale, left : left + size * scale : scale]
    return found


def test_reconstructions_stand_under_their_images():
    examples = encoded(num=25)
    rows = cells(reconstruction(FNS._replace(decode=lambda z, c: -decode(z, c)), examples))
    assert rows.shape[:2] == (4, NUM_COLUMNS)
    np.testing.assert_array_equal(rows[2], to_uint8(examples.images[10:20, ..., 0]))
    np.testing.assert_array_equal(rows[3], to_uint8(-examples.images[10:20, ..., 0]))


def test_interpolations_go_straight_within_a_class():
    examples = encoded(labels=np.arange(40) % 3)
    rows = cells(interpolation(FNS, examples)).astype(int)
    assert rows.shape[:2] == (3, NUM_COLUMNS)
    for label in range(3):
        start, end = (to_uint8(examples.images[i, ..., 0]) for i in (label, label + 3))
        for column, expected in ((0, start), (1, start), (8, end), (9, end)):
            np.testing.assert_array_equal(rows[label, column], expected)
    # The pixels are the latents: equal steps on the way.
    steps = np.diff(rows[:, 1:9], axis=1)
    assert np.ptp(steps, axis=1).max() <= 2
    assert cells(interpolation(FNS, encoded())).shape[:2] == (10, NUM_COLUMNS)


@pytest.mark.parametrize("is_map", [False, True])
def test_traversals_move_the_widest_direction_first(is_map):
    picture = traversal(FNS, encoded(labels=np.zeros(40, int), is_map=is_map))
    ranges = np.ptp(cells(picture).astype(int), axis=1).reshape(4, 4)
    assert ranges.argmax(axis=1).tolist() == [1, 3, 2, 0]
    if not is_map:  # one coordinate moves one pixel
        assert np.count_nonzero(ranges, axis=1).tolist() == [1, 1, 1, 1]


@pytest.mark.standard_promotion
def test_the_command_writes_three_pictures(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert cli.main(["train", "vae_digits", "--workdir", run, *COMMON, "--widths", "4"]) == 0
    assert cli.main(["latents", run, "--num-examples", "40"]) == 0
    out = capsys.readouterr().out
    assert "mean squared error of 40 held-out images" in out
    assert "latents 8: mean" in out
    for name in ("reconstruction", "interpolation", "traversal"):
        with Image.open(tmp_path / "run" / "samples" / f"{name}.png") as image:
            assert image.size[0] > NUM_COLUMNS * 28
    assert cli.main(["latents", run, "--num-examples", "4"]) == 2
    assert "--num-examples" in capsys.readouterr().err


@pytest.mark.standard_promotion
def test_a_model_without_an_encoder_is_refused_in_one_line(tmp_path, capsys):
    run = str(tmp_path / "run")
    tiny = ["--generator.width", "4", "--discriminator.widths", "4", "--discriminator.num-features", "4"]
    assert cli.main(["train", "gan_digits", "--workdir", run, *COMMON, *tiny]) == 0
    capsys.readouterr()
    assert cli.main(["latents", run]) == 2
    error = capsys.readouterr().err.strip()
    assert "without an encoder" in error
    assert "\n" not in error
