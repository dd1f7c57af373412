"""Knowledge graphs: triples of names from N-Triples, Turtle and CSV, and their statements in words."""

from __future__ import annotations

import csv
import io
import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from aigc_jax.data.files import read_text, unreadable, visible
from aigc_jax.rules.horn import Triple
from aigc_jax.types import UsageError

FIELDS = ("subject", "relation", "object")
"""The columns of a CSV file, and the fields of a template."""

DEFAULT_TEMPLATE = "{subject} {relation} {object}."
"""The words of a statement, unless its relation has others."""

_LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
_ADVICE = "write triples as N-Triples (.nt), Turtle (.ttl), or with columns subject, relation, object (.csv, .tsv)"


class Statement(NamedTuple):
    """A triple in words."""

    text: str
    prompt: str
    """The words before the object, without the space between: a question whose answer is the rest."""
    triple: Triple

    @property
    def answer(self) -> str:
        """The words after the prompt."""
        return self.text[len(self.prompt) :].strip()


def read_graph(path: Path) -> list[Triple]:
    """The distinct triples of a file, in its order.

    Names of RDF are labels (``rdfs:label``; of several one without a language, or in English, or the first), or else
    the last part of their addresses, without underscores; where several things have one name, each has its address
    too. A literal is its value, and the same as a thing of that name.

    Raises:
        UsageError: the file cannot be read, is empty, or a line is no triple; or pyoxigraph is missing for RDF.
    """
    readers = {".nt": _read_rdf, ".ttl": _read_rdf, ".csv": _read_table, ".tsv": _read_table}
    if path.suffix.lower() not in readers:
        raise UsageError(f"expected a graph in .nt, .ttl, .csv or .tsv, got {visible(str(path))}: {_ADVICE}")
    content = read_text(path, advice=_ADVICE).removeprefix("\ufeff")
    try:
        found = list(dict.fromkeys(readers[path.suffix.lower()](content, path.suffix.lower())))
        if not found:
            raise ValueError("it holds no triple")
    except (ValueError, csv.Error) as error:
        raise unreadable(path, error, _ADVICE) from error
    return found


def _read_rdf(content: str, suffix: str) -> Iterable[Triple]:
    try:
        import pyoxigraph as rdf
    except ImportError:
        raise UsageError(f"a graph in {suffix} needs pyoxigraph: pip install 'aigc-jax[graph]', or use .csv") from None
    kind = rdf.RdfFormat.TURTLE if suffix == ".ttl" else rdf.RdfFormat.N_TRIPLES
    try:
        quads = [(quad.subject, quad.predicate, quad.object) for quad in rdf.parse(content, format=kind)]
    except SyntaxError as error:
        # "Parser error at line 3 column 9: . is not a valid RDF object"
        where = f"line {error.lineno}: " if error.lineno else ""
        raise ValueError(where + str(error.msg).partition(": ")[2]) from error
    if any(isinstance(part, rdf.Triple) for parts in quads for part in parts):
        raise ValueError("it holds statements about statements, which are not read")
    labels = dict[str, str]()
    titles = [(str(s), o) for s, p, o in quads if p.value == _LABEL and isinstance(o, rdf.Literal)]
    for subject, title in sorted(titles, key=lambda pair: {None: 0, "en": 1}.get(pair[1].language, 2)):
        labels.setdefault(subject, title.value)
    nodes = {str(node): node for quad in quads for node in quad if not isinstance(node, rdf.Literal)}
    own = {key: _one_line(labels.get(key) or _local_name(node.value)) for key, node in nodes.items()}
    uses = Counter(own.values())
    names = {key: name if uses[name] == 1 else f"{name} ({nodes[key].value})" for key, name in own.items()}
    for parts in quads:
        if parts[1].value != _LABEL:
            found = [names.get(str(node)) or _one_line(node.value) for node in parts]
            if not all(found):
                raise ValueError(f"a literal after {visible(' '.join(found).strip()[:60])} is empty")
            yield Triple(*found)


def _local_name(address: str) -> str:
    """The last part of an address: Marie Curie of ``http://example.org/people#Marie_Curie``."""
    return unquote(re.split(r"[/#]", address.rstrip("/#"))[-1]).replace("_", " ") or address


def _read_table(content: str, suffix: str) -> Iterable[Triple]:
    rows = csv.reader(io.StringIO(content, newline=""), delimiter="\t" if suffix == ".tsv" else ",")
    header = [name.strip().lower() for name in next(rows, [])]
    if missing := [name for name in FIELDS if name not in header]:
        raise ValueError(f"line 1 names no column {', '.join(missing)}")
    places = [header.index(name) for name in FIELDS]
    for row in rows:
        if not any(row):
            continue
        parts = [_one_line(row[place]) if place < len(row) else "" for place in places]
        if len(row) != len(header) or not all(parts):
            expected = f"{len(header)} values, {', '.join(FIELDS)} among them"
            raise ValueError(f"line {rows.line_num}: expected {expected}, got {visible(','.join(row)[:60])}")
        yield Triple(*parts)


def _one_line(name: str) -> str:
    """A name without control characters and repeated spaces: a statement is a line."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())


def statements_of(triples: Sequence[Triple], templates: Mapping[str, str]) -> list[Statement]:
    """Each triple in the words of its relation's template, or of :data:`DEFAULT_TEMPLATE`.

    Raises:
        UsageError: a template has other fields, no object after a space, or several lines.

    >>> statements_of([Triple("Oslo", "capital of", "Norway")], {})[0].prompt
    'Oslo capital of'
    """
    parts = {name: _split(template) for name, template in {"": DEFAULT_TEMPLATE, **templates}.items()}
    found = []
    for triple in triples:
        before, after = (
            "".join(literal + (getattr(triple, field) if field else "") for literal, field in half)
            for half in parts.get(triple.relation, parts[""])
        )
        found.append(Statement(before + triple.object + after, before.rstrip(), triple))
    return found


_Half = list[tuple[str, str | None]]


def _split(template: str) -> tuple[_Half, _Half]:
    """The literals of a template, each with the field that follows it, before and after the object."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        parts = []
    names = [name for _, name, *_ in parts if name is not None]
    is_plain = not any(spec or conversion for _, _, spec, conversion in parts)
    place = names.index("object") if names.count("object") == 1 else 0
    # An answer comes after its question and a space, and ends with its line.
    is_apart = template.isprintable() and any(name == "object" and before.endswith(" ") for before, name, *_ in parts)
    if not is_plain or not is_apart or set(names) - set(FIELDS) or "subject" not in names[:place]:
        raise UsageError(
            f"expected a template such as {DEFAULT_TEMPLATE!r}, got {visible(template[:60])!r}: name subject, relation "
            "or not, and last, after a space, object, once, in one line"
        )
    last = [name for _, name, *_ in parts].index("object")
    halves = [(literal, name) for literal, name, *_ in parts]
    return [*halves[:last], (halves[last][0], None)], halves[last + 1 :]
