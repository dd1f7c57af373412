"""Commands that change how a trained run is sampled and measured: --sampler, --num-steps, --guidance, likelihood."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax import cli
from aigc_jax.cli.evaluate import Evaluate, command_line
from aigc_jax.cli.parsing import parse_with_settings
from aigc_jax.cli.sample import Sample
from aigc_jax.data.pipeline import load
from aigc_jax.rng import split_by_name
from aigc_jax.runs import load_config, load_run, replaced
from aigc_jax.types import UsageError
from tests.runs import TINY

pytestmark = pytest.mark.standard_promotion


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("flow_digits", ["sample", "--sampler", "runge"], "heun"),
        ("flow_digits", ["sample", "--num-steps", "0"], "expected num_steps >= 1, got 0: set --num-steps"),
        ("flow_digits", ["sample", "--guidance", "-1"], "guidance"),
        ("flow_digits", ["sample", "--guidance-rescale", "2"], "rescaling"),
        ("flow_digits", ["sample", "--guidance-interval", "5", "1"], "interval"),
        ("flow_digits", ["sample", "--condition", "12"], "one of 0, 1, 2"),
        ("flow_digits", ["evaluate", "--sampler", "runge"], "heun"),
        (
            "iwae_mnist",
            ["sample", "--guidance", "2"],
            "(did you mean --rule-guidance?): this run has no sampling settings",
        ),
        ("d3pm_digits", ["sample", "--guidance-rescale", "0.5"], "no option --guidance-rescale"),
        ("iwae_mnist", ["sample", "--condition", "2"], "unconditional"),
        ("iwae_mnist", ["likelihood", "--num-steps", "2"], "this run are --num-importance-samples --chunk-size"),
        ("iwae_mnist", ["likelihood", "--num-importance-samples", "0"], "set --num-importance-samples"),
        (
            "d3pm_digits",
            ["sample", "--sampler", "heun"],
            "settings of this run are --num-steps --guidance; see",
        ),
        ("d3pm_digits", ["sample", "--num-steps", "0"], "--num-steps"),
        ("d3pm_digits", ["likelihood", "--num-importance-samples", "5"], "no option --num-importance-samples"),
        ("d3pm_digits", ["likelihood", "--num-steps", "0"], "set --num-steps"),
        ("d3pm_digits", ["likelihood", "--num-examples", "0"], "--num-examples"),
        ("d3pm_digits", ["likelihood", "--batch-size", "0"], "--batch-size"),
        ("d3pm_digits", ["likelihood", "--split", "test"], "held_out"),
        ("gan_mnist", ["sample", "--num-steps", "3"], "this run has no sampling settings"),
        ("gan_mnist", ["evaluate", "--guidance", "3"], "this run has no sampling settings"),
        ("gan_mnist", ["likelihood"], "no likelihood"),
        ("gan_mnist", ["likelihood", "--num-steps", "3"], "this run has no likelihood settings"),
        ("classifier_digits", ["likelihood"], "without a likelihood"),
    ],
)
def test_mistakes_are_one_line_and_status_2(trained_run, name, words, expected, capsys):
    run = trained_run(name)
    before = sorted(run.rglob("*"))
    assert cli.main([words[0], str(run), *words[1:]]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert expected in error
    assert sorted(run.rglob("*")) == before


def test_guidance_without_classes_is_refused_before_anything_is_trained(tmp_path, capsys):
    words = [*TINY["flow_digits"].split(), "--num-classes", "None", "--workdir", str(tmp_path / "run")]
    assert cli.main(["train", "flow_digits", *words]) == 2
    assert "no classes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def images(run, path, *words):
    assert cli.main(["sample", str(run), "--num", "3", "--out", str(path), *words]) == 0
    return np.load(path)["image"]


def test_sampler_steps_and_guidance_change_the_samples(trained_run, tmp_path):
    run, path = trained_run("flow_digits"), tmp_path / "samples.npz"
    plain = images(run, path)
    same = images(run, path, "--sampler", "dpm_solver", "--num-steps", "2", "--guidance", "2.0")
    np.testing.assert_array_equal(plain, same)
    for words in (["--sampler", "ancestral"], ["--num-steps", "5"]):
        assert (images(run, path, *words) != plain).any(), words


def test_samples_drawn_in_another_way_have_another_name(trained_run):
    run = trained_run("d3pm_digits")
    assert cli.main(["sample", str(run), "--num", "2", "--num-steps", "1", "--guidance", "2.5"]) == 0
    (file,) = (run / "samples").glob("sample_*")
    assert file.name == "sample_step2_seed0_num2_num_steps1_guidance2.5.png"
    run = trained_run("flow_digits")
    assert cli.main(["sample", str(run), "--num", "2", "--guidance-interval", "0.3", "5"]) == 0
    (file,) = (run / "samples").glob("sample_*")
    assert file.name == "sample_step2_seed0_num2_guidance_interval0.3-5.0.png"


def likelihood(run, capsys, *words):
    assert cli.main(["likelihood", str(run), "--num-examples", "10", *words]) == 0
    return json.loads((run / "report" / "likelihood.json").read_text()), capsys.readouterr().out


def test_likelihood_is_the_mean_over_examples_whatever_the_batch(trained_run, tmp_path, capsys):
    run = trained_run("d3pm_digits")
    content, out = likelihood(run, capsys, "--batch-size", "4")
    nll = content["rows"]["nll"]
    assert content["settings"] == {"num_steps": 2}
    assert (content["data"], content["split"], nll["n"]) == ("digits", "held_out", 10)
    assert f"{nll['value']:.2f} nats per example  (95 % interval {nll['low']:.2f} to {nll['high']:.2f}, n = 10)" in out
    assert "bits/dim" in out
    other, _ = likelihood(run, capsys, "--batch-size", "7")
    assert other["rows"]["nll"]["value"] == pytest.approx(nll["value"], rel=1e-5)
    assert other["rows"]["bits_per_dim"]["value"] == pytest.approx(nll["value"] / 784 / np.log(2), rel=1e-5)
    # Two grey levels: a pixel is a token of two, of which the nats are that of 784.
    perplexity = content["rows"]["perplexity"]
    ends = [math.exp(nll[end] / 784) for end in ("low", "value", "high")]
    assert [perplexity[end] for end in ("low", "value", "high")] == pytest.approx(ends, rel=1e-6)
    low, value, high = ends
    assert f"perplexity    {value:.4f} per token  (95 % interval {low:.4f} to {high:.4f}, n = 10)" in out
    # By hand: the same examples one by one, each with the key of its own index.
    experiment, _, variables = load_run(run)
    source = experiment.open_data().held_out
    order = np.random.default_rng(0).permutation(len(source))[:10]
    key = split_by_name(jax.random.key(0), "likelihood")["likelihood"]
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.asarray(order, jnp.int32))
    values = np.asarray(
        jax.jit(experiment.algorithm.evaluate)(variables, load(source, order, experiment.modality), keys)["nll"]
    )
    assert nll["value"] == pytest.approx(values.mean(), rel=1e-5)
    assert nll["high"] - nll["low"] == pytest.approx(2 * 1.96 * values.std(ddof=1) / np.sqrt(10), rel=1e-3)


def test_likelihood_settings_seed_and_split_matter(trained_run, capsys):
    run = trained_run("d3pm_digits")
    plain = likelihood(run, capsys)[0]["rows"]["nll"]["value"]
    more, _ = likelihood(run, capsys, "--num-steps", "8")
    assert more["settings"] == {"num_steps": 8}
    others = [more, likelihood(run, capsys, "--seed", "1")[0], likelihood(run, capsys, "--split", "train")[0]]
    assert len({plain, *(other["rows"]["nll"]["value"] for other in others)}) == 4


def test_more_importance_samples_give_a_tighter_bound(trained_run, capsys):
    run = trained_run("iwae_mnist")
    few, out = likelihood(run, capsys)
    assert {"nll", "elbo"} <= set(few["rows"])
    assert "perplexity" not in few["rows"]
    assert "evidence" in few["rows"]["elbo"]["title"]
    assert "num_importance_samples 2" in out
    many, _ = likelihood(run, capsys, "--num-importance-samples", "50")
    assert many["rows"]["nll"]["value"] < few["rows"]["nll"]["value"] < -few["rows"]["elbo"]["value"]


def test_options_of_a_run_have_its_settings_as_defaults(trained_run, capsys):
    run = trained_run("d3pm_digits")
    with pytest.raises(SystemExit):
        cli.main(["sample", str(run), "--help"])
    text = capsys.readouterr().out
    assert "--num-steps" in text
    assert "(default: 2)" in text
    assert "--sampler" not in text
    with pytest.raises(SystemExit):
        cli.main(["sample", "--help"])
    assert "aigc-jax sample RUN --help" in capsys.readouterr().out


def test_run_is_found_after_options_and_settings_take_the_spelling_of_train(trained_run, tmp_path):
    run, path = trained_run("d3pm_digits"), tmp_path / "samples.npz"
    plain = images(run, path, "--guidance", "3")
    for words in (["--guidance", "3", str(run)], ["--num", "3", str(run), "--sampling.guidance=3"]):
        assert cli.main(["sample", "--num", "3", "--out", str(path), *words]) == 0
        np.testing.assert_array_equal(plain, np.load(path)["image"])


def test_setting_named_like_an_option_of_the_command_keeps_its_group():
    @dataclasses.dataclass(frozen=True)
    class Settings:
        seed: int = 5
        top_k: int = 2

    words = ["runs/a", "--seed", "3", "--sampling.seed", "7", "--top-k", "4"]
    parsed = parse_with_settings(Sample, "aigc-jax sample", words, Settings())
    assert (parsed.seed, parsed.overrides) == (3, {"seed": 7, "top_k": 4})
    assert command_line(Evaluate(Path("runs/a"), overrides=parsed.overrides)) == (
        "aigc-jax evaluate runs/a --sampling.seed 7 --top-k 4"
    )


def test_replaced_settings_are_known_and_in_range():
    config = load_config("flow_digits").Config()
    assert replaced(config, {}) == config
    changed = replaced(config, {"steps": 3, "sampling": {"num_steps": 7}})
    assert (changed.steps, changed.sampling.num_steps, changed.sampling.sampler) == (3, 7, "dpm_solver")
    for changes, says in (
        ({"likelihoods": {"num_steps": 3}}, "got 'likelihoods'"),
        ({"sampling": {"temperature": 3}}, "expected one of the settings sampler, num_steps.*got 'temperature'"),
        ({"sampling": {"num_steps": 0}}, "num_steps >= 1, got 0"),
    ):
        with pytest.raises(UsageError, match=says):
            replaced(config, changes)
