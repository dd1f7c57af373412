"""Consistency measurements on samples with a known answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.data.points import POINT
from aigc_jax.evaluation.examples import draw
from aigc_jax.evaluation.judge import classifier_judge, world_judge
from aigc_jax.evaluation.model import EvaluatedModel, PairedVariant
from aigc_jax.evaluation.section import Evidence
from aigc_jax.evaluation.sections.consistency import consistency
from aigc_jax.metrics.consistency import miller_madow
from aigc_jax.rng import example_keys
from aigc_jax.types import Data, World
from aigc_jax.worlds.mixture import ring

NUM = 300


def sampler(world, seed=0, spoil=None):
    """The world itself; ``spoil(index, samples)`` may change them."""

    def sample(start, condition, num):
        keys = example_keys(jax.random.key(seed), start + num)[start:]
        samples = np.array(world.sample(keys, num, None if condition is None else jnp.asarray(condition)))
        return samples if spoil is None else spoil(np.arange(start, start + num), samples)

    return sample


def section_of(world, model, num=NUM):
    judge = world_judge(world)
    model = model._replace(modality=judge.modality)
    samples = draw(model, model.sample_fn, judge, num, title="")
    real = draw(model._replace(num_classes=None), sampler(world, 1), judge, num, title="")
    held_out = real._replace(condition=real.predictions.predicted)
    return consistency(Evidence(model, judge, Data(world.name, [], [], ()), samples, held_out, held_out))


def found_in(section, name):
    return next(row for row in section.measurements if row.name == name)


@pytest.mark.slow
def test_latent_sensitivity_is_the_quantiles_of_the_changes():
    changes = np.zeros((256, 2, 1), np.float32)
    changes[:, 0, 0] = np.arange(256)
    section = section_of(ring(), EvaluatedModel(sampler(ring()), latent_changes=lambda num: changes[:num]))
    row = found_in(section, "latent_sensitivity")
    assert (row.value, row.n, row.unit, row.lower_is_better) == (127.5, 256, "score", True)
    assert row.low < row.value < row.high
    assert "below 2.4e+02; the largest, 2.6e+02" in row.note


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "reason"), [(None, "single latent"), (np.nan, "4 of 4 samples")])
def test_latent_sensitivity_is_left_out_with_a_reason(changes, reason):
    model = EvaluatedModel(sampler(ring()), latent_changes=changes and (lambda num: np.full((num, 2), changes)))
    assert reason in section_of(ring(), model, num=4).left_out["latent_sensitivity"]


def rows_of(section, name="free_attributes"):
    return {row[0]: row[1:] for row in next(figure for figure in section.figures if figure.name == name).rows}


def variety_of(section, name, error=0.005):
    """The interval of how much more often two samples are alike in an attribute than two real examples."""
    (found,) = [each for each in section.checks if each.name == "variety" and each.detail == name]
    return found.difference.interval(error)


def numbers(num_modes):
    """A world of the numbers 1 ... 4, of which the mode is the rest of a division, and the number itself is read."""

    def violation(x):
        return jnp.where((x[:, 0] == jnp.round(x[:, 0])) & (x[:, 0] >= 1) & (x[:, 0] <= 4), 0, 1).astype(jnp.int32)

    def sample(keys, num, condition):
        keys = keys if keys.ndim else jax.random.split(keys, num)
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
        modality="point",
        attributes={"number": "1234"},
        read=lambda x: {"number": jnp.where(violation(x) == 0, x[:, 0].astype(jnp.int32) - 1, -1)},
    )


@pytest.mark.slow
def test_free_attributes_show_a_collapse_within_a_condition():
    parity = numbers(2)
    perfect = sampler(parity)

    def collapsed(start, condition, num):
        """Always the first example of its condition, which follows it perfectly."""
        return perfect(0, np.arange(2), 2)[condition]

    sections = [section_of(parity, EvaluatedModel(sample_fn, 2), num=120) for sample_fn in (perfect, collapsed)]
    varied, single = (rows_of(section)["number"] for section in sections)
    assert float(varied[0]) == pytest.approx(np.log(2), abs=0.05)
    assert float(varied[1]) == pytest.approx(np.log(2), abs=0.05)
    found, collapse = (variety_of(section, "number") for section in sections)
    assert found.low < 0 < found.high
    assert float(single[0]) == 0
    # Two numbers of each parity: two real examples are alike in half of all cases, two samples always.
    assert collapse.difference == pytest.approx(0.5, abs=0.05)
    assert collapse.low > 0.3


@pytest.mark.slow
def test_free_attributes_of_an_unconditional_model_include_the_mode():
    world = ring()
    first = sampler(world)(0, None, 1)

    def lopsided(index, samples):
        return np.where((index % 4 > 0)[:, None], first, samples)

    sections = [section_of(world, EvaluatedModel(sampler(world, spoil=each))) for each in (None, lopsided)]
    fair, unfair = (rows_of(section)["mode"] for section in sections)
    assert float(fair[0]) == pytest.approx(np.log(8), abs=0.05)
    found, collapse = (variety_of(section, "mode") for section in sections)
    assert found.low < 0 < found.high < 0.05
    assert float(unfair[0]) < 1.5 < float(unfair[1])
    # Three quarters of one mode, the rest of eight alike: (3/4 + 1/32)^2 + 7 / 32^2 against 1/8.
    assert collapse.difference == pytest.approx(0.492, abs=0.08)
    assert collapse.low > 0.05
    # Nothing was asked for, and nothing is said of it.
    (table,) = (figure for figure in sections[0].figures if figure.name == "free_attributes")
    assert "condition" not in table.title + table.caption


def test_free_attributes_ignore_invalid_samples():
    world = ring()

    def spoiled(index, samples):
        return np.where((index % 2 == 0)[:, None], 10.0 + index[:, None], samples).astype(np.float32)

    section = section_of(world, EvaluatedModel(sampler(world, spoil=spoiled)))
    row, found = rows_of(section)["mode"], variety_of(section, "mode")
    # Far out, they are all nearest to one mode: counted, they would pass for a collapse.
    assert float(row[0]) == pytest.approx(np.log(8), abs=0.05)
    assert found.low < 0 < found.high < 0.05


def test_free_attributes_ignore_samples_of_another_condition():
    parity = numbers(2)

    def astray(start, condition, num):
        """The first example of the condition, or in every other pair the second of the other condition."""
        return np.where(np.arange(start, start + num) // 2 % 2, 4.0 - condition, 1.0 + condition)[:, None]

    section = section_of(parity, EvaluatedModel(astray, 2), num=120)
    assert float(rows_of(section)["number"][0]) == 0
    assert variety_of(section, "number").low > 0.3


def test_free_attributes_are_left_out_with_a_reason():
    assert "fixes all" in section_of(ring(), EvaluatedModel(sampler(ring()), 8)).left_out["free_attributes"]
    single = numbers(1)._replace(attributes={}, read=None)
    assert "reads no attribute" in section_of(single, EvaluatedModel(sampler(single))).left_out["free_attributes"]


def looks(num_classes):
    """A judge of numbers, whose class is the number itself."""
    return classifier_judge(
        "reader",
        lambda x: {"logits": np.eye(num_classes)[x[:, 0].astype(int)], "features": x},
        "0123456789"[:num_classes],
        POINT,
    )


def seeds_of(sample_fn, judge, num_classes):
    model = EvaluatedModel(sample_fn, num_classes, POINT)
    samples = draw(model, sample_fn, judge, NUM, title="")
    evidence = Evidence(model, judge, Data("numbers", [], [], ()), samples, samples, samples)
    return found_in(consistency(evidence), "seed_consistency")


@pytest.mark.parametrize("num_classes", [2, 10])
def test_seed_consistency_of_an_ignored_condition_is_zero(num_classes):
    def deaf(start, condition, num):
        return np.random.default_rng(start).integers(0, num_classes, (num, 1)).astype(np.float32)

    row = seeds_of(deaf, looks(num_classes), num_classes)
    assert row.value == pytest.approx(0, abs=0.02)
    assert row.low < 0.02


@pytest.mark.slow
def test_seed_consistency_names_the_worst_condition():
    def sample(start, condition, num):
        index = np.arange(start, start + num)
        return np.where((condition == 8) & (index % 100 == 8), 3, condition)[:, None].astype(np.float32)

    row = seeds_of(sample, looks(10), 10)
    worst = 1 - (miller_madow(np.array([3] * 3 + [8] * 27))) / np.log(10)
    assert f"Least consistent: class 8, {worst:.2f}" in row.note
    assert (row.low < row.value < row.high, row.is_proxy) == (True, True)


def test_seed_consistency_counts_invalid_samples_as_a_value():
    world = ring()

    def spoil(index, samples):
        return np.where((index // 8 % 9 > 0)[:, None], samples, np.float32(99))

    worlds = [section_of(world, EvaluatedModel(sampler(world, spoil=each), 8)) for each in (None, spoil)]
    perfect, spoiled = (found_in(section, "seed_consistency") for section in worlds)
    assert (perfect.value, perfect.is_proxy) == (1, False)
    # A ninth invalid: h(1/9) = 0.349 of ln 9 = 2.197.
    assert spoiled.value == pytest.approx(1 - 0.349 / 2.197, abs=0.03)
    assert "Least consistent: mode" in spoiled.note


def paired(world, sample_fn, other_fn, num_classes=None, num=NUM):
    paired_variant = PairedVariant("model_consistency", "another", other_fn)
    return section_of(world, EvaluatedModel(sample_fn, num_classes, paired_variants=[paired_variant]), num)


def test_model_consistency_without_condition_compares_modes():
    world = ring()
    near = sampler(world, spoil=lambda index, samples: samples + np.float32(0.01))
    row = found_in(paired(world, sampler(world), near), "model_consistency")
    assert (row.value, row.n, row.is_proxy) == (1.0, 256, False)
    assert row.title.endswith("another, same mode")
    assert row.reference == pytest.approx(1 / 8, abs=0.03)
    row = found_in(paired(world, sampler(world), sampler(world, 5)), "model_consistency")
    assert row.low < 1 / 8 < row.high


def test_model_consistency_counts_invalid_samples_as_a_value():
    world = ring()

    def spoiled(index, samples):
        # Half as far from the middle: the nearest mode is still the same.
        return np.where((index % 4 == 0)[:, None], 0.5 * samples, samples).astype(np.float32)

    row = found_in(paired(world, sampler(world), sampler(world, spoil=spoiled)), "model_consistency")
    assert row.value == pytest.approx(0.75)


def test_model_consistency_of_one_mode_compares_free_attributes():
    world = numbers(1)
    row = found_in(paired(world, sampler(world), sampler(world)), "model_consistency")
    assert row.title.endswith("same number")
    assert row.value == 1.0
    assert row.reference == pytest.approx(1 / 4, abs=0.03)


def test_model_consistency_of_points_compares_distances():
    world = ring()
    near = sampler(world, spoil=lambda index, samples: samples + np.float32(0.005))
    rows = [
        found_in(paired(world, sampler(world), other, 8), "model_consistency") for other in (near, sampler(world, 5))
    ]
    assert rows[0].value == 1.0
    assert [row.reference for row in rows] == pytest.approx([0.1, 0.1], abs=0.04)
    assert rows[1].low < 0.1 < rows[1].high


def test_paired_violations_are_compared_with_independence():
    world, far = ring(), np.float32(9.0)
    tenth = sampler(world, spoil=lambda index, samples: samples + far * (index % 10 == 0)[:, None].astype(np.float32))
    other = sampler(world, spoil=lambda index, samples: samples + far * (index % 9 == 0)[:, None].astype(np.float32))
    (same,) = rows_of(paired(world, tenth, tenth), "paired_violations").values()
    assert same[0] == same[1] == same[2]
    assert same[3:] == ["1.0 %"]  # (26 / 256)^2
    (disjoint,) = rows_of(paired(world, tenth, other), "paired_violations").values()
    assert disjoint[2].startswith("1.2 %")  # 0, 90 and 180
    assert disjoint[3:] == ["1.2 %"]  # 26 / 256 * 29 / 256
    names = {figure.name for figure in paired(world, sampler(world), sampler(world)).figures}
    assert "paired_violations" not in names
