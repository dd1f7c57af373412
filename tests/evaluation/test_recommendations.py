"""Each rule recommends something where its measurements call for it, and nothing otherwise."""

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from aigc_jax.cli.arguments import Calibrate
from aigc_jax.cli.evaluate import Evaluate, command_line, train_longer
from aigc_jax.cli.evaluate_samples import EvaluateSamples
from aigc_jax.cli.main import _prepare, main
from aigc_jax.cli.sample import Sample
from aigc_jax.evaluation.recommendations import Commands, Findings, recommendations
from aigc_jax.report.figures import Lines, Series
from aigc_jax.report.measurements import Measurement
from aigc_jax.report.schema import Check, Criterion, Report
from aigc_jax.runs import load_config
from aigc_jax.samplers.settings import Sampling
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.run_dir import read_run, write_run


@dataclasses.dataclass(frozen=True)
class Plain:
    """Settings of a sampler that knows guidance alone."""

    guidance: float = 1.0


COMMANDS = Commands(
    lambda **options: command_line(Evaluate(Path("runs/a b")), **options), "aigc-jax train gan_digits", 500
)


def findings(failed=(), figures=(), sampling=None, auc=None, acceptance=0.9, **values):
    rows = [
        Measurement(name, name, value, 100, "share", "", reference=reference)
        for name, (value, reference) in values.items()
    ]
    criteria = [Criterion(name, "fail", "") for name in failed]
    report = Report("digits", "", 100, rows, criteria, figures)
    facts = {} if auc is None else {"best_auc": auc, **({} if acceptance is None else {"acceptance": acceptance})}
    return Findings(report, facts, sampling, COMMANDS)


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

CASES = [
    (findings(["valid"], [RATES]), "--sampler ancestral"),
    (findings(["valid"], [SAME]), "Train longer"),
    (findings(["follows_condition"], [GUIDED], Plain(1.0)), "--guidance 2"),
    (findings(["follows_condition"], second_opinion=(0.7, 0.98)), "by a second classifier 70.0%"),
    (findings(["valid"], [OVER_GUIDED], Sampling(guidance=2.0)), "--guidance-rescale 0.7 --guidance-interval 0.3 5.0"),
    (findings(["valid"], [OVER_GUIDED], Plain(3.0)), "Guide less"),
    (findings(["not_copied"], copied_samples=(0.2, 0.01)), "--checkpoint 500"),
    (findings(["diverse"], coverage=(0.5, 0.97)), "50.0%"),
    (findings(["diverse"], sampling=Plain(3.0), coverage=(0.5, 0.97)), "--guidance 1.0"),
    (findings(["consistent"], distinct_samples=(0.5, 1.0)), "key used twice"),
    (findings(auc=0.99, acceptance=None), "--num-samples 10000"),
]


@pytest.mark.parametrize(("given", "words"), CASES)
def test_recommendations_are_made_where_measurements_call_for_them(given, words):
    assert any(words in f"{each.title} {each.reason} {each.effect} {each.command}" for each in recommendations(given))


@pytest.mark.parametrize(("given", "words"), CASES)
def test_recommended_commands_are_pasteable(given, words, tmp_path, monkeypatch):
    del words
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/a b"), "flow_digits", load_config("flow_digits").Config(), {})
    for each in recommendations(given):
        program, *arguments = shlex.split(each.command)
        assert program == "aigc-jax"
        assert arguments[0] == "train" or arguments[1] == "runs/a b"
        assert each.effect
        _prepare(arguments)  # imports and parses it


def test_reasons_and_advice_name_options_that_exist():
    known = {
        field.name
        for kind in (Calibrate, Evaluate, EvaluateSamples, Sample, Sampling, ImageConfig)
        for field in dataclasses.fields(kind)
    }
    root = Path(recommendations.__code__.co_filename).parent
    for file in root.rglob("*.py"):
        for option in re.findall(r"--([a-z][a-z-]+)", file.read_text()):
            assert option.replace("-", "_") in known, f"{file.name}: --{option}"


def test_recommendations_change_each_setting_once():
    # More guidance for the class and less for coverage; an earlier checkpoint and more steps.
    given = findings(["follows_condition", "diverse", "not_copied"], [GUIDED], Plain(2.0), coverage=(0.5, 0.97))
    commands = [each.command for each in recommendations(given)]
    assert sum("--guidance" in command for command in commands) == 1
    assert sum("--checkpoint" in command or "train" in command for command in commands) == 1


def test_recommendation_of_more_samples_is_the_number_that_decides():
    check = Check("coverage", "", 0.05, 0.01, 0.04, 0.0, 0.08, 0.05, "undecided", 100, 4000, "about 4000 samples")
    report = Report("digits", "", 100, (), [Criterion("diverse", "undecided", "", [check])])
    (found,) = recommendations(Findings(report, commands=COMMANDS))
    assert found.command.endswith("--num-samples 4000")
    stuck = check._replace(num_needed=None)
    report = report._replace(criteria=[Criterion("diverse", "undecided", "", [stuck])])
    assert recommendations(Findings(report, commands=COMMANDS)) == []


def test_guidance_that_is_not_to_blame_is_left_alone():
    # The best weight is the run's own, the difference is chance, no criterion failed, there is no guidance.
    assert recommendations(findings(["valid"], [OVER_GUIDED], Plain(1.0))) == []
    assert recommendations(findings(["valid"], [STEADY], Plain(3.0))) == []
    assert recommendations(findings(figures=[OVER_GUIDED], sampling=Plain(2.0))) == []
    assert recommendations(findings(["valid"], [OVER_GUIDED])) == []
    by_chance = guided("class agreement", 0.88, 0.9, 0.9)
    found = recommendations(findings(["follows_condition"], [by_chance], Plain(1.0)))
    assert not any("--guidance" in each.command for each in found)


@pytest.mark.parametrize("state", ["undecided", "pass", None])
def test_nothing_is_recommended_for_a_criterion_that_is_not_shown_to_fail(state):
    names = ["valid", "follows_condition", "consistent", "not_copied", "diverse"]
    given = findings(names, [RATES, GUIDED], Plain(3.0), coverage=(0.5, 0.97), copied_samples=(0.2, 0.01))
    assert len(recommendations(given)) > 2
    criteria = [criterion._replace(state=state) for criterion in given.report.criteria]
    given = given._replace(report=given.report._replace(criteria=criteria))
    always = findings([], [RATES, GUIDED], Plain(3.0), coverage=(0.5, 0.97), copied_samples=(0.2, 0.01))
    assert recommendations(given) == recommendations(always)


def test_nothing_is_recommended_for_a_model_without_failures():
    given = findings(figures=[RATES, GUIDED], auc=0.6, coverage=(0.97, 0.97), copied_samples=(0.2, 0.2))
    assert recommendations(given) == []


@pytest.mark.standard_promotion
def test_train_longer_is_a_command_for_the_same_run(trained_run):
    run = trained_run("gan_digits")
    words = shlex.split(train_longer(run, None))
    assert words[:5] == ["aigc-jax", "train", "gan_digits", "--workdir", str(run)]
    assert words[words.index("--steps") + 1] == "4"
    assert words[words.index("--schedule-steps") + 1] == "2"
    assert main(words[1:]) == 0


def test_train_longer_leaves_out_the_vocabulary(trained_run):
    run = trained_run("gpt_docs")
    assert len(read_run(run).values["vocabulary"]) > 1
    assert "--vocabulary" not in shlex.split(train_longer(run, None))
