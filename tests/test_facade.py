"""The names of the package: imported when they are used, and all there."""

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


def test_every_name_is_there():
    assert set(aigc_jax.__all__) <= set(dir(aigc_jax))
    for name in aigc_jax.__all__:
        value = getattr(aigc_jax, name)
        assert value.__name__.rpartition(".")[2] == name
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        aigc_jax.no_such_name  # noqa: B018
