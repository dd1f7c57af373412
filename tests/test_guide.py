"""Every block of docs/guide.md is run as it stands, with few steps and small networks."""

import os
import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from aigc_jax import cli
from aigc_jax.cli.main import _prepare
from tests.runs import COMMON, TINY

GUIDE = (Path(__file__).parents[1] / "docs" / "guide.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
pytestmark = [pytest.mark.slow, pytest.mark.standard_promotion]

SMALLER = {
    "steps=10_000, ": "steps=2, batch_size=8, log_every=1, sample_every=0, parallel='jit', ",
    "widths=(400, 200)": "widths=(4,)",
    "evaluate(1000)": "evaluate(16, sweep_samples=0, detector_samples=0, single_judge=True)",
    "range(2000)": "range(2)",
    "Dense(256)": "Dense(4)",
}
"""Figures of the page, and those of the test."""
QUICK = [*COMMON, "--sample-every", "0", "--parallel", "jit"]
OPTIONS = {"gan_digits": [*QUICK, *TINY["gan_digits"].split()], "mine.py": QUICK}
"""Options that make the training of a config small, and quick to compile."""


def make_photos(folder):
    """A folder for each class, of larger images of other sides than the model's, some with transparent pixels."""
    for number, name in enumerate(["cat", "dog"]):
        (folder / name).mkdir(parents=True)
        for index in range(6):
            pixels = np.full((40, 50, 4), 40 * number + index, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


def run_commands(lines):
    for line in lines:
        program, command, *rest = shlex.split(line)
        options = OPTIONS[rest[0]] if command == "train" else []
        assert program == "aigc-jax"
        assert cli.main([command, *rest, *options]) == 0, line


def test_every_block_of_the_guide_runs(tmp_path, monkeypatch, quick_classifiers):
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "photos")
    names, python = {}, "".join(code for kind, code in FENCE.findall(GUIDE) if kind == "python")
    assert all(python.count(text) for text in SMALLER)
    for kind, code in FENCE.findall(GUIDE):
        if kind == "sh":
            run_commands(code.splitlines())
        elif kind == "bash":
            for line in code.splitlines():  # of several machines: understood, and not run
                assert callable(_prepare(shlex.split(line, comments=True)[1:]))
        elif kind == "py":
            Path("mine.py").write_text(code)
        else:
            assert kind == "python"
            for text, smaller in SMALLER.items():
                code = code.replace(text, smaller)
            exec(compile(code, "docs/guide.md", "exec"), names)
    assert len(list(Path("runs/photos/samples").glob("*cat*.png"))) == 1
    assert len(list(Path("runs/mine/samples").glob("*dog*.png"))) == 1
    assert names["batch"]["example"].shape == (64, 28, 28, 1)
    assert (names["batch"]["example"].dtype, names["batch"]["condition"].shape) == (np.float32, (64,))
    assert (names["digits"].shape, names["digits"].dtype) == ((16, 28, 28, 1), np.uint8)
    assert names["samples"].shape == (10, 28, 28, 1)
    assert os.path.isfile("runs/vae/report/index.html")
    state = jax.eval_shape(names["own_vae"].init, names["root"], {"example": names["batch"]["example"]})
    assert set(state.params["vae"]) == {"encoder", "decoder"}
    assert {"step", "metrics", "steps_per_s", "data_wait", "time"} == set(names["records"][-1])


def test_headings_of_the_guide_are_its_tasks():
    tasks = ["My own images", "My own network", "My own data from Python", "From Python", "My own config file"]
    tasks += ["The same samples elsewhere", "The model in another program", "Several devices", "Several hosts", "Logs"]
    assert re.findall("^## (.*)$", GUIDE, flags=re.MULTILINE) == tasks
