"""The quick suite takes a few rows of the table, of different families; the whole suite takes all."""

from pathlib import Path

import pytest

QUICK_ROWS = {"gan-relativistic_average-minibatch", "vae-gaussian-mlp", "diffusion-hybrid", "discrete-absorbing"}


def pytest_collection_modifyitems(items):
    for item in items:
        row = item.callspec.params.get("name") if hasattr(item, "callspec") else None
        if item.path.parent == Path(__file__).parent and row and row not in QUICK_ROWS:
            item.add_marker(pytest.mark.slow)
