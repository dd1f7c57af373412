"""Grammars: equal to Lark's own parser where brackets are not too deep, and to llguidance's masks."""

import itertools
import sys

import numpy as np
import pytest
from lark import Lark
from lark.exceptions import LarkError

from aigc_jax.rules.bytes import accepts
from aigc_jax.rules.grammar import _parser, grammar
from aigc_jax.rules.lift import lift
from aigc_jax.rules.on_host import grammar_on_host, schema_on_host
from aigc_jax.rules.schema import schema
from aigc_jax.types import UsageError

SUMS = """
start: sum
sum: product | sum "+" product
product: atom | atom "*" product
atom: "1" | "(" sum ")"
"""

LISTS = r"""
%import common (WS_INLINE, DIGIT)
%import common.INT -> NUMBER
start: list | NUMBER ("," NUMBER)~1..2 -> several
!?list: "[" [item (";" item)*] "]" | list "a"i
item: NUMBER | list   // nested
DIGITS: DIGIT+
%ignore WS_INLINE
"""


def parses(parser: Lark, text: str) -> bool:
    try:
        parser.parse(text)
    except LarkError:
        return False
    return True


def nesting(text: str, opening: str, closing: str) -> int:
    steps = np.cumsum([(c == opening) - (c == closing) for c in text])
    return int(steps.max(initial=0))


@pytest.mark.parametrize(
    ("definition", "letters", "length", "brackets", "free"),
    [(SUMS, "1+*()", 6, "()", 0), (LISTS, "1[];, A", 5, "[]", 1)],
)
def test_grammar_is_that_of_lark_up_to_its_depth(definition, letters, length, brackets, free, rng):
    # Earley without a lexer takes any reading of a text, as an automaton does.
    parser = Lark(definition, parser="earley", lexer="dynamic_complete")
    rules = [grammar(definition, depth=depth) for depth in range(3)]
    texts = ["".join(each) for n in range(length) for each in itertools.product(letters, repeat=n)]
    # Lark takes a millisecond a text: of those that are not accepted it sees some.
    others = [text for text in texts if not accepts(rules[-1], text.encode())]
    chosen = [text for text in texts if accepts(rules[-1], text.encode())][:200] + rng.choice(others, 200).tolist()
    for text in [*chosen, brackets[0] * 3 + "1" + brackets[1] * 3]:
        is_allowed = parses(parser, text)
        levels = nesting(text, *brackets) - free
        for depth, rule in enumerate(rules):
            assert accepts(rule, text.encode()) == (is_allowed and levels <= depth), (text, depth)


def test_grammar_without_nesting_needs_no_depth():
    rule = grammar('start: word ("-" word)*\nword: /[a-c]/ | word /[a-c]/\n')
    assert [accepts(rule, text) for text in (b"abc-a", b"a-", b"")] == [True, False, False]


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ('start: "a" start?', b"aaaaaaa"),
        ('start: ("a" start) | "b"', b"aaaaaab"),
        ('start: "x" ["," start]', b"x,x,x,x,x"),
        ('start: [start ","] "x"', b"x,x,x,x,x"),
    ],
)
def test_repetition_may_be_optional_or_in_brackets(definition, text):
    rule = grammar(definition)
    assert accepts(rule, text)
    assert not accepts(rule, text + b",a")


def test_an_import_may_take_the_name_of_another_of_its_library():
    rule = grammar('start: INT | "x"\n%import common.SIGNED_INT -> INT\n')
    assert [accepts(rule, text) for text in (b"-12", b"3", b"x", b"-")] == [True, True, True, False]


def test_grammar_of_many_optional_parts_stays_small():
    rule = grammar("start: " + " ".join(f'["{letter}"]' for letter in "abcdefghijklmnopqrstuvwxyz"))
    assert rule.num_states == 27


def test_terminals_have_escapes_and_flags():
    rule = grammar(r'start: "\n\"\\\x41" /b\/c/i "d".."f" "é"i ESCAPED_STRING' + "\n%import common.ESCAPED_STRING\n")
    assert accepts(rule, '\n"\\AB/Ceé"a\\"b"'.encode())
    assert not accepts(rule, '\n"\\AB/Ceé"a"b"'.encode())


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ('start: "a" (', "broken at line 1, column 13"),
        ("start: a", "uses a, which there is not"),
        ('x: "a"', "no rule start"),
        ('start: "a"\nstart: "b"', "defines start twice, again in line 2"),
        ('start: "(" start ")"', "contains itself: set --depth 4"),
        ("start: /(?<!x)a/", "has assert not"),
        ("start: A\n%declare A", "%declare"),
        ('start: ""', "an empty terminal"),
        (r'start: "\x4"', "without its digits"),
        (r'start: "\U00110000"', "no character"),
        ('start: "a"~' + "9" * 5000, "up to 9 digits"),
        ('start: "a"~3..2', "3 to 2 times"),
        ('start: f{A}\nA: "a"', "uses a template"),
        ('f{x}: x\nstart: "a"', "has the template f"),
        ("start: /a/l", "flags 'l'"),
        ('start: A\nA: "x" A "y"', "the terminal A, which contains itself"),
        ('start: "ab".."c"', "range from 'ab'"),
        ("%import common.FOO\nstart: FOO", "imports common.FOO, which there is not"),
        ('%import os.path\nstart: "a"', "import from common alone"),
        ('%import .other\nstart: "a"', "import from common alone"),
        ('start: ("a"~60000)~60000', "too large"),
        ("start: " + "[" * 3000 + '"a"' + "]" * 3000, "nests too deeply"),
    ],
)
def test_grammars_that_cannot_be_are_one_line(definition, words):
    with pytest.raises(UsageError, match=r"the (grammar|regular expression)") as error:
        grammar(definition)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_grammars_name_the_extra_that_they_need(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("lark", "llguidance")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lark", None)
    monkeypatch.setitem(sys.modules, "llguidance", None)
    _parser.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'aigc-jax\[grammar\]'"):
        grammar(SUMS, depth=1)
    with pytest.raises(UsageError, match=r"pip install 'aigc-jax\[grammar\]'"):
        grammar_on_host(SUMS, [*BYTES, b""], 256)


def test_grammar_refuses_depths_out_of_range():
    with pytest.raises(UsageError, match="expected a depth from 0 to 32, got 33"):
        grammar(SUMS, depth=33)


BYTES = [bytes([byte]) for byte in range(256)]


def masks_along(rule, automaton, texts, size):
    """Masks of the rule on the host and of the automaton after each beginning of some texts."""
    for tokens in texts:
        state = automaton.start
        for place in range(len(tokens) + 1):
            own = np.append(automaton.need[state, automaton.kinds[: size - 1]] < 2**30, automaton.accepts[state])
            yield rule.masks(np.array([tokens[:place]], np.int32).reshape(1, -1))[0], own
            if place < len(tokens):
                state = automaton.next[state, automaton.kinds[tokens[place]]]


def test_masks_on_the_host_are_those_of_the_automaton():
    vocabulary = [*BYTES, b"(1", b"+1", b"1)", b")*", b""]
    end = len(vocabulary) - 1
    rule, automaton = grammar_on_host(SUMS, vocabulary, end), lift(grammar(SUMS, depth=3), vocabulary)
    texts = [[vocabulary.index(part) for part in parts] for parts in ([b"(1", b"+1", b")*", b"1"], [b"1", b"+1"])]
    for found, expected in masks_along(rule, automaton, texts, len(vocabulary)):
        assert np.flatnonzero(found).tolist() == np.flatnonzero(expected).tolist()
    assert rule.is_whole(np.array(texts[0]))
    assert not rule.is_whole(np.array(texts[0][:-1]))


def test_schemas_on_the_host_write_as_json_dumps():
    definition = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    # The automaton has no other properties than those.
    rule = schema_on_host({**definition, "additionalProperties": False}, [*BYTES, b""], 256)
    automaton = lift(schema(definition), [*BYTES, b""])
    for found, expected in masks_along(rule, automaton, [list(b'{"a": 1}')], 257):
        assert np.flatnonzero(found).tolist() == np.flatnonzero(expected).tolist()


@pytest.mark.parametrize(
    ("make", "definition", "words"),
    [
        (grammar_on_host, "start: (", "llguidance does not take the grammar"),
        (grammar_on_host, "start: start", "no text at all"),
        (schema_on_host, {"$ref": "#"}, "no text at all"),
        (schema_on_host, [1], "none of JSON objects"),
        (schema_on_host, {"const": float("nan")}, "none of JSON objects"),
    ],
)
def test_rules_on_the_host_refuse_in_one_line(make, definition, words):
    with pytest.raises(UsageError, match=words) as error:
        make(definition, [*BYTES, b""], 256)
    assert "\n" not in str(error.value)


def test_rules_on_the_host_take_long_texts():
    rule = grammar_on_host('start: ("a" | "b")*', [*BYTES, b""], 256)
    assert rule.is_whole(np.full(3000, 97))
    assert rule.masks(np.full((1, 1500), 98)).sum() == 3


def test_schema_contains_itself_as_often_as_its_depth():
    tree = {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/tree"}}
    rules = [schema({"$ref": "#/$defs/tree", "$defs": {"tree": tree}}, depth=depth) for depth in range(3)]
    texts = [b"[]", b"[[]]", b"[[], [[]]]", b"[[[[]]]]"]
    assert [[accepts(rule, text) for text in texts] for rule in rules] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
    ]
