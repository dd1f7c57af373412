"""Each planted fault fails its own criterion and no other; a perfect sampler fails none."""

import numpy as np
import pytest

from aigc_jax.evaluation.model import Replication

from . import planted

FAULTS = {
    "perfect": (planted.perfect, planted.NUM_CLASSES, set()),
    "perfect, unconditional": (planted.perfect, None, set()),
    "copies 5 % of the training set": (planted.copying, planted.NUM_CLASSES, {"not_copied"}),
    "drops two classes": (planted.dropping, None, {"diverse"}),
    "ignores its condition 10 % of the time": (planted.ignoring, planted.NUM_CLASSES, {"follows_condition"}),
    "reuses a key": (planted.reusing, planted.NUM_CLASSES, {"consistent"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_fails_its_own_criterion_alone(name):
    sample_fn, num_classes, expected = FAULTS[name]
    report = planted.report_of(sample_fn, num_classes)
    assert planted.failed(report) == expected, [criterion for criterion in report.criteria if criterion.state == "fail"]


@pytest.mark.one_case
@pytest.mark.parametrize(
    ("sample_fn", "judge", "expected"),
    [
        (planted.perfect, planted.TWO_JUDGES, set()),
        (planted.ignoring, planted.TWO_JUDGES, {"follows_condition"}),
        (planted.pleasing_one, planted.TWO_JUDGES, {"follows_condition"}),
        (planted.pleasing_one, planted.ONE_JUDGE, set()),  # what one judge alone lets pass
    ],
)
def test_second_classifier_finds_samples_that_fool_the_first(sample_fn, judge, expected):
    report = planted.report_of(sample_fn, judge=judge)
    assert planted.failed(report) == expected, [criterion for criterion in report.criteria if criterion.state == "fail"]
    if sample_fn is planted.pleasing_one and expected:
        first, second = report.criterion("follows_condition").checks
        assert (first.state, second.state) == ("pass", "fail")
        assert report.find("class_agreement").value > 0.99
        assert report.find("second_opinion").value == pytest.approx(0.8, abs=0.01)


@pytest.mark.slow
def test_valid_samples_counts_hallucinations():
    report = planted.report_of(planted.hallucinating)
    # What is of no class is not of the requested one either: two points more, within the margin of three.
    assert planted.failed(report) == {"valid"}
    (check,) = report.criterion("follows_condition").checks
    assert (check.difference, check.margin) == (pytest.approx(0.02), 0.03)
    valid = report.find("valid_samples")
    assert valid.value == pytest.approx(0.98)
    assert valid.low < 0.98 < valid.high
    violations = next(figure for figure in report.figures if figure.name == "violations")
    assert sum(bar.value for bar in violations.bars) == pytest.approx(0.02)


@pytest.mark.slow
def test_repeatability_notices_samples_that_change():
    report = planted.report_of(planted.perfect, again=lambda *given: planted.perfect(*given) + np.float32(1e-6))
    assert planted.failed(report) == {"consistent"}
    assert report.find("repeatability").value == 0.0


@pytest.mark.slow
def test_replications_notice_dependence_on_neighbours_but_not_rounding():
    def in_batches(start, condition, num):
        parts = range(start, start + num, 16)
        return np.concatenate([planted.crowded(each, condition[each - start :][:16], 16) for each in parts])

    def rounded(start, condition, num):
        samples = planted.perfect(start, condition, num).copy()
        samples[:3] += np.float32(0.5)  # a few carried far
        return samples + np.float32(1e-5)

    replications = [Replication("in batches of 16", in_batches, 1e-3, is_judged=False, large_difference=0.1)]
    assert planted.failed(planted.report_of(planted.crowded, replications=replications)) >= {"consistent"}
    replications = [Replication("in batches of 16", rounded, 1e-3, is_judged=False, large_difference=0.1)]
    assert planted.failed(planted.report_of(planted.perfect, replications=replications)) == set()


@pytest.mark.slow
def test_perfect_samplers_fail_no_criterion_in_many_draws(monkeypatch):
    # 5 % for a whole report, of which few comparisons lie anywhere near their margins: none of so few.
    for offset in range(3):
        report = planted.report_of(
            lambda start, condition, num, offset=offset: planted.perfect(
                start + offset * planted.NUM_SAMPLES, condition, num
            ),
            num_samples=1000,
        )
        assert planted.failed(report) == set()
