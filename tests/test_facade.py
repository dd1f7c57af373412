"""The names of the package: imported when they are used, and all there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aigc_jax

ROOT = Path(__file__).parents[1]


def test_importing_the_package_imports_no_library():
    code = "import sys, aigc_jax, aigc_jax.cli; print({'jax', 'flax', 'numpy', 'orbax', 'tyro'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("trian", "did you mean train?"),
        ("train", "gan_digits"),
        ("sample", "expected a run"),
        ("sample --help", "--num INT"),
        ("info --help", "usage: aigc-jax info"),
        ("compare --outt x", "did you mean --out?"),
        ("evaluate -h", "--gate"),
    ],
)
def test_mistakes_and_help_import_little(words, expected):
    code = f"""import contextlib, sys, aigc_jax.cli
with contextlib.suppress(SystemExit):
    aigc_jax.cli.main({words.split()})
print({{"jax", "flax", "numpy", "orbax", "scipy"}} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert expected in done.stdout + done.stderr
    assert done.stdout.endswith("set()\n")


def test_every_name_is_there():
    assert set(aigc_jax.__all__) <= set(dir(aigc_jax))
    for name in aigc_jax.__all__:
        value = getattr(aigc_jax, name)
        assert value.__name__.rpartition(".")[2] == name
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        aigc_jax.no_such_name  # noqa: B018


def test_dir_lists_the_public_names_alone():
    assert dir(aigc_jax) == sorted([*aigc_jax.__all__, "__version__"])


def test_version_is_there_without_other_imports():
    code = "import sys, aigc_jax; print(aigc_jax.__version__, {'jax', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"(\d+\.\d+.*|unknown) set\(\)\n", done.stdout)


def test_printed_algorithm_names_its_functions():
    detectors = {"logit": aigc_jax.types.Detector(len)}
    algorithm = aigc_jax.Algorithm(len, len, sample=len, detectors=detectors)
    assert str(algorithm) == "Algorithm(init, step, sample, detectors: logit)"
    assert repr(aigc_jax.Algorithm(len, len)) == "Algorithm(init, step)"
