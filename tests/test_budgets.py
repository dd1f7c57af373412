"""The house's budgets: short files, short functions, few parameters, complete annotations."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("aigc_jax/**/*.py"), *ROOT.glob("configs/**/*.py"), *ROOT.glob("scripts/**/*.py")])
MAX_LINES, MAX_CODE_LINES, MAX_POSITIONAL = 300, 40, 5
LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def code_lines(source):
    """The numbers of the lines that hold code: no blank lines, comments or docstrings."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def own_lines(function, lines):
    """Code lines of a function's body; a function inside it counts by itself, a signature does not count."""
    inside = set()
    for node in ast.walk(function):
        if node is not function and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    span = set(range(function.body[0].lineno, (function.end_lineno or function.lineno) + 1))
    return (span & lines) - inside


def faults(source):
    """What in a file goes over a budget."""
    tree, lines = ast.parse(source), code_lines(source)
    if source.count("\n") > MAX_LINES:
        yield f"{source.count(chr(10))} lines"
    for function in functions(tree):
        name, arguments = function.name, function.args
        if len(own_lines(function, lines)) > MAX_CODE_LINES:
            yield f"{name}: {len(own_lines(function, lines))} code lines"
        positional = [a for a in arguments.posonlyargs + arguments.args if a.arg not in ("self", "cls")]
        if len(positional) > MAX_POSITIONAL:
            yield f"{name}: {len(positional)} positional parameters"
        named = positional + arguments.kwonlyargs + [a for a in (arguments.vararg, arguments.kwarg) if a]
        for argument in named:
            if argument.annotation is None:
                yield f"{name}: {argument.arg} has no annotation"
        if function.returns is None:
            yield f"{name}: no annotation of what it returns"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_within_the_budgets(path):
    assert list(faults(path.read_text())) == []


def test_each_fault_is_noticed():
    assert list(faults("def f(x: int) -> int:\n    return x\n")) == []
    assert len(list(faults("def f(x) -> int:\n    return x\n"))) == 1
    assert len(list(faults("def f(x: int):\n    return x\n"))) == 1
    assert len(list(faults("def f(a: int, b: int, c: int, d: int, e: int, g: int) -> None:\n    pass\n"))) == 1
    assert list(faults("def f(a: int, b: int, c: int, d: int, *, e: int, g: int) -> None:\n    pass\n")) == []
    assert len(list(faults("def f() -> None:\n" + "    g()\n" * 41))) == 1
    documented = 'def f() -> None:\n    """Text.\n\n' + "    more\n" * 60 + '    """\n' + "    # why\n" * 9
    assert list(faults(documented)) == []
    assert len(list(faults("\n" * 301))) == 1
