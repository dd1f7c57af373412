"""``aigc-jax sample`` under rules."""

import json
import re

import pytest

from aigc_jax import cli
from aigc_jax.rules.bytes import accepts
from aigc_jax.rules.words import forbid

LENGTH = ["--length", "24"]


def drawn(run, out, *words):
    assert cli.main(["sample", str(run), "--num", "20", "--out", str(out), *LENGTH, *words]) == 0
    return [json.loads(line)["text"] for line in out.read_text().splitlines()]


def test_sample_under_all_rules_together(trained_run, tmp_path, capsys):
    run = trained_run("gpt_docs")
    pattern = "(A|The) [a-z]{2,6}( is)? [a-z]+[.!]"
    rules = ["--regex", pattern, "--forbid", "cat,dog", "--require", "is"]
    found = drawn(run, tmp_path / "a.jsonl", *rules)
    assert all(re.fullmatch(pattern, text) and accepts(forbid(["cat", "dog"]), text.encode()) for text in found)
    assert all(" is" in text for text in found)
    assert drawn(run, tmp_path / "b.jsonl", *rules) == found
    assert drawn(run, tmp_path / "c.jsonl", *rules, "--exact", "3") != found
    assert re.search(r"of the candidates of a sample [123]\.\d count", capsys.readouterr().out)
    greedy = drawn(run, tmp_path / "e.jsonl", *rules, "--temperature", "0")
    assert len(set(greedy)) == 1
    assert re.fullmatch(pattern, greedy[0])
    ahead = drawn(run, tmp_path / "d.jsonl", *rules, "--look-ahead")
    assert all(re.fullmatch(pattern, text) for text in ahead)
    assert ahead != found


def test_sample_of_statements_and_words_of_files(trained_run, tmp_path):
    (tmp_path / "facts.txt").write_text("Ann is old.\nBob is young.\nCleo is a knave.\n")
    (tmp_path / "words.txt").write_text("knave\n")
    rules = ["--statements", str(tmp_path / "facts.txt"), "--forbid", str(tmp_path / "words.txt")]
    found = drawn(trained_run("gpt_docs"), tmp_path / "a.jsonl", *rules)
    assert set(found) == {"Ann is old.", "Bob is young."}
    prompted = drawn(trained_run("gpt_docs"), tmp_path / "b.jsonl", *rules, "--prompt", "Bob")
    assert all("Bob is young." in text for text in prompted)


def test_sample_of_a_schema(trained_run, tmp_path):
    properties = {"n": {"type": "integer", "minimum": 0, "maximum": 20}, "s": {"enum": ["a", "b"]}}
    definition = {"type": "object", "properties": properties, "required": ["n", "s"]}
    (tmp_path / "schema.json").write_text(json.dumps(definition))
    found = drawn(trained_run("gpt_docs"), tmp_path / "a.jsonl", "--schema", str(tmp_path / "schema.json"))
    values = [json.loads(text) for text in found]
    assert all(value["n"] in range(21) and value["s"] in "ab" and len(value) == 2 for value in values)
    (tmp_path / "schema.json").write_text("{")
    assert cli.main(["sample", str(trained_run("gpt_docs")), "--schema", str(tmp_path / "schema.json")]) == 2


def test_sample_of_a_grammar_is_that_on_the_host(trained_run, tmp_path, capsys):
    (tmp_path / "sum.lark").write_text('start: "1" | start "+" "1" | "(" start ")"\n')
    rule = ["--grammar", str(tmp_path / "sum.lark")]
    deep = drawn(trained_run("gpt_docs"), tmp_path / "a.jsonl", *rule, "--depth", "3")
    assert all(set(text) <= set("1+()") and isinstance(eval(text), int) for text in deep)
    capsys.readouterr()
    free = drawn(trained_run("gpt_docs"), tmp_path / "b.jsonl", *rule, "--on-host")
    num = int(re.search(r"(\d+) of 20 texts are whole", capsys.readouterr().out)[1])
    assert sum(text.count("(") == text.count(")") and text[-1] in "1)" for text in free) == num
    # Where depth and length are enough, both draw the same.
    (tmp_path / "one.lark").write_text('start: "1" | "2+" "3"\n')
    rule = ["--grammar", str(tmp_path / "one.lark")]
    own = drawn(trained_run("gpt_docs"), tmp_path / "c.jsonl", *rule)
    assert drawn(trained_run("gpt_docs"), tmp_path / "d.jsonl", *rule, "--on-host") == own


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--depth", "2", "--regex", "a"], "--depth without --schema or --grammar"),
        (["--on-host", "--regex", "a"], "--on-host and --regex"),
        (["--on-host", "--grammar", "nowhere.lark", "--rule", "a"], "--on-host and --rule"),
        (["--on-host"], "one of --schema and --grammar"),
        (["--grammar", "nowhere.lark"], "nowhere.lark"),
        (["--regex", "("], "is broken"),
        (["--regex", "a", "--require", "bee"], "no text at all"),
        (["--regex", "a{30}"], "needs 30 tokens, got --length 24"),
        (["--regex", "The.*", "--prompt", "Thy"], "breaks the rule at character 3, 'y'"),
        (["--regex", "The.*", "--prompt", "The \udcff"], "breaks the rule at character 5"),
        (["--forbid", "a,,b"], "got an empty one"),
        (["--forbid", "long,words," * 50], "got an empty one"),
        (["--exact", "4"], "without a rule"),
        (["--look-ahead"], "got --look-ahead without a rule"),
        (["--advice", "3"], "got --advice without a rule"),
        (["--advice", "-1", "--regex", "a"], "expected --advice above 0"),
        (["--advice", "3", "--regex", "a", "--exact", "4"], "leave --exact or --advice out"),
        (["--exact", "0", "--regex", "a"], "--exact 1 or more"),
        (["--exact", "4", "--regex", "a", "--top-k", "3"], "leave --top-k out"),
        (["--statements", "nowhere.txt"], "nowhere.txt"),
        (["--schema", "nowhere.json"], "nowhere.json"),
    ],
)
def test_rules_that_cannot_be_are_one_line(words, expected, trained_run, capsys):
    assert cli.main(["sample", str(trained_run("gpt_docs")), *LENGTH, *words]) == 2
    message = capsys.readouterr().err.strip()
    assert expected in message
    assert "\n" not in message


def test_a_rule_of_text_for_images_is_refused(trained_run, capsys):
    assert cli.main(["sample", str(trained_run("vae_digits")), "--regex", "a"]) == 2
    assert "got a rule of text, but this run makes image" in capsys.readouterr().err
