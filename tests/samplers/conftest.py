"""The exact answers are those of scripts/results.py, whose tables these tests keep true."""

import sys
from pathlib import Path

import jax
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))


@pytest.fixture(autouse=True)
def _compile_in_haste():
    """A hundred small programs, each run once: half of the time of these tests would be spent on making them fast."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
