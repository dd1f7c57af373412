"""Each planted fault of a writer fails its own criterion and no other; a perfect writer fails none."""

import numpy as np
import pytest

from aigc_jax.evaluation.sections.text import latent_semantics
from aigc_jax.metrics.divergence_frontier import mauve

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
    found = next(row for row in report.measurements if row.name == "mauve")
    assert found.value == pytest.approx(found.reference, abs=0.05)  # none of the faults is one of topics
    if not expected:
        assert all(check.state == "pass" for each in report.criteria for check in each.checks if each.name != "diverse")


def test_latent_semantics_tell_topics_apart(rng):
    topics = [["stars shine", "moons circle", "suns burn"], ["bread bakes", "soup boils", "salt melts"]]

    def texts(chosen):
        return [" ".join(rng.choice(topics[topic], 4)) for topic in chosen]

    both = rng.integers(2, size=400)
    training = texts(both)
    encode = latent_semantics(training)
    reference = encode(training)
    same, lost = (mauve(reference, encode(texts(chosen)), num_clusters=20) for chosen in (both, np.zeros(400, int)))
    assert same > 0.9
    assert lost < 0.75
