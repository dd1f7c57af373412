"""Which samples are unreliable, which detector is chosen, and what is refused with which advice."""

import numpy as np
import pytest

from aigc_jax.data.points import POINT
from aigc_jax.evaluation.calibrating import calibrated, title_of_unreliable, unreliable
from aigc_jax.evaluation.evaluate import collect_evidence
from aigc_jax.evaluation.judge import world_judge
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.section import Settings
from aigc_jax.guards.calibration import calibrate, design_part, samples_needed
from aigc_jax.types import UsageError

from .planted import NUM_CLASSES, WORLD, data, perfect


def evidence_of(sample_fn, num_classes, num=200):
    model = EvaluatedModel(sample_fn, num_classes, POINT)
    return collect_evidence(model, world_judge(WORLD), data(), Settings(num_samples=num))


def faulty(start, condition, num):
    """Every tenth sample is off all modes, every seventh is of the next mode."""
    index = np.arange(start, start + num)
    given = None if condition is None else np.where(index % 7 == 0, (condition + 1) % NUM_CLASSES, condition)
    samples = np.array(perfect(start, None if given is None else given.astype(np.int32), num))
    samples[index % 10 == 0] = 50.0
    return samples


@pytest.mark.slow
def test_unreliable_in_a_world_are_violations_and_other_modes_than_requested():
    evidence = evidence_of(faulty, NUM_CLASSES)
    index = np.arange(200)
    np.testing.assert_array_equal(unreliable(evidence), (index % 10 == 0) | (index % 7 == 0))
    assert title_of_unreliable(evidence) == "samples that world:planted forbids, or of another condition"
    free = evidence_of(faulty, None)
    np.testing.assert_array_equal(unreliable(free), index % 10 == 0)
    assert title_of_unreliable(free) == "samples that world:planted forbids"


def labelled(rng, num=2000, share=0.05):
    grades = (rng.uniform(size=num) < share).astype(np.float64)
    noise = rng.normal(size=(3, num))
    scores = {"useless": noise[0], "good": noise[1] + 4 * grades, "fair": noise[2] + 2 * grades}
    return scores, grades


def refusal(scores, grades, **options):
    with pytest.raises(UsageError) as caught:
        calibrated(scores, grades, **{"detector": None, "risk": 0.01, "delta": 0.05, **options})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_best_detector_is_chosen_and_calibrated(rng):
    scores, grades = labelled(rng)
    found = calibrated(scores, grades, detector=None, risk=0.01, delta=0.05)
    assert found.detector == "good"
    assert found.threshold == calibrate(scores["good"], grades > 0.5, 0.01, 0.05)
    assert found.assessed["good"].verdict == "useful"
    assert calibrated(scores, grades, detector="fair", risk=0.04, delta=0.05).detector == "fair"


def test_the_certifying_samples_do_not_choose_the_detector(rng):
    """Else the guarantee would be lost: a score that is right on the certifying part alone is not chosen."""
    scores, grades = labelled(rng)
    is_design = design_part(len(grades))
    scores["lucky"] = np.where(is_design, rng.normal(size=len(grades)), 10 * grades)
    assert calibrated(scores, grades, detector=None, risk=0.01, delta=0.05).detector == "good"


def test_what_cannot_be_calibrated_is_refused(rng):
    scores, grades = labelled(rng)
    assert "the detector useless, is no better than chance on 1500" in refusal(scores, grades, detector="useless")
    alone = {"useless": scores["useless"]}
    assert "the detector useless, the best of this run, is no better than chance" in refusal(alone, grades)
    assert "is no better than chance" in refusal({"inverted": -scores["good"]}, grades)
    assert "no detector 'magic': name one of useless, good, fair" in refusal(scores, grades, detector="magic")
    assert "this run has no detector: calibrate the run of a denoising model" in refusal({}, grades)
    assert "all of the 2000 labelled samples are unreliable" in refusal(scores, np.ones(2000))
    assert "at most 0.15 % with probability 95 %" in refusal(scores, np.zeros(2000))
    assert "without a guard the risk is as small as that" in refusal(scores, np.zeros(2000))
    assert "raise --num to see any" in refusal(scores, np.zeros(2000), risk=0.001)
    single = np.zeros(2000)
    single[7] = 1
    assert "1 of the 2000 labelled samples are unreliable, too few of one kind" in refusal(scores, single)
    text = refusal({"fair": scores["fair"]}, grades, risk=0.0005)
    assert "do not certify a risk of 0.05 % by fair" in text
    number = int(text.partition("about ")[2].split()[0])
    assert number >= np.ceil(np.log(0.05) / np.log1p(-0.0005) / 0.75)
    # A score with a part of the unreliable samples among its best: no threshold is good enough.
    hidden = np.where(rng.uniform(size=2000) < 0.3, -scores["good"], scores["good"])
    assert "and more may not either" in refusal({"hidden": np.where(grades > 0, hidden, 0.0)}, grades, risk=0.01)


@pytest.mark.parametrize("alpha", [0.01, 0.02])
def test_samples_needed_certify_more_often_than_not_and_far_fewer_do_not(alpha):
    def draw(rng, num):
        truth = rng.uniform(size=num) < 0.05
        return rng.normal(size=num) + 3.5 * truth, truth

    needed = samples_needed(*draw(np.random.default_rng(0), 3000), alpha)

    def share(num):
        return np.mean([calibrate(*draw(np.random.default_rng(s), num), alpha).is_certified for s in range(1, 101)])

    assert share(needed) > 0.6
    assert share(needed // 3) < 0.2


def test_calibrated_refuses_grades_that_are_all_alike(rng):
    message = refusal({"a": rng.normal(size=400)}, np.full(400, 0.5), risk=0.1)
    assert "all of the 400 labelled samples have the grade 0.5" in message
