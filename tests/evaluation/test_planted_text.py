"""Each planted fault of a writer fails its own criterion and no other; a perfect writer fails none."""

import pytest

from . import planted_text
from .planted import failed

FAULTS = {
    "perfect": (planted_text.perfect, set()),
    "copies 5 % of its texts": (planted_text.copying, {"not_copied"}),
    "ignores its condition 10 % of the time": (planted_text.ignoring, {"follows_condition"}),
    "repeats itself": (planted_text.repeating, {"diverse"}),
    "reuses a key for one text in twenty": (planted_text.reusing, {"consistent"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_of_a_writer_fails_its_own_criterion_alone(name):
    change, expected = FAULTS[name]
    report = planted_text.report_of(change)
    assert failed(report) == expected, [criterion for criterion in report.criteria if criterion.state == "fail"]
    if not expected:
        assert all(check.state == "pass" for each in report.criteria for check in each.checks if each.name != "diverse")
