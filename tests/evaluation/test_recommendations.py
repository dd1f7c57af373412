"""Each rule speaks when its figures call for it, and is silent otherwise."""

import pytest

from aigc_jax.evaluation.recommendations import Findings, recommendations
from aigc_jax.report.figures import Lines, Series
from aigc_jax.report.measurements import Measurement
from aigc_jax.report.schema import Criterion


def findings(lit=(), figures=(), auc=None, guidance=None, **values):
    rows = {
        name: Measurement(name, name, value, 100, "share", "", reference=reference)
        for name, (value, reference) in values.items()
    }
    criteria = {name: Criterion(name, True, "") for name in lit}
    return Findings(rows, criteria, {figure.name: figure for figure in figures}, auc, 0.9, guidance, guidance != 3.0)


def sweep(name, curves, floors=None):
    series = [Series(title, [1.0, 2.0], [2 * y, y]) for title, y in curves.items()]
    return Lines(name, "", "", "", "", series, floors or {})


RATES = sweep("sampler_sweep", {"ddim": 0.2, "ancestral": 0.01}, {"real": 0.005})
SAME = sweep("sampler_sweep", {"ddim": 0.2, "ancestral": 0.2, "ddim, exact denoiser": 0.0}, {"real": 0.005})


def guided(name, *values):
    """A curve over the weights 1, 2, 3, its intervals 0.02 to either side."""
    series = Series(name, [1.0, 2.0, 3.0], list(values), [y - 0.02 for y in values], [y + 0.02 for y in values])
    return Lines("guidance_sweep", "", "", "", "", [series], {})


GUIDED = guided("class agreement", 0.8, 0.9, 0.9)
OVER_GUIDED, STEADY = guided("precision", 0.9, 0.6, 0.5), guided("precision", 0.61, 0.6, 0.58)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (findings(lit=["valid"], figures=[RATES]), "Draw with ancestral"),
        (findings(lit=["valid"], figures=[SAME]), "Train longer"),
        (findings(lit=["follows_condition"], figures=[GUIDED], guidance=1.0), "--guidance 2"),
        (findings(lit=["follows_condition"], second_opinion=(0.7, 0.98)), "by a second classifier 70.0%"),
        (findings(lit=["valid"], figures=[OVER_GUIDED], guidance=2.0), "--guidance-rescale"),
        (findings(lit=["valid"], figures=[OVER_GUIDED], guidance=3.0), "Guide less"),
        (findings(lit=["not_copied"], copied_samples=(0.2, 0.01)), "duplicates"),
        (findings(lit=["diverse"], coverage=(0.5, 0.97)), "50.0%"),
        (findings(lit=["diverse", "not_copied"], coverage=(0.5, 0.97)), "More data"),
        (findings(lit=["consistent"], distinct_samples=(0.5, 1.0)), "key that is used twice"),
        (findings(auc=0.99), "threshold accepts 90.0%"),
        (findings(auc=0.99)._replace(acceptance=None), "--detector-samples"),
        (findings(model_consistency=(0.1, 0.05)), "two models agree"),
    ],
)
def test_a_rule_speaks(given, words):
    assert any(words in f"{action.title} {action.reason} {action.command}" for action in recommendations(given))


def test_guidance_that_is_not_to_blame_is_left_alone():
    # The best weight is the run's own, the difference is chance, nothing is lit, there is no guidance.
    assert recommendations(findings(lit=["valid"], figures=[OVER_GUIDED], guidance=1.0)) == []
    assert recommendations(findings(lit=["valid"], figures=[STEADY], guidance=3.0)) == []
    assert recommendations(findings(figures=[OVER_GUIDED], guidance=2.0)) == []
    assert recommendations(findings(lit=["valid"], figures=[OVER_GUIDED])) == []
    found = recommendations(
        findings(lit=["follows_condition"], figures=[guided("class agreement", 0.88, 0.9, 0.9)], guidance=1.0)
    )
    assert not any("weight" in action.title for action in found if "--guidance" in action.command)


def test_nothing_to_say_of_a_model_that_nothing_is_wrong_with():
    assert (
        recommendations(findings(figures=[RATES, GUIDED], auc=0.6, coverage=(0.97, 0.97), copied_samples=(0.2, 0.2)))
        == []
    )
