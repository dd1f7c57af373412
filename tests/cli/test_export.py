"""The command export: files that are read without this library, and give the same samples."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax.export
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from aigc_jax import cli, load_run
from aigc_jax.inference.sampling import make_sample_fn
from aigc_jax.tree import named_arrays

pytestmark = pytest.mark.standard_promotion

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
CHILD = """
import sys
sys.modules["aigc_jax"] = None  # any import of it fails
{code}
np.savez("loaded.npz", floats=floats, pixels=pixels)
assert not [name for name in sys.modules if name.startswith("aigc_jax.")]
"""


def raw_samples(run, start, num, seed=0):
    loaded = load_run(run)
    draw = make_sample_fn(loaded.experiment, loaded.variables, seed)
    return draw(start, loaded.experiment.condition_ids(start, num), num)


@pytest.mark.optimized
def test_exported_sampler_runs_in_a_process_without_this_library(trained_run, tmp_path):
    run = trained_run("vae_digits")
    run.rename(tmp_path / "runs" / "vae")
    run = tmp_path / "runs" / "vae"
    assert cli.main(["export", str(run), "--format", "stablehlo"]) == 0
    assert cli.main(["sample", str(run), "--out", str(tmp_path / "samples.npz")]) == 0
    (code,) = re.findall(r"```python\n([^`]*jax\.export\.deserialize.*?)```", GUIDE, flags=re.DOTALL)
    subprocess.run([sys.executable, "-c", CHILD.format(code=code)], check=True, cwd=tmp_path, env=os.environ.copy())
    with np.load(tmp_path / "loaded.npz") as loaded, np.load(tmp_path / "samples.npz") as sampled:
        np.testing.assert_array_equal(loaded["floats"], raw_samples(run, 0, 64))
        np.testing.assert_array_equal(loaded["pixels"], sampled["image"])
    card = json.loads((run / "export" / "sampler.json").read_text())
    assert card["sampler"]["platforms"] == ["cpu", "cuda", "tpu"]
    assert card["sampler"]["output"] == ["float32", [64, 28, 28, 1]]


def test_exported_sampler_draws_any_range_of_any_seed(trained_run):
    run, seed = trained_run("flow_2d"), 2**32 - 1
    assert cli.main(["export", str(run), "--format", "stablehlo", "--num", "8"]) == 0
    sampler = jax.export.deserialize(bytearray((run / "export" / "sampler.stablehlo").read_bytes()))
    weights = load_file(run / "export" / "sampler.safetensors")
    samples = np.asarray(sampler.call(weights, np.uint32(seed), np.int32(60)))  # without condition
    np.testing.assert_allclose(samples, raw_samples(run, 60, 8, seed), atol=1e-5)


def test_exported_weights_are_those_of_the_run_by_their_path(trained_run, tmp_path):
    run, out = trained_run("gan_digits"), tmp_path / "made" / "gan.safetensors"
    assert cli.main(["export", str(run), "--out", str(out)]) == 0
    loaded = load_run(run)
    arrays = named_arrays(loaded.variables)
    assert any(name.startswith("params/generator/") for name in arrays)
    read = load_file(out)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
    card = json.loads(out.with_suffix(".json").read_text())
    assert (card["config"], card["checkpoint"], card["license"]) == ("gan_digits", "2", "unknown")
    assert card["class_names"] == [str(number) for number in range(10)]
    with safe_open(out, framework="np") as file:
        inside = json.loads(file.metadata()["card"])
    assert inside == {name: value for name, value in card.items() if name != "sha256"}


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("flow_2d", ["--out", "x.npz"], "ends in .safetensors, got x.npz"),
        ("flow_2d", ["--format", "stablehlo", "--out", "x.safetensors"], "ends in .stablehlo"),
        ("flow_2d", ["--num", "0"], "at once, got 0"),
        ("classifier_digits", ["--format", "stablehlo"], "draws no samples"),
        ("flow_2d", ["--checkpoint", "7"], "no checkpoint at step 7"),
    ],
)
def test_export_refuses_in_one_line(trained_run, name, words, expected, capsys, monkeypatch, tmp_path):
    run = trained_run(name)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", str(run), *words]) == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))
    assert not (run / "export").exists()


def test_card_has_the_figures_of_a_report_of_the_same_checkpoint(trained_run, monkeypatch):
    from aigc_jax.evaluation import card
    from tests.report.example import REPORT

    run = trained_run("flow_2d")
    (run / "report").mkdir()
    (run / "report" / "report.json").write_text("{}")
    found = {}
    for text in ("latest, step 2", "latest, step 4"):
        monkeypatch.setattr(card, "read_report", lambda run, text=text: REPORT._replace(facts={"checkpoint": text}))
        assert cli.main(["export", str(run)]) == 0
        found[text] = json.loads((run / "export" / "weights.json").read_text())["figures"]
    row = REPORT.measurements[0]
    assert found["latest, step 2"]["measurements"][row.name]["value"] == row.value
    assert found["latest, step 4"] == {}
