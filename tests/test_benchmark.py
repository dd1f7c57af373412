"""scripts/benchmark.py: it runs, and answers in one line where PyTorch is missing."""

import importlib.util
import re
import sys
from pathlib import Path

import jax
import pytest

_PATH = Path(__file__).parents[1] / "scripts" / "benchmark.py"


@pytest.fixture(autouse=True)
def _optax_may_promote():
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam raises a float to an integer power
        yield


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gan_alone_prints_its_step_time_and_its_number_of_parameters(benchmark, capsys):
    assert benchmark.main(["gan", "--steps", "2", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    row = re.search(r"^aigc_jax +([\d,]+) +([\d.]+)", out, re.MULTILINE)
    assert row is not None
    # Generator: dense 96 -> 3136, convolutions 64 -> 128, 32 -> 64, 16 -> 1, norms, embedding; then the discriminator.
    generator = 97 * 3136 + 577 * 128 + 289 * 64 + 145 + 20 * (64 + 32 + 16) + 320
    discriminator = 17 * 32 + (16 * 32 + 1) * 64 + (49 * 64 + 1) * 128 + 129 + 1280
    assert int(row[1].replace(",", "")) == generator + discriminator
    assert float(row[2]) > 0
    assert "torch" not in out


def test_without_torch_one_line_says_what_to_install(benchmark, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(_PATH.parent))
    monkeypatch.delitem(sys.modules, "torch_gan", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails, installed or not
    assert benchmark.main(["gan", "--against", "torch"]) == 2
    err = capsys.readouterr().err
    assert "pip install torch" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["gan", "--steps", "0"], ["gan", "--against", "numpy"], []])
def test_wrong_arguments_exit_with_2(benchmark, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        benchmark.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err
