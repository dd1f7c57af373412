"""Each rule speaks when its figures call for it, and is silent otherwise."""

import pytest

from aigc_jax.report.actions import Findings, actions
from aigc_jax.report.figures import Lines, Series
from aigc_jax.report.report import Lamp, Measurement


def findings(lit=(), figures=(), auc=None, **values):
    rows = {
        name: Measurement(name, name, value, 100, "share", "", reference=reference)
        for name, (value, reference) in values.items()
    }
    lamps = {name: Lamp(name, True, "") for name in lit}
    return Findings(rows, lamps, {figure.name: figure for figure in figures}, auc, 0.9)


def sweep(name, curves, floors=None):
    series = [Series(title, [1.0, 2.0], [2 * y, y]) for title, y in curves.items()]
    return Lines(name, "", "", "", "", series, floors or {})


RATES = sweep("sampler_sweep", {"ddim": 0.2, "ancestral": 0.01}, {"real": 0.005})
SAME = sweep("sampler_sweep", {"ddim": 0.2, "ancestral": 0.2, "ddim, exact denoiser": 0.0}, {"real": 0.005})
GUIDED = sweep("guidance_sweep", {"class agreement": 0.9})
OVER_GUIDED = sweep("guidance_sweep", {"precision": 0.4})
STEADY = Lines("guidance_sweep", "", "", "", "", [Series("precision", [1.0, 2.0], [0.4, 0.38])], {})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (findings(lit=["valid"], figures=[RATES]), "Draw with ancestral"),
        (findings(lit=["valid"], figures=[SAME]), "Train longer"),
        (findings(lit=["follows_condition"], figures=[GUIDED], class_agreement=(0.8, None)), "guidance weight"),
        (findings(lit=["follows_condition"], second_opinion=(0.7, 0.98)), "by a second classifier 70.0%"),
        (findings(lit=["valid"], figures=[OVER_GUIDED]), "--guidance-rescale"),
        (findings(lit=["not_copied"], copied_samples=(0.2, 0.01)), "duplicates"),
        (findings(lit=["diverse"], coverage=(0.5, 0.97)), "50.0%"),
        (findings(lit=["diverse", "not_copied"], coverage=(0.5, 0.97)), "More data"),
        (findings(lit=["consistent"], distinct_samples=(0.5, 1.0)), "key that is used twice"),
        (findings(auc=0.99), "calibrated"),
        (findings(model_consistency=(0.1, 0.05)), "two models agree"),
    ],
)
def test_a_rule_speaks(given, words):
    assert any(words in f"{action.title} {action.reason} {action.command}" for action in actions(given))


def test_guidance_that_costs_no_validity_is_left_alone():
    assert actions(findings(lit=["valid"], figures=[STEADY])) == []
    assert actions(findings(figures=[OVER_GUIDED])) == []


def test_nothing_to_say_of_a_model_that_nothing_is_wrong_with():
    assert actions(findings(figures=[RATES, GUIDED], auc=0.6, coverage=(0.97, 0.97), copied_samples=(0.2, 0.2))) == []
