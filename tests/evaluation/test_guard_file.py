"""The guard file: what is written is read, anything else is one line; and the test for scores that have moved."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binom, kstwobign

from aigc_jax.evaluation.guard_file import DRIFT_LEVEL, GuardRecord, drift, quantiles, read_guard, write_guard
from aigc_jax.guards.calibration import Threshold
from aigc_jax.guards.conformal import MeanLossThreshold
from aigc_jax.guards.typicality import Typical
from aigc_jax.types import UsageError

RECORD = GuardRecord(
    config="flow_2d",
    checkpoint="2",
    weights="0" * 64,
    seed=7,
    sampling={"condition": "in turn", "num_steps": 2},
    judge="world:ring8",
    by_classifier=False,
    unreliable="samples that world:ring8 forbids",
    detector="renoise",
    typical=None,
    threshold=Threshold(0.25, 0.9, 0.002, 0.01, 0.05, 4000, 3000),
    quantiles=np.linspace(0, 1, 50),
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"typical": Typical(1.5, 0.25)},
        {"threshold": RECORD.threshold._replace(value=math.inf)},
        {"threshold": MeanLossThreshold(0.5, 0.8, 0.01, 0.02, 300)},
    ],
)
def test_a_guard_is_read_as_it_was_written(changes, tmp_path):
    record = RECORD._replace(**changes)
    write_guard(tmp_path / "guard.json", record)
    found = read_guard(tmp_path / "guard.json")
    np.testing.assert_array_equal(found.quantiles, record.quantiles)
    assert found._replace(quantiles=None) == record._replace(quantiles=None)
    assert found.guarantee == record.guarantee
    assert json.loads((tmp_path / "guard.json").read_text())["guarantee"] == record.guarantee


def changed(**changes):
    def change(content):
        for name, value in changes.items():
            *groups, last = name.split("__")
            place = content
            for group in groups:
                place = place[group]
            place[last] = value

    return change


def without(name):
    return lambda content: content.pop(name)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("format"), "no valid format"),
        (changed(format=2), "has format 2, this library reads up to 1"),
        (changed(format=True), "no valid format"),
        (without("detector"), "no valid detector"),
        (changed(detector=["renoise"]), "no valid detector"),
        (changed(weights="0" * 63), "no valid weights"),
        (changed(weights="X" * 64), "no valid weights"),
        (changed(checkpoint=2), "no valid checkpoint"),
        (changed(seed=2**32), "no valid seed"),
        (changed(seed=1.0), "no valid seed"),
        (changed(by_classifier=0), "no valid by_classifier"),
        (changed(sampling=[1]), "no valid sampling"),
        (changed(typical={"middle": 0.0}), "no valid typical"),
        (changed(typical={"middle": 0.0, "spread": -1.0}), "no valid typical"),
        (changed(threshold=0.5), "no valid threshold"),
        (changed(threshold__value=math.nan), "no valid threshold"),
        (changed(threshold__value=-math.inf), "no valid threshold"),
        (changed(threshold__value="0.1"), "no valid threshold"),
        (changed(threshold__alpha=0), "no valid threshold"),
        (changed(threshold__delta=None), "no valid threshold"),
        (changed(threshold__n=0), "no valid threshold"),
        (changed(threshold__extra=1), "no valid threshold"),
        (changed(quantiles=[]), "no valid quantiles"),
        (changed(quantiles=[0.0, None]), "no valid quantiles"),
        (changed(quantiles=[0.0] * 100_000), "no valid quantiles"),
        (changed(more=1), "unknown entry more"),
    ],
)
def test_a_damaged_guard_is_one_line(change, expected, tmp_path):
    file = tmp_path / "guard.json"
    write_guard(file, RECORD)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError) as caught:
        read_guard(file)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff\xfe", b"[" * 10_000, b'{"format": ' + b"9" * 5000 + b"}", b"null"]
)
def test_what_is_no_guard_is_one_line(content, tmp_path):
    (tmp_path / "guard.json").write_bytes(content)
    with pytest.raises(UsageError, match="cannot read") as caught:
        read_guard(tmp_path / "guard.json")
    assert "\n" not in str(caught.value)


def test_texts_of_a_hostile_guard_are_made_safe_and_short(tmp_path):
    file = tmp_path / "guard.json"
    write_guard(file, RECORD._replace(unreliable="\x1b[31m" + "x" * 10_000, sampling={"\x1b]0;title": 1}))
    found = read_guard(file)
    assert "\x1b" not in found.unreliable + "".join(found.sampling)
    assert len(found.unreliable) <= 200


def calibrated_on(scores, value):
    """The record of a guard with a threshold, of whose scores three quarters certify."""
    num = 3 * len(scores) // 4
    threshold = Threshold(value, float(np.mean(scores[:num] <= value)), 0.0, 0.01, 0.05, len(scores), num)
    return RECORD._replace(quantiles=quantiles(scores), threshold=threshold)


def test_drift_raises_a_false_alarm_as_often_as_stated_and_sees_a_shift(rng):
    record = [calibrated_on(rng.normal(size=5000), 1.5) for _ in range(300)]
    alarms = sum(drift(each, rng.normal(size=200)).has_moved for each in record)
    assert alarms <= binom.ppf(0.9999, 300, DRIFT_LEVEL)
    assert all(drift(each, rng.normal(size=200) + 0.6).has_moved for each in record[:20])
    assert all(drift(each, 1.7 * rng.normal(size=1000)).has_moved for each in record[:20])
    # Where all pass, and of as many scores as are kept, its p is that of Kolmogorov's distribution.
    own, new = rng.normal(size=1000), rng.normal(size=800)
    found = drift(calibrated_on(own, np.inf), new)
    edges = np.concatenate([own, new])
    distance = np.abs(np.mean(own[:, None] <= edges, axis=0) - np.mean(new[:, None] <= edges, axis=0)).max()
    assert found.distance == pytest.approx(distance)
    expected = kstwobign.sf(distance * np.sqrt(1000 * 800 / 1800))
    assert found.p_value == pytest.approx(min(2 * expected, 1.0), abs=0.06)


def test_drift_sees_more_of_the_scores_that_a_guard_leaves_out(rng):
    """Violations of 0.6 %, and then of 4 %: a difference that the distribution as a whole hardly shows."""

    def scores(num, share):
        return rng.normal(size=num) + 5.0 * (rng.random(num) < share)

    found = [drift(calibrated_on(scores(10_000, 0.006), 2.6), scores(2000, 0.04)) for _ in range(20)]
    assert all(each.has_moved for each in found)
    assert np.mean([each.acceptance for each in found]) == pytest.approx(0.9555, abs=0.005)


def test_drift_of_scores_that_are_no_numbers():
    record = calibrated_on(np.tile(np.append(np.zeros(9), np.nan), 100), 0.5)
    assert not drift(record, np.append(np.zeros(450), np.full(50, np.inf))).has_moved
    assert drift(record, np.full(500, np.nan)).has_moved
