"""The README's example is run as it stands."""

import re
from pathlib import Path

import jax
import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_own_loop_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 20
    # Two steps instead of two thousand: what is tested is that every name and argument is right.
    assert "range(2000)" in code
    with jax.numpy_dtype_promotion("standard"):  # optax.adam mixes dtypes
        exec(compile(code.replace("range(2000)", "range(2)"), "README.md", "exec"), {})
    assert "(10, 28, 28, 1)" in capsys.readouterr().out


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(path):
    assert (Path(__file__).parent.parent / path).exists()
