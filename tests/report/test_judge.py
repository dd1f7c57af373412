"""What the world says of samples: planted faults are found, in the right proportion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from aigc_jax.report.judge import judge

from aigc_jax.data.points import PointSource
from aigc_jax.report.gate import check_gates
from aigc_jax.report.html import to_html
from aigc_jax.report.text import summary_lines
from aigc_jax.types import Data, UsageError
from aigc_jax.worlds.mixture import ring

WORLD = ring()
POINTS = np.asarray(WORLD.sample(jax.random.key(0), 2000, None))
DATA = Data("world:ring8", PointSource(POINTS, None), PointSource(POINTS, None), ())


def perfect(start, condition, num):
    given = None if condition is None else jnp.asarray(condition)
    return np.asarray(WORLD.sample(jax.random.split(jax.random.key(1), 4000)[start : start + num], num, given))


def measure(sample_fn, **settings):
    defaults = {"num_samples": 1000, "num_classes": None, "batch_size": 300}
    return judge(sample_fn=sample_fn, world=WORLD, data=DATA, **(defaults | settings))


def test_the_worlds_own_samples_have_nothing_wrong():
    report = measure(perfect)
    assert report.find("valid_samples")[2:4] == (1.0, 1000)
    assert report.find("modes_covered").value == 1.0
    log_prob = report.find("log_prob")
    assert log_prob.value == pytest.approx(log_prob.reference, abs=0.15)
    assert set(report.left_out) == {"class_agreement"}
    assert sum(row.value for row in report.per_class) == pytest.approx(1.0)
    assert set(report.facts.values()) == {"0.00%"}


def test_the_mean_log_density_is_minus_the_entropy():
    # Modes that do not overlap: log 8 for the mode, and the Gaussian's own, 2 pi e s^2 under the logarithm.
    report = measure(perfect, num_samples=4000, num_classes=8)
    assert report.find("log_prob").value == pytest.approx(-np.log(8 * 2 * np.pi * np.e * 0.05**2), abs=0.06)


def test_it_does_not_depend_on_the_batch_size():
    assert measure(perfect, batch_size=1000)[2:] == measure(perfect)[2:]


def test_planted_hallucinations_and_a_lost_mode_are_counted():
    def broken(start, condition, num):
        samples = perfect(start, condition, num).copy()
        index = np.arange(start, start + num)
        samples[index % 10 == 0] = 0.0
        samples[index % 10 == 1] = np.cos(np.pi / 8) ** 2 * np.sqrt(2) * np.array([1.0, np.tan(np.pi / 8)])
        lost = np.asarray(WORLD.mode(jnp.asarray(samples))) == 3
        samples[lost] = perfect(0, np.full(num, 4), num)[lost]
        return samples

    report = measure(broken)
    assert report.find("valid_samples").value == pytest.approx(0.8)
    assert report.find("valid_samples").reference == 1.0
    assert report.facts == {"samples between modes": "10.00%", "samples elsewhere": "10.00%"}
    assert report.find("modes_covered").value == 7 / 8
    assert report.per_class[3].value == 0
    assert report.find("log_prob").value < -40
    assert check_gates(report, {"valid_samples": {"min_low": 0.99}, "modes_covered": {"min": 1.0}}) != []


def test_the_mode_that_was_asked_for_is_checked():
    assert measure(perfect, num_classes=8).find("class_agreement").value == 1.0
    off_by_one = measure(lambda start, condition, num: perfect(start, (condition + 1) % 8, num), num_classes=8)
    assert off_by_one.find("class_agreement").value == 0.0
    assert off_by_one.find("valid_samples").value == 1.0


def test_it_reads_well_on_a_terminal_and_as_a_page():
    report = measure(perfect, num_classes=8)
    assert [line.split("  ")[0].strip() for line in summary_lines(report)] == [
        "valid samples",
        "class agreement",
        "modes covered",
        "log density",
    ]
    assert "nats at n = 1000; real" in summary_lines(report)[-1]
    assert "hallucinations" in to_html(report, title="run")


def test_broken_samples_are_refused_in_one_line():
    with pytest.raises(UsageError, match="1000 of 1000 samples hold NaN or Inf"):
        measure(lambda start, condition, num: np.full((num, 2), np.nan, np.float32))
    with pytest.raises(UsageError, match="raise --num-samples"):
        measure(perfect, num_samples=0)
