"""Graphs and questions on the command line, from a table to answers under its statements, and mistakes in one line."""

import csv
import itertools
import json
import re

import pytest

from aigc_jax import cli

pytestmark = pytest.mark.standard_promotion

NAMES = [chr(65 + i) + "ada" for i in range(20)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A graph of 20 people, a parent each, and an animal."""
    folder = tmp_path_factory.mktemp("graph")
    rows = [(name, "has", ("cat", "dog", "owl")[i % 3]) for i, name in enumerate(NAMES)]
    rows += [(old, "parent", young) for old, young in itertools.pairwise(NAMES)]
    with (folder / "people.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("subject", "relation", "object"), *rows])
    (folder / "rules.txt").write_text("gran(x, z) <- parent(x, y), parent(y, z)\n")
    (folder / "templates.jsonl").write_text(json.dumps({"relation": "has", "template": "{subject} has a {object}."}))
    return folder


def test_graph_writes_statements_questions_and_what_follows(table, tmp_path, capsys):
    words = ["graph", str(table / "people.csv"), "--rules", str(table / "rules.txt"), "--out", str(tmp_path / "g")]
    assert cli.main([*words, "--templates", str(table / "templates.jsonl"), "--hold-out", "0.25"]) == 0
    printed = capsys.readouterr().out
    assert "39 triples of 23 names, 18 more follow" in printed
    assert "Aada gran Cada    by gran(x, z) <- parent(x, y), parent(y, z)" in printed
    statements = (tmp_path / "g" / "statements.txt").read_text().splitlines()
    questions = [json.loads(line) for line in (tmp_path / "g" / "questions.jsonl").read_text().splitlines()]
    assert len(questions) == 57
    assert {"prompt": "Aada has a", "answer": "cat.", "relation": "has", "subject": "Aada"} in questions
    # A quarter of the subjects is asked for, and not told.
    told = {line.split()[0] for line in statements}
    assert len(told) == 15
    assert {row["subject"] for row in questions} == set(NAMES)
    derived = [
        row
        for row in csv.DictReader((tmp_path / "g" / "triples.csv").read_text().splitlines())
        if row["is_derived"] == "1"
    ]
    assert len(derived) == 18
    assert {row["relation"] for row in derived} == {"gran"}


@pytest.mark.slow
def test_ask_measures_answers_of_a_run_and_under_statements(table, trained_run, tmp_path, capsys):
    run, folder = str(trained_run("gpt_docs")), tmp_path / "g"
    assert cli.main(["graph", str(table / "people.csv"), "--hold-out", "0.5", "--out", str(folder)]) == 0
    capsys.readouterr()
    words = ["ask", run, "--questions", str(folder / "questions.jsonl"), "--num-samples", "3"]
    words += ["--statements", str(folder / "statements.txt"), "--out", str(tmp_path / "found.json")]
    assert cli.main(words) == 2
    assert "expected 40 questions or more, got 39" in capsys.readouterr().err
    with (folder / "questions.jsonl").open("a") as file:
        file.write(json.dumps({"prompt": "Tada has", "answer": "owl.", "relation": "has"}) + "\n")
        file.write(json.dumps({"prompt": "Zada has", "answer": "owl.", "relation": "has"}) + "\n")
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    found = {row["name"]: row for row in json.loads((tmp_path / "found.json").read_text())["methods"]}
    under = found["under the statements"]
    # All statements are true: nothing under them is wrong, and nothing else is known.
    assert under["wrong"] == 0
    assert under["right"] > 0
    assert under["right_unknown"] == 0
    assert found["plain"]["right"] < under["right"]
    assert "answer sets: " in printed
    assert re.search(r"probe of the last hidden state .*(useful|useless|undecided|inverted)", printed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--alpha", "1"], "expected --alpha in"),
        (["--num-samples", "1"], "expected --num-samples 2 or more"),
        (["--advice", "0"], "expected --advice above 0"),
        (["--retrieve", "2"], "takes texts of --statements"),
    ],
)
def test_ask_refuses_settings_in_one_line(options, words, trained_run, tmp_path, capsys):
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"prompt": "a", "answer": "b"}\n')
    assert cli.main(["ask", str(trained_run("gpt_docs")), "--questions", str(questions), *options]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert words in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hold-out", "1"], "expected --hold-out as a share"),
        (["--rules", "{tmp}/bad.txt"], "line 1, column"),
        (["--templates", "{tmp}/other.jsonl"], "the graph has no relation 'eats', but has, parent"),
    ],
)
def test_graph_refuses_mistakes_in_one_line(options, words, table, tmp_path, capsys):
    (tmp_path / "bad.txt").write_text("gran(x z)\n")
    (tmp_path / "other.jsonl").write_text('{"relation": "eats", "template": "{subject} eats {object}"}\n')
    options = [option.format(tmp=tmp_path) for option in options]
    assert cli.main(["graph", str(table / "people.csv"), *options]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert words in printed
