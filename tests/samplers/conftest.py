"""Quick compilation for the tests of samplers."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _compile_in_haste():
    """A hundred small programs, each run once: half of the time of these tests would be spent on making them fast."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
