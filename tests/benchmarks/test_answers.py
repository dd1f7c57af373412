"""The data of the benchmark of answers."""

import json

from benchmarks import answers


def test_answers_trains_on_known_statements_alone(tmp_path, capsys):
    answers.write_files(tmp_path)
    known = set((tmp_path / "graph" / "statements.txt").read_text().splitlines())
    questions = [json.loads(line) for line in (tmp_path / "graph" / "questions.jsonl").read_text().splitlines()]
    rows = [json.loads(row)["text"] for row in (tmp_path / "train.jsonl").read_text().splitlines()]
    lines = [line for text in rows for line in text.split("\n")]
    people = {row["subject"] for row in questions}
    about = {line for line in lines if " ".join(line.split()[:2]) in people}
    assert about == known
    assert len(questions) == 900
    assert len(known) == 630
