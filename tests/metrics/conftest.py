"""Calls as users make them."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked_annotations():
    """Annotations of shapes and dtypes are checked in tests only: without them a wrong array reaches the metric."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
