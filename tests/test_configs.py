"""Every shipped config runs through the real command line: few steps, tiny networks, four devices."""

import dataclasses
import json

import jax
import pytest

from aigc_jax import cli
from aigc_jax.runs import config_names, load_config, load_run
from aigc_jax.train.loop import abstract_state
from tests.runs import COMMON, TINY

pytestmark = pytest.mark.standard_promotion


def test_every_config_is_in_the_table():
    assert set(TINY) == set(config_names())


@pytest.mark.parametrize("name", sorted(TINY))
def test_config_trains(name, trained_runs):
    run = trained_runs(name)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    suffix = ".txt" if name.startswith(("gpt", "mdlm")) else ".png"
    has_samples = "classifier" not in name and name not in (
        "attribute_reader",
        "mixer_digits",
        "text_transformer",
        "gpt_sentiment",
    )
    assert (run / "samples" / f"step_00000002{suffix}").exists() == has_samples


@pytest.mark.parametrize(("run", "layer"), [("classifier_digits", "Conv_0"), ("mixer_digits", "in")])
def test_classifier_of_each_architecture_trains(run, layer, trained_runs):
    _, _, variables = load_run(trained_runs(run))
    assert layer in variables["params"]["classifier"]


@pytest.mark.parametrize("name", sorted(TINY))
def test_docstring_says_how_to_run_it_and_what_it_measured(name):
    text = load_config(name).__doc__
    assert f"aigc-jax train {name}" in text
    assert "easured" in text


@pytest.mark.slow
@pytest.mark.parametrize(("name", "millions"), [("dit_xl_imagenet", 675), ("edm_imagenet64", 296)])
def test_large_config_has_the_published_number_of_parameters(name, millions):
    module = load_config(name)
    params = abstract_state(module.build(dataclasses.replace(module.Config(), batch_size=1))).params
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6 == pytest.approx(millions, abs=0.5)


def test_dit_xl_without_an_autoencoder_has_no_data(capsys):
    assert cli.main(["train", "dit_xl_imagenet"]) == 2
    assert "pass --autoencoder RUN" in capsys.readouterr().err


def test_flow_trains_under_a_rule_that_a_reader_reads(trained_runs, tmp_path, capsys):
    words = ["train", *trained_runs.words("flow_sums")[1:-2], *COMMON, "--rule", "sum(top) == sum(bottom)"]
    words = [word if not word.startswith(str(trained_runs.folder)) else str(tmp_path / "run") for word in words]
    assert cli.main([*words, "--reader", str(trained_runs("attribute_reader")), "--rule-weight", "0.5"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    # Of four digits that are unknown, 670 of 10,000 combinations have equal sums.
    assert all(1.0 < line["metrics"]["denoiser/semantic"] < 6.0 for line in lines)
    capsys.readouterr()
    for more, expected in (
        ([], "pass --reader RUN"),
        (["--reader", str(trained_runs("flow_sums"))], "one of flow_digits"),
        (["--reader", str(trained_runs("attribute_reader")), "--rule", "top == 3"], "column 1: top stands for"),
        (["--reader", str(trained_runs("attribute_reader")), "--rule", "sum(top) > 18"], "no values of top_left"),
        (["--reader", str(trained_runs("attribute_reader")), "--rule-weight", "-1"], "--rule-weight"),
    ):
        assert cli.main([*words[:-1], words[-1], "--workdir", str(tmp_path / "other"), *more]) == 2
        error = capsys.readouterr().err.strip()
        assert expected in error.splitlines()[-1]


def test_gan_trains_under_a_rule_of_classes(trained_runs, tmp_path):
    words = ["train", "gan_digits", *COMMON, *TINY["gan_digits"].split(), "--workdir", str(tmp_path / "run")]
    assert cli.main([*words, "--rule", "label in (1, 7)", "--reader", str(trained_runs("classifier_digits"))]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    # Of ten classes that are unknown, the probability of two is 0.2.
    assert all(0.5 < line["metrics"]["generator/semantic"] < 5.0 for line in lines)


def test_consistency_model_is_distilled_from_a_run(trained_runs, tmp_path, capsys):
    words = ["train", "consistency_mnist", *COMMON, *TINY["consistency_mnist"].split(), "--teacher"]
    assert cli.main([*words, str(trained_runs("flow_digits")), "--workdir", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert cli.main([*words, str(tmp_path / "run"), "--workdir", str(tmp_path / "other")]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "flow_digits" in error
