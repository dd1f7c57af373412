"""Prompts on the command line: files of them, templates, experts, and the mistakes that end in one line."""

import json
import re

import pytest

from aigc_jax import cli

pytestmark = pytest.mark.standard_promotion


def written(tmp_path, **files):
    """Files by stem and content: a list is .jsonl, a text is .txt."""
    paths = {}
    for stem, content in files.items():
        is_text = isinstance(content, str)
        paths[stem] = tmp_path / f"{stem}.{'txt' if is_text else 'jsonl'}"
        paths[stem].write_text(content if is_text else "".join(json.dumps(row) + "\n" for row in content))
    return paths


def test_prompt_measures_templates_by_the_answers_of_the_run(trained_run, tmp_path, capsys):
    """Answers are what the run itself says after a prompt, so that one template is always right."""
    run = trained_run("gpt_docs")
    names = ["red", "blue", "grey", "pink"]
    out = tmp_path / "samples.jsonl"
    prompts = written(tmp_path, prompts="".join(f"{name}: \n" for name in names))["prompts"]
    words = ["sample", str(run), "--prompts", str(prompts), "--num", "4", "--temperature", "0", "--length", "3"]
    assert cli.main([*words, "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["condition"] for row in rows] == [f"{name}: " for name in names]
    said = [row["text"][len(row["condition"]) :].strip(" ").partition("\n")[0].strip() for row in rows]
    capsys.readouterr()
    cases = [{"colour": name, "answer": answer or "?"} for name, answer in zip(names, said, strict=True)]
    paths = written(tmp_path, templates="{colour}: \nnever {colour}?\\n\n", cases=cases)
    found = tmp_path / "found.json"
    words = ["prompt", str(run), "--templates", str(paths["templates"]), "--cases", str(paths["cases"])]
    assert cli.main([*words, "--out", str(found)]) == 0
    printed = capsys.readouterr().out
    assert "right answers to 2 cases" in printed
    assert "sensitivity" in printed
    content = json.loads(found.read_text())
    assert [row["template"] for row in content["templates"]] == ["{colour}: ", "never {colour}?\n"]
    assert all(len(row["answers"]) == 4 for row in content["templates"])
    # A tiny run of random weights may say more than three tokens; what it says begins as before.
    for given, answer in zip(content["templates"][0]["answers"], said, strict=True):
        assert given.startswith(answer)


@pytest.mark.parametrize(
    ("templates", "cases", "words"),
    [
        ("{question}\n", [{"colour": "red", "answer": "x"}] * 2, "asks for {question}, .* have colour"),
        ("{answer}\n", [{"colour": "red", "answer": "x"}] * 2, "asks for {answer}"),
        ("{colour.__class__}\n", [{"colour": "red", "answer": "x"}] * 2, "asks for {colour.__class__}"),
        ("no field\n", [{"colour": "red", "answer": "x"}] * 2, "has no field"),
        ("{colour\n", [{"colour": "red", "answer": "x"}] * 2, "cannot read the template"),
        ("", [{"colour": "red", "answer": "x"}] * 2, "it is empty"),
        ("{colour}\n", [{"colour": "red"}] * 2, "line 1 has no entry answer"),
        ("{colour}\n", [{"colour": "red", "answer": "a\nb"}] * 2, "answers of one line"),
    ],
)
def test_prompt_refuses_files_that_say_nothing(templates, cases, words, trained_run, tmp_path, capsys):
    paths = written(tmp_path, templates=templates, cases=cases)
    run = str(trained_run("gpt_docs"))
    assert cli.main(["prompt", run, "--templates", str(paths["templates"]), "--cases", str(paths["cases"])]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert re.search(words, printed), printed


@pytest.mark.parametrize(
    ("run", "options", "words"),
    [
        ("gpt_docs", ["--prompt", "x" * 17], "has 17 tokens, and this model was trained on 16 at once"),
        ("gpt_docs", ["--prompt", "x", "--prompts", "y"], "--prompt and --prompts: pass one"),
        ("gpt_docs", ["--prompts", "missing.txt"], "missing.txt"),
        ("gpt_docs", ["--expert", "{gpt_docs}"], "--expert RUN and --anti-expert RUN together"),
        ("gpt_docs", ["--expert", "{gpt_docs}", "--anti-expert", "{flow_2d}"], "other tokens"),
        ("flow_2d", ["--prompt", "x"], "this run makes points"),
    ],
)
def test_sample_refuses_prompts_and_experts_that_do_not_fit(run, options, words, trained_run, capsys):
    options = [option.format(gpt_docs=trained_run("gpt_docs"), flow_2d=trained_run("flow_2d")) for option in options]
    assert cli.main(["sample", str(trained_run(run)), "--num", "1", *options]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert words in printed


def test_sample_of_an_expert_that_is_the_anti_expert_is_that_of_the_run(trained_run, tmp_path):
    run, texts = str(trained_run("gpt_docs")), []
    for number, options in enumerate([[], ["--expert", run, "--anti-expert", run, "--alpha", "2"]]):
        out = tmp_path / f"{number}.jsonl"
        assert cli.main(["sample", run, "--num", "3", "--prompt", "The", *options, "--out", str(out)]) == 0
        texts.append(out.read_text())
    assert texts[0] == texts[1]


def test_sample_writes_guided_and_searched_samples(trained_run, tmp_path):
    run = str(trained_run("gpt_docs"))
    words = ["sample", run, "--num", "2", "--prompt", "The", "--length", "3"]
    for number, options in enumerate([["--guidance", "2"], ["--num-beams", "2"]]):
        out = tmp_path / f"{number}.jsonl"
        assert cli.main([*words, *options, "--out", str(out)]) == 0
        texts = [json.loads(line)["text"] for line in out.read_text().splitlines()]
        assert all(text.startswith("The") for text in texts)
    assert texts[0] == texts[1]  # a search draws nothing
