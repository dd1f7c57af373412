"""The figures of consistency: each says what it says of samples of which the answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.report.consistency import consistency
from aigc_jax.report.examples import draw
from aigc_jax.report.section import Evidence
from aigc_jax.report.subject import Counterpart, Subject, world_judge
from aigc_jax.rng import example_keys
from aigc_jax.types import World
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


def numbers(num_modes):
    """A world of the numbers 1 ... 4, of which the mode is the rest of a division, and the number itself is read."""

    def violation(x):
        return jnp.where((x[:, 0] == jnp.round(x[:, 0])) & (x[:, 0] >= 1) & (x[:, 0] <= 4), 0, 1).astype(jnp.int32)

    def sample(keys, num, condition):
        drawn = jax.vmap(lambda key: jax.random.randint(key, (1,), 0, 4))(keys)
        if condition is not None:
            drawn = drawn - drawn % num_modes + condition[:, None]
        return 1.0 + drawn.astype(jnp.float32)

    return World(
        "world:numbers",
        num_modes,
        [1 / num_modes] * num_modes,
        ("valid", "off"),
        sample=sample,
        violation=violation,
        mode=lambda x: (x[:, 0].astype(jnp.int32) - 1) % num_modes,
        attributes={"number": "1234"},
        read=lambda x: {"number": jnp.where(violation(x) == 0, x[:, 0].astype(jnp.int32) - 1, -1)},
    )


def test_a_collapse_within_a_condition_shows_in_its_entropy():
    parity = numbers(2)
    perfect = sampler(parity)

    def collapsed(start, condition, num):
        """Always the first example of its condition, which follows it perfectly."""
        return perfect(0, np.arange(2), 2)[condition]

    sections = [section_of(parity, Subject(sample_fn, 2), num=120) for sample_fn in (perfect, collapsed)]
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


def paired(world, sample_fn, other_fn, num_classes=None, num=NUM):
    counterpart = Counterpart("model_consistency", "another", other_fn)
    return section_of(world, Subject(sample_fn, num_classes, counterparts=[counterpart]), num)


def test_without_a_condition_two_models_agree_by_the_mode_that_is_seen():
    world = ring()
    near = sampler(world, spoil=lambda index, samples: samples + np.float32(0.01))
    row = found_in(paired(world, sampler(world), near), "model_consistency")
    assert (row.value, row.n, row.is_proxy) == (1.0, 256, False)
    assert row.title.endswith("another, same mode")
    assert row.reference == pytest.approx(1 / 8, abs=0.03)
    row = found_in(paired(world, sampler(world), sampler(world, 5)), "model_consistency")
    assert row.low < 1 / 8 < row.high


def test_an_invalid_sample_agrees_with_none_that_is_valid():
    world = ring()

    def spoiled(index, samples):
        # Half as far from the middle: the nearest mode is still the same.
        return np.where((index % 4 == 0)[:, None], 0.5 * samples, samples).astype(np.float32)

    row = found_in(paired(world, sampler(world), sampler(world, spoil=spoiled)), "model_consistency")
    assert row.value == pytest.approx(0.75)


def test_a_world_of_one_mode_is_told_by_what_that_leaves_free():
    world = numbers(1)
    row = found_in(paired(world, sampler(world), sampler(world)), "model_consistency")
    assert row.title.endswith("same number")
    assert row.value == 1.0
    assert row.reference == pytest.approx(1 / 4, abs=0.03)


def test_points_of_a_condition_are_alike_where_they_are_near():
    world = ring()
    near = sampler(world, spoil=lambda index, samples: samples + np.float32(0.005))
    rows = [
        found_in(paired(world, sampler(world), other, 8), "model_consistency") for other in (near, sampler(world, 5))
    ]
    assert rows[0].value == 1.0
    assert [row.reference for row in rows] == pytest.approx([0.1, 0.1], abs=0.04)
    assert rows[1].low < 0.1 < rows[1].high


def test_hallucinations_of_the_same_noise_are_held_against_independence():
    world, far = ring(), np.float32(9.0)
    tenth = sampler(world, spoil=lambda index, samples: samples + far * (index % 10 == 0)[:, None].astype(np.float32))
    other = sampler(world, spoil=lambda index, samples: samples + far * (index % 9 == 0)[:, None].astype(np.float32))
    (same,) = rows_of(paired(world, tenth, tenth), "paired_violations").values()
    assert same[0] == same[1] == same[2]
    assert same[3:] == ["1.0 %", "p < 0.0001"]  # (26 / 256)^2
    (apart,) = rows_of(paired(world, tenth, other), "paired_violations").values()
    assert apart[2].startswith("1.2 %")  # 0, 90 and 180
    assert float(apart[4].split()[-1]) > 0.4
    names = {figure.name for figure in paired(world, sampler(world), sampler(world)).figures}
    assert "paired_violations" not in names
