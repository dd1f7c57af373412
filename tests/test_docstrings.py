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


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_examples_run(path):
    module = importlib.import_module(module_name(path))
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_public_names_have_docstrings(path):
    tree = ast.parse((ROOT / path).read_text())
    assert ast.get_docstring(tree), "module docstring"
    for node in tree.body:
        is_definition = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if is_definition and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
