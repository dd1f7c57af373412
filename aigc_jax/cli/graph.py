"""The command ``aigc-jax graph``: a knowledge graph, what follows from it, and its statements and questions as text."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aigc_jax.cli.arguments import Graph
from aigc_jax.cli.common import one_line, read_rows
from aigc_jax.data.files import read_text, visible, write_text
from aigc_jax.data.graph import FIELDS, Statement, read_graph, statements_of
from aigc_jax.rules.clauses import parse_rules
from aigc_jax.rules.horn import Closure, Triple, closure
from aigc_jax.types import UsageError

NUM_SHOWN = 20
"""Relations in the table, the most frequent first."""


def graph(arguments: Graph) -> int:
    """Print what a graph holds and what follows from it; write its statements, questions and triples."""
    if not 0 <= arguments.hold_out < 1:
        raise UsageError(f"expected --hold-out as a share in [0, 1), got {arguments.hold_out:g}: 0.2 is a fifth")
    stated = read_graph(arguments.file)
    rules = []
    if arguments.rules is not None:
        rules = parse_rules(read_text(arguments.rules, advice="name a file with one rule a line"))
    closed = closure(stated, rules)
    rounds = _rounds(closed)
    triples = list(rounds)
    statements = statements_of(triples, _templates(arguments.templates, closed.relations))
    print("\n".join(_summary(arguments.file, closed, rounds, statements)))
    if arguments.out is not None:
        _write(arguments, rounds, statements)
    return 0


def _templates(path: Path | None, relations: Sequence[str]) -> dict[str, str]:
    """Templates by relation."""
    found = dict[str, str]()
    for number, row in enumerate([] if path is None else read_rows(path, "template"), 1):
        if not isinstance(relation := row.get("relation"), str):
            raise UsageError(f"expected a relation in row {number} of {visible(str(path))}: name one of the graph")
        if relation not in relations:
            known = ", ".join(visible(each) for each in relations[:NUM_SHOWN])
            raise UsageError(f"the graph has no relation {visible(relation)!r}, but {known}: change the template")
        found[relation] = row["template"]
    return found


def _rounds(closed: Closure) -> dict[Triple, int]:
    """The round of each triple: 1 of those that are stated."""
    found = dict[Triple, int]()
    for relation, (subjects, objects), rounds in closed.arrays():
        for subject, object_, round_ in zip(subjects, objects, rounds, strict=True):
            found[Triple(closed.names[int(subject)], relation, closed.names[int(object_)])] = int(round_)
    return found


def _summary(path: Path, closed: Closure, rounds: Mapping[Triple, int], statements: Sequence[Statement]) -> list[str]:
    """A few lines on a graph."""
    head = f"{visible(path.name)}: {closed.num_stated} triples of {len(closed.names)} names"
    lines = [head + (f", {closed.num_derived} more follow" if closed.num_derived else "")]
    lines.append(
        f"{'relation':30}  {'stated':>8}  {'derived':>8}  {'subjects':>8}  {'objects':>8}  most objects of one"
    )
    count = Counter(each.relation for each in rounds)
    for relation, num in count.most_common(NUM_SHOWN):
        own = [each for each in rounds if each.relation == relation]
        subjects = Counter(each.subject for each in own)
        derived = sum(rounds[each] > 1 for each in own)
        objects = len({each.object for each in own})
        lines.append(
            f"{visible(relation)[:30]:30}  {num - derived:8}  {derived:8}  {len(subjects):8}  {objects:8}  "
            f"{max(subjects.values()):8}"
        )
    if len(count) > NUM_SHOWN:
        lines.append(f"... and {len(count) - NUM_SHOWN} relations more")
    prompts = Counter(each.prompt for each in statements)
    lines.append(f"{len(prompts)} questions, {sum(num > 1 for num in prompts.values())} of several right answers")
    if closed.num_derived:
        # The longest derivation, the first of equals.
        example = max(rounds, key=rounds.__getitem__)
        lines.append("for example:")
        for step in closed.derivation(example):
            rule = "stated" if step.rule is None else f"by {step.rule.text}"
            lines.append(f"  {visible(' '.join(step.triple))}    {visible(rule)}")
    return lines


def _write(arguments: Graph, rounds: Mapping[Triple, int], statements: Sequence[Statement]) -> None:
    """The statements, the questions and the triples."""
    out = arguments.out
    assert out is not None
    subjects = sorted({each.triple.subject for each in statements})
    order = np.random.default_rng(arguments.seed).permutation(len(subjects))
    unknown = {subjects[i] for i in order[: round(arguments.hold_out * len(subjects))].tolist()}
    known = dict.fromkeys(each.text for each in statements if each.triple.subject not in unknown)
    questions = [
        {"prompt": each.prompt, "answer": each.answer, "relation": each.triple.relation, "subject": each.triple.subject}
        for each in statements
    ]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*FIELDS, "is_derived"])
    writer.writerows([*each.triple, int(rounds[each.triple] > 1)] for each in statements)
    write_text(out / "statements.txt", "".join(one_line(text) + "\n" for text in known))
    write_text(out / "questions.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in questions))
    write_text(out / "triples.csv", table.getvalue())
    print(f"wrote {len(known)} statements and {len(questions)} questions to {visible(str(out))}")
