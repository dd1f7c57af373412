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
from aigc_jax.worlds.dots import dots
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


def rows_of(section, name="free_attributes"):
    return {row[0]: row[1:] for row in next(figure for figure in section.figures if figure.name == name).rows}


def interval(cell):
    value, low, _, high = (part.strip("()") for part in cell.split())
    return float(value), float(low), float(high)


PARITY = dots(((2, 4), (1, 3)), image_size=16, dot_size=3, tolerance=0)


def test_a_collapse_within_a_condition_shows_in_its_entropy():
    perfect = sampler(PARITY)

    def collapsed(start, condition, num):
        """Always the first example of its condition, which follows it perfectly."""
        return perfect(0, np.arange(2), 2)[condition]

    sections = [section_of(PARITY, Subject(sample_fn, 2), num=120) for sample_fn in (perfect, collapsed)]
    varied, single = (rows_of(section)["number"] for section in sections)
    value, low, high = interval(varied[0])
    assert low <= np.log(2) <= high
    assert abs(interval(varied[1])[0] - value) < 0.1
    assert varied[2].endswith("(K = 4)")
    assert varied[3] == "2"
    assert interval(single[0])[0] == 0
    assert 0 < interval(single[0])[2] < 0.5


def test_without_a_condition_the_mode_itself_is_free():
    def lopsided(index, samples):
        return np.where((index % 4 > 0)[:, None], samples[:1], samples)

    world = ring()
    fair, unfair = (
        rows_of(section_of(world, Subject(sampler(world, spoil=each))))["mode"] for each in (None, lopsided)
    )
    assert interval(fair[0])[1] <= np.log(8) <= interval(fair[0])[2]
    assert interval(unfair[0])[2] < 1.5 < interval(unfair[1])[0]


def test_invalid_samples_and_those_of_another_condition_do_not_pass_for_variety():
    world = ring()

    def spoiled(index, samples):
        return np.where((index % 2 == 0)[:, None], 10.0 + index[:, None], samples).astype(np.float32)

    row = rows_of(section_of(world, Subject(sampler(world, spoil=spoiled))))["mode"]
    assert int(row[4]) <= NUM // 2 + 2


def test_where_nothing_is_free_it_is_said():
    assert "fixes all" in section_of(ring(), Subject(sampler(ring()), 8)).left_out["free_attributes"]
