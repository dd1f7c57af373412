"""Every public metric refuses arrays of another kind, shape or range, and is right on the arrays that it takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aigc_jax.metrics
from aigc_jax.guards.assess import assess, risk_coverage
from aigc_jax.guards.calibration import calibrate
from aigc_jax.guards.neighbors import neighbor_distance
from aigc_jax.guards.typicality import typicality
from aigc_jax.metrics.checks import checked, checked_features
from aigc_jax.metrics.class_agreement import class_agreement, corrected_agreement
from aigc_jax.metrics.classification import classifier_quality
from aigc_jax.metrics.consistency import (
    attribute_agreement,
    drift,
    max_ulp,
    radius_agreement,
    reproducibility,
    seed_consistency,
    sensitivity,
    unit_change,
)
from aigc_jax.metrics.frechet import distance_of_moments, frechet_distance, frechet_infinity, frechet_statistics
from aigc_jax.metrics.intervals import paired_difference, standardized_share
from aigc_jax.metrics.kernel_distance import cmmd, kid, normalized
from aigc_jax.metrics.knn_manifold import overlap, prdc, precision_recall
from aigc_jax.metrics.likelihood import mean_likelihood, perplexity
from aigc_jax.metrics.memorization import data_copying, mann_whitney_z, memorization
from aigc_jax.metrics.neighbors import manifold, nearest, nearest_others
from aigc_jax.metrics.path_length import interpolate, path_length, path_speed
from aigc_jax.metrics.ranking import roc_auc, roc_curve
from aigc_jax.metrics.scores import inception_score
from aigc_jax.metrics.similarity import ms_ssim, mse, psnr, ssim
from aigc_jax.metrics.vendi import vendi_score
from aigc_jax.types import UsageError

pytestmark = pytest.mark.usefixtures("unchecked_annotations")

RNG = np.random.RandomState(0)
REAL, FAKE = RNG.normal(size=(2, 40, 3))
IDS, FLAGS, VALUES = RNG.randint(0, 3, 40), RNG.rand(40) < 0.5, RNG.normal(size=40)
COUNTS = np.array([[9, 1], [2, 8]])
P = np.full((40, 3), 1 / 3)
BYTES = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32, 3)).astype(np.uint8)
FLOATS = BYTES.astype(np.float32)
LATENTS = jnp.ones((4, 5))


def update(metric):
    return lambda *arrays: metric.update(metric.init(), *arrays)


FUNCTIONS = {
    # name: (function, right arguments); each wrong array below takes the place of one of them.
    "frechet_distance": (frechet_distance, (REAL, FAKE)),
    "frechet_infinity": (frechet_infinity, (REAL, FAKE)),
    "frechet_statistics": (update(frechet_statistics(3)), (REAL,)),
    "kid": (lambda *sets: kid(*sets, num_subsets=2), (REAL, FAKE)),
    "cmmd": (cmmd, (REAL, FAKE)),
    "normalized": (normalized, (REAL,)),
    "vendi_score": (vendi_score, (REAL,)),
    "overlap": (overlap, (REAL, FAKE)),
    "prdc": (prdc, (REAL, FAKE)),
    "precision_recall": (precision_recall, (REAL, FAKE)),
    "manifold": (manifold, (REAL,)),
    "nearest": (lambda *sets: nearest(*sets, 1), (REAL, FAKE)),
    "nearest_others": (lambda points: nearest_others(points, 1), (REAL,)),
    "memorization": (lambda *sets: memorization(*sets, num_neighbors=3), (REAL, FAKE, FAKE)),
    "data_copying": (
        lambda *sets: data_copying(*sets, memorization(REAL, FAKE, FAKE, num_neighbors=3), num_cells=1),
        (REAL, FAKE, FAKE),
    ),
    "reproducibility": (reproducibility, (REAL, FAKE, IDS)),
    "radius_agreement": (radius_agreement, (REAL, FAKE, np.ones(40), IDS)),
    "inception_score": (inception_score, (REAL,)),
    "classifier_quality": (classifier_quality, (P, IDS)),
    "class_agreement": (lambda *ids: class_agreement(*ids, 3), (IDS, IDS)),
    "seed_consistency": (lambda *ids: seed_consistency(*ids, 3), (IDS, IDS)),
    "attribute_agreement": (attribute_agreement, (IDS, IDS, IDS)),
    "corrected_agreement": (lambda *counts: corrected_agreement(*counts, num_resamples=9), (COUNTS, COUNTS)),
    "drift": (drift, (IDS, IDS)),
    "standardized_share": (standardized_share, (FLAGS, IDS, IDS)),
    "paired_difference": (paired_difference, (FLAGS, FLAGS)),
    "roc_auc": (roc_auc, (VALUES, FLAGS)),
    "roc_curve": (roc_curve, (VALUES, FLAGS)),
    "assess": (assess, (VALUES, FLAGS)),
    "risk_coverage": (risk_coverage, (VALUES, FLAGS)),
    "calibrate": (lambda *x: calibrate(*x, alpha=0.1), (VALUES, FLAGS)),
    "typicality": (typicality, (VALUES, VALUES)),
    "neighbor_distance": (neighbor_distance, (REAL, FAKE)),
    "mann_whitney_z": (mann_whitney_z, (VALUES, VALUES)),
    "path_length": (path_length, (VALUES,)),
    "mean_likelihood": (update(mean_likelihood(3)), (VALUES,)),
    "perplexity": (update(perplexity()), (VALUES, IDS, IDS)),
    "sensitivity": (lambda *x: sensitivity(*x, num_resamples=9), (REAL, FAKE, REAL)),
    "max_ulp": (max_ulp, (REAL, FAKE)),
    "mse": (mse, (FLOATS[0], FLOATS[1])),
    "psnr": (lambda *x: psnr(*x, data_range=255.0), (FLOATS[0], FLOATS[1])),
    "ssim": (lambda *x: ssim(*x, data_range=255.0), (FLOATS[0], FLOATS[1])),
}


def variants(right):
    """Arrays of another kind or shape than the right one."""
    yield "complex", right + 1j
    yield "text", right.astype(str)
    yield "another axis", right[..., None]
    yield "one example broadcast", right[:1] if len(right) > 1 else np.repeat(right, 4, axis=0)
    if right.dtype == bool:
        yield "0 and 1", right.astype(np.int64)
    elif np.issubdtype(right.dtype, np.integer):
        yield "fractions", right + 0.5


PAIRED = set(
    [
        "reproducibility",
        "radius_agreement",
        "classifier_quality",
        "class_agreement",
        "seed_consistency",
        "attribute_agreement",
        "corrected_agreement",
        "drift",
        "paired_difference",
        "roc_auc",
        "roc_curve",
        "assess",
        "risk_coverage",
        "calibrate",
        "perplexity",
        "sensitivity",
        "max_ulp",
        "mse",
        "psnr",
        "ssim",
    ]
)
"""Metrics whose arrays must be as long as each other: numpy would broadcast a single example to all others."""

CASES = [
    pytest.param(function, right, place, wrong, id=f"{name}-{place}-{what}")
    for name, (function, right) in FUNCTIONS.items()
    for place in range(len(right))
    for what, wrong in variants(right[place])
    if (name in PAIRED or what != "one example broadcast")
    # A reference of a change may have any shape.
    and (name, place, what) != ("sensitivity", 2, "another axis")
]


@pytest.mark.parametrize(("function", "right", "place", "wrong"), CASES)
def test_metric_refuses_a_wrong_array(function, right, place, wrong):
    with pytest.raises(ValueError, match="expected") as caught:
        function(*right[:place], wrong, *right[place + 1 :])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_metric_takes_right_arrays_of_numpy_and_jax(name):
    function, right = FUNCTIONS[name]
    function(*right)
    function(*(jnp.asarray(each) for each in right))


def test_all_exported_metrics_are_in_the_table():
    exported = set(aigc_jax.metrics.__all__) - {"ms_ssim"}  # as ssim, of larger images
    assert exported <= set(FUNCTIONS)
    for name in aigc_jax.metrics.__all__:
        assert callable(getattr(aigc_jax.metrics, name))
    with pytest.raises(AttributeError, match="no attribute 'fid'"):
        aigc_jax.metrics.fid  # noqa: B018
    assert set(aigc_jax.metrics.__all__) <= set(dir(aigc_jax.metrics))


@pytest.mark.parametrize("measure", [mse, psnr, ssim, ms_ssim])
@pytest.mark.parametrize("xp", [np, jnp])
def test_similarity_refuses_bytes(measure, xp):
    with pytest.raises(ValueError, match="astype"):
        measure(xp.asarray(BYTES[0]), xp.asarray(BYTES[1]))
    with pytest.raises(ValueError, match="astype"):
        jax.eval_shape(measure, jnp.asarray(BYTES[0]), jnp.asarray(FLOATS[1]))


def test_similarity_of_bytes_as_floats_is_right():
    black, white = np.zeros((1, 32, 32, 3), np.float32), np.full((1, 32, 32, 3), 255.0, np.float32)
    assert mse(black, white).tolist() == [65025.0]
    assert psnr(black, white, data_range=255.0).tolist() == [0.0]
    assert ms_ssim(*(np.tile(x, (1, 6, 6, 1)) for x in (FLOATS[0], 255 - FLOATS[0])), data_range=255.0) < 0.01
    # SSIM by scikit-image, in float64.
    exact = np.mean((BYTES[0].astype(np.float64) - BYTES[1]) ** 2)
    for dtype in (np.float16, np.float32, np.float64):
        a, b = BYTES.astype(dtype)
        np.testing.assert_allclose(mse(a, b), [exact], rtol=1e-12)
        np.testing.assert_allclose(psnr(a, b, data_range=255.0), [10 * np.log10(255**2 / exact)], rtol=1e-12)
        np.testing.assert_allclose(ssim(a, b, data_range=255.0), [0.019182], atol=1e-6)
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        a, b = (jnp.asarray(each, jnp.float32).astype(dtype) for each in BYTES)
        exact = np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2)
        np.testing.assert_allclose(mse(a, b), [exact], rtol=1e-5)


@pytest.mark.parametrize("measure", [mse, psnr, ssim])
def test_similarity_refuses_pairs_that_would_be_broadcast(measure):
    four = np.zeros((4, 32, 32, 3))
    for other in (four[:1], four[..., :1], four[:, :16], four[0]):
        for pair in ((four, other), (other, four), (jnp.asarray(four), jnp.asarray(other))):
            with pytest.raises(ValueError, match="one shape"):
                measure(*pair)


@pytest.mark.parametrize("measure", [psnr, ssim, ms_ssim])
def test_similarity_refuses_values_in_units_of_another_range(measure):
    for xp in (np, jnp):
        with pytest.raises(ValueError, match="data_range=255"):
            measure(*(xp.asarray(x) for x in FLOATS))
    # A broken reconstruction of a right image is bad, not in other units.
    assert psnr(FLOATS[0] / 127.5 - 1, FLOATS[1]) < 0


@pytest.mark.parametrize("name", ["frechet_distance", "kid", "cmmd", "vendi_score", "prdc", "overlap"])
def test_features_of_any_precision_are_right(name):
    function, right = FUNCTIONS[name]
    integers = [np.round(3 * each) for each in right]
    expected = function(*integers)
    for dtype in (np.int8, np.int64, np.float16, np.float32, jnp.bfloat16):
        found = function(*(each.astype(dtype) for each in integers))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


@pytest.mark.parametrize(
    "name", ["frechet_distance", "kid", "cmmd", "vendi_score", "prdc", "overlap", "nearest", "manifold"]
)
def test_features_refuse_images_and_say_what_to_do(name):
    function, right = FUNCTIONS[name]
    images = [np.zeros((40, 8, 8, 1)) for _ in right]
    with pytest.raises(ValueError, match=r"40, 8, 8, 1.*reshape"):
        function(*images)


def test_kid_of_300_needs_no_subset_size():
    real, fake = np.random.default_rng(0).normal(size=(2, 300, 4))
    assert aigc_jax.metrics.kid(real, fake, num_subsets=2).value == pytest.approx(
        kid(real, fake, num_subsets=2, subset_size=300).value
    )


def test_distance_of_moments_of_arrays_names_frechet_distance():
    with pytest.raises(ValueError, match=r"metrics\.frechet_distance"):
        distance_of_moments(REAL, FAKE)


def test_truth_as_0_and_1_would_select_by_index():
    # What numpy does with integers in the place of a mask, and why they are refused.
    assert VALUES[FLAGS.astype(int)].shape == VALUES.shape
    with pytest.raises(ValueError, match="x == 1"):
        roc_auc(VALUES, FLAGS.astype(int))


def test_inception_score_refuses_probabilities_and_nan():
    with pytest.raises(ValueError, match="logarithm"):
        inception_score(P)
    with pytest.raises(ValueError, match="NaN"):
        inception_score(np.full((20, 3), np.nan))
    # Logarithms of one-hot probabilities: one class each, ten in all.
    with np.errstate(divide="ignore"):
        assert inception_score(np.log(np.eye(10)[np.arange(100) % 10]), seed=None).unsplit == pytest.approx(10)


@pytest.mark.parametrize("counts", [np.array([3, -1]), np.array([[1, 2], [3, 4]])])
def test_counts_refuse_negative_numbers_and_tables(counts):
    with pytest.raises(ValueError, match="expected"):
        drift(counts, counts)
    with pytest.raises(ValueError, match="expected"):
        corrected_agreement(-COUNTS, COUNTS)


def test_seed_consistency_refuses_values_beyond_their_number():
    with pytest.raises(ValueError, match=r"in -1 \.\.\. 2"):
        seed_consistency(np.array([0, 1, 3]), None, 3)


@pytest.mark.parametrize(
    "wrong",
    [(LATENTS[:1], LATENTS, jnp.ones(4)), (LATENTS, LATENTS, jnp.ones(1)), (LATENTS[0], LATENTS[0], jnp.ones(4))],
)
def test_paths_refuse_latents_of_other_shapes(wrong):
    for call in (
        lambda: interpolate(*wrong),
        lambda: path_speed(lambda x: x, lambda z: z, wrong[:2], wrong[2]),
    ):
        with pytest.raises(ValueError, match=r"\[B, Z\]"):
            call()
    with pytest.raises(ValueError, match="a direction for each latent"):
        unit_change(lambda z: z, LATENTS, LATENTS[:1])


def test_checked_names_all_arrays_and_keeps_them():
    x = np.ones((3, 2), np.float32)
    assert checked(x=(x, float, "num ..."))[0] is x
    assert checked_features(x=x)[0] is x
    with pytest.raises(ValueError) as caught:
        checked(scores=(np.ones(4), float, "num"), is_positive=([True], bool, "num"))
    assert str(caught.value) == (
        "expected scores [num] of numbers and is_positive [num] of booleans, got scores [4] of float64 and is_positive "
        "[1] of bool: axes of one name need one length"
    )


def test_features_that_are_not_finite_or_empty_are_the_users():
    with pytest.raises(UsageError, match="NaN or infinity in fake"):
        checked_features(real=np.ones((2, 2)), fake=np.array([[1.0, np.inf]]))
    with pytest.raises(UsageError, match="at least one"):
        checked_features(real=np.ones((0, 2)))
