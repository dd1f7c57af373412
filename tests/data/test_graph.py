"""Knowledge graphs: triples of three formats with one content, names, templates, and broken files in one line."""

import pytest

from aigc_jax.data.graph import read_graph, statements_of
from aigc_jax.rules.horn import Triple
from aigc_jax.types import UsageError

TRIPLES = [
    Triple("Marie Curie", "born in", "Warsaw"),
    Triple("Marie Curie", "field", "physics, chemistry"),
    Triple("Warsaw", "in", "Poland"),
]
CSV = 'object,subject,relation\nWarsaw,Marie Curie,born in\n"physics, chemistry",Marie Curie,field\nPoland,Warsaw,in\n'
TTL = """
@prefix e: <http://example.org/people#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
e:Marie_Curie e:born_in <http://example.org/place/Warsaw> ; e:field "physics, chemistry"@en .
e:w2 rdfs:label "unused" .
<http://example.org/place/Warsaw> e:in e:pl .
e:pl rdfs:label "Poland" .
"""
NT = """
<http://e.org/Marie_Curie> <http://e.org/born%20in> <http://e.org/Warsaw> .
<http://e.org/Marie_Curie> <http://e.org/field> "physics, chemistry" .
<http://e.org/Warsaw> <http://e.org/in> <http://e.org/Poland> .
<http://e.org/Warsaw> <http://e.org/in> <http://e.org/Poland> .
"""


def written(tmp_path, content, suffix):
    path = tmp_path / f"graph{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_read_graph_reads_columns_between_tabs(tmp_path):
    content = "subject\trelation\tobject\tsource\nMarie Curie\tborn in\tWarsaw\ta book\n"
    assert read_graph(written(tmp_path, content, ".tsv")) == TRIPLES[:1]


@pytest.mark.parametrize(("content", "suffix"), [(CSV, ".csv"), (TTL, ".ttl"), (NT, ".nt")])
def test_read_graph_has_one_content_in_all_formats(content, suffix, tmp_path):
    if suffix != ".csv":
        pytest.importorskip("pyoxigraph")
    assert set(read_graph(written(tmp_path, content, suffix))) == set(TRIPLES)


def test_read_graph_tells_things_of_one_name_apart(tmp_path):
    pytest.importorskip("pyoxigraph")
    content = "<http://a.org/Paris> <http://a.org/in> <http://b.org/Paris> ."
    (found,) = read_graph(written(tmp_path, content, ".nt"))
    assert found == ("Paris (http://a.org/Paris)", "in", "Paris (http://b.org/Paris)")


@pytest.mark.parametrize(
    ("content", "suffix", "words"),
    [
        ("a,b,c\n1,2,3\n", ".csv", "line 1 names no column subject, relation, object"),
        ("subject,relation,object\na,b,c\na,b\n", ".csv", "line 3: expected 3 values"),
        ("subject,relation,object\na,,c\n", ".csv", "line 2: expected 3 values"),
        ("subject,relation,object\n", ".csv", "it holds no triple"),
        (b"subject,relation,object\n\xff,b,c\n", ".csv", "utf-8"),
        ("<http://e.org/a> <http://e.org/b> .\n", ".nt", "line 1: "),
        ("@prefix e: <http://e.org/> .\ne:a e:b e:c .\ne:a e:b .\n", ".ttl", "line 3: "),
        (
            "<http://e.org/a> <http://e.org/b> <<( <http://e.org/a> <http://e.org/b> <http://e.org/c> )>> .",
            ".nt",
            "about",
        ),
        ('<http://e.org/a> <http://e.org/b> "" .', ".nt", "a literal after a b is empty"),
        ("", ".owl", "expected a graph in .nt, .ttl, .csv or .tsv"),
    ],
)
def test_read_graph_names_the_line_of_a_broken_triple(content, suffix, words, tmp_path):
    if suffix in (".nt", ".ttl"):
        pytest.importorskip("pyoxigraph")
    with pytest.raises(UsageError, match=words) as caught:
        read_graph(written(tmp_path, content, suffix))
    assert "\n" not in str(caught.value)


def test_labels_without_a_language_and_in_english_come_first(tmp_path):
    pytest.importorskip("pyoxigraph")
    label = "<http://e.org/n> <http://www.w3.org/2000/01/rdf-schema#label>"
    for titles, name in ((['"Norge"@no', '"Norway"@en'], "Norway"), (['"N"', '"Norway"@en'], "N")):
        for order in (titles, titles[::-1]):
            lines = [f"{label} {title} ." for title in order] + [
                "<http://e.org/n> <http://e.org/in> <http://e.org/eu> ."
            ]
            assert read_graph(written(tmp_path, "\n".join(lines), ".nt")) == [(name, "in", "eu")]


def test_statements_are_in_the_words_of_their_template():
    triple = Triple("Warsaw", "in", "Poland")
    plain, own = (
        statements_of([triple], templates)[0] for templates in ({}, {"in": "{subject} lies in {object}{{!}}"})
    )
    assert (plain.text, plain.prompt, plain.answer) == ("Warsaw in Poland.", "Warsaw in", "Poland.")
    assert (own.text, own.prompt, own.answer) == ("Warsaw lies in Poland{!}", "Warsaw lies in", "Poland{!}")
    braces = Triple("{object}", "in", "{subject}")
    assert statements_of([braces], {})[0].text == "{object} in {subject}."


@pytest.mark.parametrize(
    "template",
    [
        "{object} of {subject}",
        "{subject} is",
        "{subject} {object} {object}",
        "{subject.x} {object}",
        "{",
        "{subject} {object} {relation!r}",
        "{subject} {object} {name}",
        "{subject} ({object})",
        "{subject}\nis {object}",
    ],
)
def test_statements_refuse_other_templates(template):
    with pytest.raises(UsageError, match="expected a template such as"):
        statements_of([Triple("a", "b", "c")], {"b": template})
