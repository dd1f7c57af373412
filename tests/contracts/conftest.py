"""These tests compile much and compute little."""

import pytest

from .table import quick_compilation


@pytest.fixture(scope="package", autouse=True)
def _quick_compilation():
    with quick_compilation():
        yield
