"""Reconstructions: an identity loses nothing, and the nearest training image gives the reference."""

import math

import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.images import IMAGE, to_float, to_uint8
from aigc_jax.data.points import POINT
from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.judge import Judge, Predictions
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.section import Evidence
from aigc_jax.evaluation.sections.reconstruction import MAX_DECIBEL, MAX_IMAGES, NUM_WORST, reconstruction
from aigc_jax.report.measurements import MEASUREMENTS
from aigc_jax.report.schema import Report
from aigc_jax.report.text import summary_lines
from aigc_jax.types import Data
from tests.report.example import panel

ALL = {name for name in MEASUREMENTS if name.startswith("reconstruction_")}
SMALL = ALL - {"reconstruction_ms_ssim"}


def blobs(num, seed, side=16):
    """Bright spots at random places."""
    places = np.random.default_rng(seed).uniform(0.2, 0.8, (num, 2, 1, 1, 1)) * side
    rows, columns = np.mgrid[:side, :side][..., None]
    squares = (rows - places[:, 0]) ** 2 + (columns - places[:, 1]) ** 2
    return np.round(255 * np.exp(-squares / side)).astype(np.uint8)


TRAIN = to_float(blobs(200, 0))


def measured(reconstruct, values, train=TRAIN):
    """The section of a model that makes this of images."""
    modality = IMAGE if values.ndim == 4 else POINT
    held_out = Examples(values, np.arange(len(values), dtype=np.int32), Predictions(), modality)
    judge = Judge("none", lambda examples: Predictions(examples))
    model = EvaluatedModel(lambda *given: values, modality=modality, reconstruct=reconstruct)
    data = Data("blobs", ArraySource(to_uint8(train)), [], ())
    return reconstruction(Evidence(model, judge, data, held_out, held_out, held_out))


def rows_of(section):
    return {row.name: row for row in section.measurements}


def nearest_of(images):
    return ((images[:, None] - TRAIN) ** 2).sum(axis=(2, 3, 4)).argmin(axis=1)


def test_reconstruction_of_an_identity_is_perfect():
    section = measured(lambda images, condition: images, blobs(40, 1))
    rows = rows_of(section)
    assert rows.keys() == SMALL
    for name, best in (("ssim", 1.0), ("psnr", MAX_DECIBEL), ("mse", 0.0)):
        row = rows[f"reconstruction_{name}"]
        assert (row.low, row.value, row.high) == pytest.approx((best, best, best), abs=1e-5)
        assert abs(row.reference - best) > 1e-3
        assert "of 200" in row.reference_title
    assert not section.checks
    assert "161" in section.left_out["reconstruction_ms_ssim"]


def test_reconstruction_psnr_is_capped_at_the_error_of_rounding():
    rounded = np.random.default_rng(0).uniform(-0.5, 0.5, 100_000) * 2 / 255
    assert pytest.approx(10 * math.log10(4 / np.mean(rounded**2)), abs=0.05) == MAX_DECIBEL


def test_reconstruction_reference_is_the_nearest_training_image():
    values = blobs(60, 2)
    nearest = rows_of(measured(lambda images, condition: TRAIN[nearest_of(images)], values))
    others = rows_of(measured(lambda images, condition: TRAIN[: len(images)], values))
    for name in SMALL:
        assert nearest[name].value == pytest.approx(nearest[name].reference, rel=1e-5)
        assert others[name].reference == nearest[name].reference
        is_worse = others[name].value > nearest[name].value
        assert is_worse == others[name].lower_is_better


def test_reconstruction_interval_is_of_the_mean_over_images():
    noise = np.random.default_rng(3).normal(size=(100, 16, 16, 1)) * np.linspace(0, 0.4, 100)[:, None, None, None]
    row = rows_of(measured(lambda images, condition: images + noise, blobs(100, 3)))["reconstruction_mse"]
    errors = (noise**2).mean(axis=(1, 2, 3))
    assert row.value == pytest.approx(errors.mean(), rel=1e-3)
    half = 1.96 * errors.std() / 10
    assert (row.value - row.low, row.high - row.value) == pytest.approx((half, half), rel=0.2)


def test_reconstruction_takes_the_first_images_with_their_classes():
    seen = []

    def reconstruct(images, condition):
        seen.append((len(images), condition))
        return images

    rows = rows_of(measured(reconstruct, blobs(MAX_IMAGES + 20, 4)))
    ((num, condition),) = seen
    assert num == MAX_IMAGES == rows["reconstruction_ssim"].n
    np.testing.assert_array_equal(condition, np.arange(MAX_IMAGES))


def test_reconstruction_gallery_shows_the_worst():
    values = blobs(30, 5)

    def spoilt(images, condition):
        made = images.copy()
        made[7], made[21] = 0.8 * made[7] + 0.05, 0.0
        return made

    (figure,) = measured(spoilt, values).figures
    assert [len(group) for group in figure.groups] == [NUM_WORST, NUM_WORST]
    np.testing.assert_array_equal(figure.groups[0][:2], values[[21, 7]])
    np.testing.assert_array_equal(figure.groups[1][0], 128)
    assert figure.labels[1][-1] == "SSIM 1"
    assert float(figure.labels[1][0].removeprefix("SSIM ")) < 0.3
    assert "From top to bottom: image, reconstruction" in panel(figure).replace("\u00a0", " ")


def test_reconstruction_of_small_images_has_no_ssim():
    section = measured(lambda images, condition: images / 2, blobs(12, 6, side=8), to_float(blobs(20, 7, side=8)))
    assert rows_of(section).keys() == {"reconstruction_psnr", "reconstruction_mse"}
    assert "at least 11" in section.left_out["reconstruction_ssim"]
    assert section.figures[0].labels[1][0].startswith("PSNR ")


def test_reconstruction_of_large_images_has_ms_ssim():
    values = blobs(2, 8, side=161)
    section = measured(lambda images, condition: images, values, to_float(blobs(3, 9, side=161)))
    assert rows_of(section).keys() == ALL
    assert rows_of(section)["reconstruction_ms_ssim"].value == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("reconstruct", "values", "reason"),
    [
        (None, blobs(5, 0), "the model has no encoder"),
        (lambda x, c: x, np.zeros((5, 2), np.float32), "the examples are no images"),
        (
            lambda x, c: x * np.array([1, np.nan, 1], np.float32).reshape(3, 1, 1, 1),
            blobs(3, 0),
            "1 of 3 reconstructions",
        ),
    ],
)
def test_reconstruction_is_left_out_with_a_reason(reconstruct, values, reason):
    section = measured(reconstruct, values)
    assert not section.measurements
    assert not section.figures
    assert section.left_out.keys() == ALL
    assert all(why.startswith(reason) for why in section.left_out.values())


def test_reconstruction_lines_fit_a_terminal():
    section = measured(lambda images, condition: images, blobs(40, 1))
    lines = summary_lines(Report("blobs", "", 40, section.measurements, left_out=section.left_out))
    (line,) = [line for line in lines if line.startswith("reconstruction PSNR")]
    assert line.startswith("reconstruction PSNR 58.9 dB  (95 % interval 58.9 to 58.9, reference ")
    (line,) = summary_lines(Report("blobs", "", 40, [], left_out=measured(None, blobs(5, 0)).left_out))
    assert line.endswith(" and 1 more: the model has no encoder")
