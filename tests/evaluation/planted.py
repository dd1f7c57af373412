"""Samplers with one fault each, and a perfect one, which a report must distinguish."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.points import POINT
from aigc_jax.evaluation.evaluate import evaluate
from aigc_jax.evaluation.judge import classifier_judge, with_second_opinion, world_judge
from aigc_jax.evaluation.model import EvaluatedModel, Replication
from aigc_jax.evaluation.section import Settings
from aigc_jax.types import Data
from aigc_jax.worlds.mixture import gaussian_mixture

NUM_CLASSES, NUM_SAMPLES = 10, 1500
CLASS_NAMES = [str(i) for i in range(NUM_CLASSES)]
MEANS = np.random.default_rng(3).normal(size=(NUM_CLASSES, 8)) * 3
WORLD = gaussian_mixture("world:planted", MEANS, 0.5, num_sigmas=7.0)
KEYS = {name: jax.random.key(place) for place, name in enumerate(("train", "held_out", "samples", "other"))}


@functools.cache
def examples(name, num):
    """Points and their modes; drawn when first asked for, not when tests are collected."""
    points = WORLD.sample(KEYS[name], num, None)
    return np.asarray(points), np.asarray(WORLD.mode(points))


def data():
    sources = [ArraySource(*examples(name, num), name="point") for name, num in (("train", 3000), ("held_out", 1500))]
    return Data("world:planted", *sources, CLASS_NAMES)


def perfect(start, condition, num):
    """The world itself."""
    keys = jax.random.split(KEYS["samples"], 4 * NUM_SAMPLES)[start : start + num]
    return np.asarray(WORLD.sample(keys, num, None if condition is None else jnp.asarray(condition)))


def copying(start, condition, num):
    """One sample in twenty is a training example, of the right class."""
    samples, (points, modes) = perfect(start, condition, num).copy(), examples("train", 3000)
    for row in range(num):
        if (start + row) // NUM_CLASSES % 20 == 0:
            is_same = modes == (condition[row] if condition is not None else modes)
            samples[row] = points[is_same][(start + row) % is_same.sum()]
    return samples


def dropping(start, condition, num):
    """Unconditional, and never of the last two classes."""
    assert condition is None
    wide = perfect(0, None, 4 * NUM_SAMPLES)
    return wide[np.asarray(WORLD.mode(jnp.asarray(wide))) < NUM_CLASSES - 2][start : start + num]


def ignoring(start, condition, num):
    """One sample in ten is of a class drawn at random."""
    index = np.arange(start, start + num)
    other = np.random.default_rng(0).integers(NUM_CLASSES, size=4 * NUM_SAMPLES)[index]
    return perfect(start, np.where(index // NUM_CLASSES % 10 == 0, other, condition), num)


def reusing(start, condition, num):
    """Every second row of classes has the keys of the row before."""
    index = np.arange(start, start + num)
    used = np.where(index // NUM_CLASSES % 2 == 1, index - NUM_CLASSES, index)
    keys = jax.random.split(KEYS["samples"], 4 * NUM_SAMPLES)[used]
    return np.asarray(WORLD.sample(keys, num, None if condition is None else jnp.asarray(condition)))


def hallucinating(start, condition, num):
    """One sample in fifty lies between two modes."""
    samples = perfect(start, condition, num).copy()
    index = np.arange(start, start + num)
    samples[index % 50 == 0] = MEANS[:2].mean(axis=0) + 1e-4 * index[index % 50 == 0, None]
    return samples


def wavering(start, condition, num):
    """State outside of the function: a sample depends on how many are asked for."""
    return perfect(start, condition, num) + np.float32(1e-3 * num)


def reader(part):
    """A classifier that reads some of the coordinates alone: the class whose mean is nearest in them."""

    def encode(points):
        distance = np.sum((points[:, None, part] - MEANS[None, :, part]) ** 2, axis=-1)
        return {"logits": -distance, "features": points[:, part]}

    return encode


FIRST, SECOND = slice(0, 4), slice(4, 8)
ONE_JUDGE = classifier_judge("first half", reader(FIRST), CLASS_NAMES, POINT)
TWO_JUDGES = with_second_opinion(ONE_JUDGE, "second half", reader(SECOND))


def pleasing_one(start, condition, num):
    """For two classes of ten, what the first judge looks at is of the class asked for, and all else of the next."""
    samples = perfect(start, condition, num).copy()
    other = perfect(start, (condition + 1) % NUM_CLASSES, num)
    samples[condition < 2, SECOND] = other[condition < 2, SECOND]
    return samples


def crowded(start, condition, num):
    """A sample depends on how many are computed with it, as with batch statistics."""
    return perfect(start, condition, num) + np.float32(0.01 * num)


def report_of(sample_fn, num_classes=NUM_CLASSES, again=None, judge=None, replications=None, **settings):
    replications = replications or [Replication("once more", again or sample_fn)]
    model = EvaluatedModel(sample_fn, num_classes, POINT, replications=replications)
    given = Settings(NUM_SAMPLES, num_detected=300, num_swept=0)._replace(**settings)
    return evaluate(model=model, judge=judge or world_judge(WORLD), data=data(), settings=given).report


def failed(report):
    return {criterion.name for criterion in report.criteria if criterion.state == "fail"}
