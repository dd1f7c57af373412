"""Context-free grammars in the language of Lark as automata: exact where no rule nests, else to a stated depth."""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from aigc_jax.rules.nodes import LAST, Nodes, Part, deterministic
from aigc_jax.rules.regex import add_pattern
from aigc_jax.types import UsageError
from aigc_jax.types.rules import Automaton

MAX_DEPTH = 32

_NAME = "the grammar"
_LIBRARIES = ("common", "unicode")
_MAX_DIGITS = 9
_MAX_NESTED = 400
"""Levels of brackets, rules within rules and terminals within terminals at a time."""

_OWN = {"common": r'ESCAPED_STRING: /"([^"\\\n]|\\.)*"/'}
"""Definitions in the place of those of a library that look behind."""


def grammar(text: str, *, depth: int | None = None) -> Automaton:
    r"""The automaton of a grammar in the language of Lark.

    A rule that refers to itself at its beginning or end alone, as repetitions do, is regular. One that does so in its
    middle, as brackets do, contains itself at most ``depth`` times.

    Args:
        text: the grammar, with a rule ``start``: rules, terminals, ``%ignore``, ``%import common.NAME``. Terminals are
            regular expressions as of :func:`aigc_jax.rules.regex.regex`, and a text is one terminal after the other,
            whatever else they might be read as: priorities are without effect. ``common.ESCAPED_STRING`` ends at the
            first quote. No templates, ``%override`` and ``%declare``.
        depth: how often a rule may contain itself, 0 to 32; None refuses one that does.

    Raises:
        UsageError: the grammar is broken, has what no automaton can do, nests while no depth is given, allows no text,
            or takes too many states.

    Reference:
        Hopcroft, Motwani, Ullman, "Introduction to Automata Theory, Languages, and Computation", 2001, section 5.1.

    >>> from aigc_jax.rules.bytes import accepts
    >>> rule = grammar('start: "(" start* ")"', depth=2)
    >>> [accepts(rule, text) for text in (b"()", b"(()())", b"((()))", b"(((())))", b"(()")]
    [True, True, True, False, False]
    """
    if depth is not None and not 0 <= depth <= MAX_DEPTH:
        raise UsageError(f"expected a depth from 0 to {MAX_DEPTH}, got {depth}: 4 is usual")
    compiler = _Compiler(_read(text), depth)
    try:
        return deterministic(compiler.nodes, compiler.all())
    except RecursionError as error:
        raise UsageError(f"{_NAME} nests too deeply: use fewer brackets and rules within rules") from error


class _Definition(NamedTuple):
    """What a name stands for."""

    library: str  # the names within are those of this library; "" for those of the grammar itself
    expansions: Any


class _Grammar(NamedTuple):
    """Definitions by name; those of terminals begin with a capital."""

    definitions: dict[tuple[str, str], _Definition]
    ignored: list[Any]


def _read(text: str, library: str = "") -> _Grammar:
    """The definitions of a grammar, and of the libraries that it imports."""
    parser = _parser()
    from lark.exceptions import UnexpectedInput

    try:
        tree = parser.parse(text.rstrip() + "\n")
    except UnexpectedInput as error:
        at = f"line {max(error.line, 1)}, column {max(error.column, 1)}" if error.line > 0 else "its end"
        raise UsageError(f"{_NAME} is broken at {at}: it is none of Lark's language there") from error
    found = _Grammar({}, [])
    for item in tree.children:
        _READERS.get(item.data, _refuse)(item, found, library)
    return found


@functools.cache
def _parser() -> Any:
    """The parser of Lark's own grammar of grammars, which ships with it."""
    try:
        from lark import Lark
    except ImportError as error:
        raise UsageError("grammars need lark: pip install 'aigc-jax[grammar]'") from error
    return Lark.open_from_package("lark", "lark.lark", ["grammars"], parser="lalr", maybe_placeholders=False)


def _define(item: Any, found: _Grammar, library: str) -> None:
    name, params, *_, expansions = item.children
    if params.children:
        raise UsageError(f"{_NAME} has the template {name}: write its rules out")
    key = library, str(name).lstrip("!?")
    if key in found.definitions:
        raise UsageError(f"{_NAME} defines {key[1]} twice, again in line {name.line}: rename one")
    found.definitions[key] = _Definition(library, expansions)


def _ignore(item: Any, found: _Grammar, library: str) -> None:
    if not library:
        found.ignored.append(item.children[0])


def _import(item: Any, found: _Grammar, library: str) -> None:
    """Names of a library, ``common.WS``, ``common.WS -> SPACE`` or ``common (WS, INT)``."""
    path, *rest = item.children
    parts = [str(part.children[0]) for part in path.children if hasattr(part, "children")]
    if not hasattr(path.children[0], "children"):
        parts[0] = "." + parts[0]
    if item.data == "multi_import":
        names = {str(name.children[0]): str(name.children[0]) for name in rest[0].children}
    else:
        *parts, last = parts
        names = {str(rest[0].children[0]) if rest else last: last}
    if len(parts) != 1 or parts[0] not in _LIBRARIES:
        raise UsageError(f"{_NAME} imports from {'.'.join(parts) or 'nowhere'}: import from common alone")
    source = parts[0]
    if not any(of == source for of, _ in found.definitions):
        text = (importlib.resources.files("lark") / "grammars" / f"{source}.lark").read_text()
        for each in (text, _OWN.get(source, "")):
            found.definitions.update(_read(each, source).definitions)
    for own, name in names.items():
        if (source, name) not in found.definitions:
            raise UsageError(f"{_NAME} imports {source}.{name}, which there is not: define it")
        if (library, own) in found.definitions:
            raise UsageError(f"{_NAME} defines {own} twice, once by import: rename one")
        found.definitions[library, own] = found.definitions[source, name]


def _refuse(item: Any, found: _Grammar, library: str) -> None:
    del found, library
    raise UsageError(f"{_NAME} has %{str(item.data).removesuffix('_rule')}, which is not known: leave it out")


_READERS: dict[str, Callable[[Any, _Grammar, str], None]] = {
    "rule": _define,
    "token": _define,
    "ignore": _ignore,
    "import": _import,
    "multi_import": _import,
}


class _Place(NamedTuple):
    """Where a part of a grammar is compiled."""

    library: str
    inside: tuple[tuple[str, str], ...] = ()  # the names whose definitions are around it
    is_terminal: bool = False  # nothing is ignored within one


class _Compiler:
    """The nodes of a grammar."""

    def __init__(self, source: _Grammar, depth: int | None) -> None:
        self.source, self.depth, self.nodes = source, depth, Nodes(_NAME)

    def all(self) -> int:
        """The nodes of all texts; returns their end."""
        if ("", "start") not in self.source.definitions:
            raise UsageError(f"{_NAME} has no rule start: name one so")
        return self.skip(self.name("start", _Place(""), 0))

    def skip(self, start: int) -> int:
        """What is ignored, any number of times."""
        if not self.source.ignored:
            return start
        place = _Place("", is_terminal=True)
        parts = [self.part(each, place) for each in self.source.ignored]
        return self.nodes.repeat(lambda node: self.nodes.choice(parts, node), 0, None, start)

    def part(self, tree: Any, place: _Place) -> Part:
        """A part of the grammar, to be added after a node."""
        return lambda start: self.add(tree, place, start)

    def add(self, tree: Any, place: _Place, start: int) -> int:
        """The nodes of a tree of Lark's own grammar."""
        return getattr(self, f"_{tree.data}")(tree, place, start)

    def name(self, name: str, place: _Place, start: int) -> int:
        """What a name stands for."""
        key = place.library, name
        if key not in self.source.definitions:
            raise UsageError(f"{_NAME} uses {name}, which there is not: define it")
        is_terminal, again = name.lstrip("_")[:1].isupper(), place.inside.count(key)
        if len(place.inside) > _MAX_NESTED:
            raise RecursionError
        if again and is_terminal:
            raise UsageError(f"{_NAME} has the terminal {name}, which contains itself: make it a rule")
        if again and self.depth is None:
            raise UsageError(
                f"{_NAME} has the rule {name}, which contains itself: set --depth 4 to allow that four times, or "
                "--on-host for any depth, but without the promise that samples end"
            )
        if again > (self.depth or 0):
            # No text: a node that nothing leads to.
            return self.nodes.new()
        if is_terminal and not place.is_terminal:
            start = self.skip(start)
        definition = self.source.definitions[key]
        inner = _Place(definition.library, (*place.inside, key), place.is_terminal or is_terminal)
        # A library's own INT is another one than that which an import names so.
        own = name if definition.library == place.library else None
        before, others, after = _recursions(own, definition.expansions)
        start = self._any_number(before, inner, start)
        start = self.nodes.choice([self.sequence(each, inner) for each in others], start)
        return self._any_number(after, inner, start)

    def _any_number(self, sequences: Sequence[Sequence[Any]], place: _Place, start: int) -> int:
        if not sequences:
            return start
        parts = [self.sequence(each, place) for each in sequences]
        return self.nodes.repeat(lambda node: self.nodes.choice(parts, node), 0, None, start)

    def sequence(self, trees: Sequence[Any], place: _Place) -> Part:
        """Parts one after the other."""
        return lambda start: functools.reduce(lambda node, tree: self.add(tree, place, node), trees, start)

    def _expansions(self, tree: Any, place: _Place, start: int) -> int:
        return self.nodes.choice([self.part(each, place) for each in tree.children], start)

    def _alias(self, tree: Any, place: _Place, start: int) -> int:
        return self.add(tree.children[0], place, start)

    def _expansion(self, tree: Any, place: _Place, start: int) -> int:
        return self.sequence(tree.children, place)(start)

    def _maybe(self, tree: Any, place: _Place, start: int) -> int:
        return self.nodes.repeat(self.part(tree.children[0], place), 0, 1, start)

    def _expr(self, tree: Any, place: _Place, start: int) -> int:
        repeated, *how = tree.children
        if how[0].type == "NUMBER":
            if max(map(len, how)) > _MAX_DIGITS:
                raise UsageError(f"{_NAME} repeats a part too often: give numbers of up to {_MAX_DIGITS} digits")
            low, high = int(how[0]), int(how[-1])
        else:
            low, high = {"?": (0, 1), "*": (0, None), "+": (1, None)}[str(how[0])]
        if high is not None and not 0 <= low <= high:
            raise UsageError(f"{_NAME} repeats {low} to {high} times: give natural numbers in order")
        return self.nodes.repeat(self.part(repeated, place), low, high, start)

    def _name(self, tree: Any, place: _Place, start: int) -> int:
        return self.name(str(tree.children[0]), place, start)

    def _literal(self, tree: Any, place: _Place, start: int) -> int:
        return self._pattern(_pattern_of(str(tree.children[0])), place, start)

    def _literal_range(self, tree: Any, place: _Place, start: int) -> int:
        low, high = (_text_of(str(each)[1:-1]) for each in tree.children)
        if len(low) != 1 or len(high) != 1:
            raise UsageError(f"{_NAME} has a range from {low!r} to {high!r}: give one character each")
        return self._pattern(f"[{re.escape(low)}-{re.escape(high)}]", place, start)

    def _template_usage(self, tree: Any, place: _Place, start: int) -> int:
        raise UsageError(f"{_NAME} uses a template: write its rules out")

    def _pattern(self, pattern: str, place: _Place, start: int) -> int:
        return add_pattern(self.nodes, pattern, start if place.is_terminal else self.skip(start))


def _recursions(name: str | None, expansions: Any) -> tuple[list[list[Any]], list[list[Any]], list[list[Any]]]:
    """The alternatives of a rule, of which those that begin or end with itself are repetitions of their rest.

    X: a X | b | X c is a* b c*: before, others, after.
    """
    before, others, after = list[list[Any]](), list[list[Any]](), list[list[Any]]()
    for parts in _alternatives(name, expansions):
        is_own = [_is_name(part, name) for part in parts]
        if parts and is_own[0]:
            after.append(parts[1:])
        elif parts and is_own[-1]:
            before.append(parts[:-1])
        else:
            others.append(parts)
    return before, others, after


def _alternatives(name: str | None, tree: Any) -> list[list[Any]]:
    """The sequences that a tree chooses among, with what is optional or in brackets at an end taken apart.

    Only where the rule itself is in there: of many optional parts there would be as many choices as subsets.
    """
    if tree.data == "expansions":
        return [parts for each in tree.children for parts in _alternatives(name, each)]
    if tree.data == "alias":
        return _alternatives(name, tree.children[0])
    if tree.data == "maybe" or (tree.data == "expr" and str(tree.children[1]) == "?"):
        return [[], *_alternatives(name, tree.children[0])] if _holds(tree, name) else [[tree]]
    if tree.data != "expansion" or not tree.children:
        return [[tree]]
    first, *middle, last = list(tree.children) if len(tree.children) > 1 else [None, *tree.children]
    firsts = [[]] if first is None else _alternatives(name, first) if _holds(first, name) else [[first]]
    lasts = _alternatives(name, last) if _holds(last, name) else [[last]]
    return [[*left, *middle, *right] for left in firsts for right in lasts]


def _is_name(tree: Any, name: str | None) -> bool:
    return tree.data == "name" and str(tree.children[0]) == name


def _holds(tree: Any, name: str | None) -> bool:
    """Whether a rule is named in a tree."""
    return any(_is_name(each, name) for each in tree.iter_subtrees())


def _pattern_of(literal: str) -> str:
    """The regular expression of "text"i or /pattern/flags."""
    mark = literal[0]
    body, _, flags = literal[1:].rpartition(mark)
    if set(flags) - set("imsxu"):
        raise UsageError(f"{_NAME} has the flags {flags!r} of {literal[:40]}: use i, m, s and x alone")
    pattern = re.escape(_text_of(body)) if mark == '"' else body.replace(r"\/", "/")
    if not body:
        raise UsageError(f"{_NAME} has an empty terminal: write [...] or ? for what may be left out")
    if not flags.replace("u", ""):
        return f"(?:{pattern})"
    # In the verbose syntax a comment would hide the bracket.
    return f"(?{flags.replace('u', '')}:{pattern}\n)" if "x" in flags else f"(?{flags.replace('u', '')}:{pattern})"


def _text_of(body: str) -> str:
    """The text between quotes, with its escapes."""
    known = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "\\": "\\", '"': '"'}

    def one(match: re.Match[str]) -> str:
        found = match[1]
        if len(found) > 1:
            return _character(int(found[1:], 16), match[0])
        if found in "xuU":
            raise UsageError(f"{_NAME} has {match[0]!r} without its digits: write two, four (u) or eight (U) of them")
        return known.get(found, match[0])

    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", one, body, flags=re.DOTALL)


def _character(code: int, written: str) -> str:
    if code > LAST:
        raise UsageError(f"{_NAME} has {written}, which is no character: the last one is 10FFFF")
    return chr(code)
