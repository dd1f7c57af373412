"""Fine-tuning by commands: from the weights of another run, with its tokenizer, to one file of merged weights."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from aigc_jax import cli
from aigc_jax.data.fingerprint import summary
from aigc_jax.runs import load_run
from aigc_jax.train.initial import read_initial
from tests.runs import COMMON, TINY

pytestmark = pytest.mark.standard_promotion


def test_adapted_run_begins_with_the_weights_and_the_tokenizer_of_another(trained_runs):
    _, base_config, base = load_run(trained_runs("gpt_docs"))
    _, config, adapted = load_run(trained_runs("adapted"))
    assert config.vocabulary == base_config.vocabulary
    np.testing.assert_array_equal(
        adapted["params"]["base"]["embed"]["embedding"], base["params"]["decoder"]["embed"]["embedding"]
    )
    record = read_initial(trained_runs("adapted"))
    assert record.not_used == ()
    assert all(name.startswith("adapter/") for name in record.new)


def test_classifier_begins_with_the_trunk_of_a_language_model(trained_runs):
    _, base_config, base = load_run(trained_runs("gpt_docs"))
    experiment, config, classified = load_run(trained_runs("classified"))
    assert config.vocabulary == base_config.vocabulary
    trunk = classified["params"]["base"]["decoder"]
    jax.tree.map(np.testing.assert_array_equal, trunk, base["params"]["decoder"])
    record = read_initial(trained_runs("classified"))
    assert record.num_taken == len(jax.tree.leaves(trunk))
    assert record.not_used == ()
    assert {name for name in record.new if "/decoder/" not in name} == {"adapter/out/kernel", "adapter/out/bias"}
    assert "40 of 200 training examples by seed 0" in summary(experiment.open_data())


def test_export_of_an_adapted_run_is_a_run_without_an_adapter(trained_runs, tmp_path, capsys):
    out = tmp_path / "weights.safetensors"
    assert cli.main(["export", str(trained_runs("adapted")), "--out", str(out)]) == 0
    adapter = load_file(tmp_path / "adapter.safetensors")
    assert {name.rsplit("/", 1)[1] for name in adapter} == {"A", "B"}
    assert set(json.loads((tmp_path / "weights.json").read_text())["sha256"]) == {out.name, "adapter.safetensors"}
    words = [*TINY["gpt_docs"].split(), "--weights", str(out), "--workdir", str(tmp_path / "run")]
    vocabulary = load_run(trained_runs("gpt_docs"))[1].vocabulary
    assert cli.main(["import", "gpt_docs", "--vocabulary", vocabulary, *words]) == 0
    experiment, _, variables = load_run(tmp_path / "run")
    adapted, _, before = load_run(trained_runs("adapted"))
    batch = {"example": np.arange(34, dtype=np.int32).reshape(2, 17)}
    found, expected = (
        made.algorithm.evaluate(weights, batch, 0)["nll"]
        for made, weights in ((experiment, variables), (adapted, before))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    capsys.readouterr()


def test_run_with_a_soft_prompt_samples(trained_runs, tmp_path):
    out = tmp_path / "samples.txt"
    words = ["--num", "2", "--prompt", "The ", "--length", "4", "--out", str(out)]
    assert cli.main(["sample", str(trained_runs("prompted")), *words]) == 0
    assert out.read_text().count("The ") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tokenizer", "chars", "--initial", "{runs}/gpt_docs"], "leave it out"),
        (["--adapter", "lora"], "add --initial RUN"),
        (["--initial", "{runs}/vae_digits"], "is no run of text"),
    ],
)
def test_weights_that_cannot_serve_are_one_line(words, message, trained_runs, tmp_path, capsys):
    runs = [trained_runs(name) for name in ("gpt_docs", "vae_digits")]
    given = [word.format(runs=runs[0].parent) for word in words]
    command = ["train", "gpt_docs", *COMMON, *TINY["gpt_docs"].split(), *given, "--workdir", str(tmp_path / "run")]
    capsys.readouterr()
    assert cli.main(command) == 2
    error = capsys.readouterr().err.strip()
    assert message in error.splitlines()[-1]
