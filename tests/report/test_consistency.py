"""The figures of consistency: each says what it says of samples of which the answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.report.consistency import consistency
from aigc_jax.report.examples import draw
from aigc_jax.report.section import Evidence
from aigc_jax.report.subject import Subject, world_judge
from aigc_jax.rng import example_keys
from aigc_jax.worlds.mixture import ring

NUM = 300


def sampler(world, seed=0, spoil=None):
    """The world itself; ``spoil(index, samples)`` may change them."""

    def sample(start, condition, num):
        keys = example_keys(jax.random.key(seed), start + num)[start:]
        samples = np.array(world.sample(keys, num, None if condition is None else jnp.asarray(condition)))
        return samples if spoil is None else spoil(np.arange(start, start + num), samples)

    return sample


def section_of(world, subject, num=NUM):
    judge = world_judge(world)
    samples = draw(subject.sample_fn, judge, num, num_classes=subject.num_classes, title="")
    real = draw(sampler(world, 1), judge, num, num_classes=None, title="")
    held_out = real._replace(condition=real.verdicts.predicted)
    return consistency(Evidence(subject, judge, samples, held_out, held_out, np.arange(num), world.name))


def found_in(section, name):
    return next(row for row in section.measurements if row.name == name)


def test_latent_sensitivity_is_the_quantiles_of_the_changes():
    changes = np.zeros((256, 2, 1), np.float32)
    changes[:, 0, 0] = np.arange(256)
    section = section_of(ring(), Subject(sampler(ring()), latent_changes=lambda num: changes[:num]))
    row = found_in(section, "latent_sensitivity")
    assert (row.value, row.n, row.unit, row.is_less_better) == (127.5, 256, "score", True)
    assert row.low < row.value < row.high
    assert "below 2.4e+02, the largest 2.6e+02" in row.note


@pytest.mark.parametrize(("changes", "reason"), [(None, "no one latent"), (np.nan, "4 of 4 samples")])
def test_a_sensitivity_that_is_none_is_left_out(changes, reason):
    subject = Subject(sampler(ring()), latent_changes=changes and (lambda num: np.full((num, 2), changes)))
    assert reason in section_of(ring(), subject, num=4).left_out["latent_sensitivity"]
