"""The quick suite takes a few rows of the table, of different families; the whole suite takes all."""

from pathlib import Path

import pytest

QUICK_ROWS = {"gan-relativistic_average-minibatch", "vae-gaussian-mlp", "diffusion-hybrid", "discrete-absorbing"}
QUICK_FILES = {"test_step.py", "test_sample.py", "test_resume.py"}
CHEAP_ROW = "vae-gaussian-mlp"
"""Alone in the quick suite for the other properties, each of which compiles programs of its own."""


def pytest_collection_modifyitems(items):
    for item in items:
        row = item.callspec.params.get("name") if hasattr(item, "callspec") else None
        if item.path.parent == Path(__file__).parent and row and not _is_quick(item.path.name, row):
            item.add_marker(pytest.mark.slow)
            if row in QUICK_ROWS:
                item.add_marker(pytest.mark.checked)


def _is_quick(file, row):
    return row == CHEAP_ROW or (row in QUICK_ROWS and file in QUICK_FILES)
