"""Every public name is documented, and every example in a docstring runs and is right."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "aigc_jax"
MODULES = sorted(p.relative_to(ROOT) for p in PACKAGE.rglob("*.py"))


def module_name(path):
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def has_examples(path):
    return ">>>" in (ROOT / path).read_text()


COMPILING = ("algorithms", "losses", "samplers", "worlds")
"""Rooms whose examples compile."""


def example_params():
    """Modules with examples, those that compile among the slow tests."""
    for path in filter(has_examples, MODULES):
        yield pytest.param(path, marks=[pytest.mark.slow] if path.parent.name in COMPILING else [])


@pytest.mark.parametrize("path", list(example_params()), ids=str)
def test_examples_run(path):
    module = importlib.import_module(module_name(path))
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


def undocumented(path):
    """The module, or its public functions and classes, where they have no docstring."""
    tree = ast.parse((ROOT / path).read_text())
    if not ast.get_docstring(tree):
        yield "module"
    for node in tree.body:
        is_definition = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if is_definition and not node.name.startswith("_") and not ast.get_docstring(node):
            yield node.name


def test_public_names_have_docstrings():
    found = {str(path): list(undocumented(path)) for path in MODULES}
    assert {path: names for path, names in found.items() if names} == {}
