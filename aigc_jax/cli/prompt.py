"""The command ``aigc-jax prompt``: how often each prompt template leads to the right answer."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aigc_jax.cli.arguments import Prompt
from aigc_jax.cli.common import answerer, load_to_answer, read_rows
from aigc_jax.data.files import visible, write_text
from aigc_jax.metrics.templates import TemplateComparison, compare_templates
from aigc_jax.types import UsageError

ANSWER = "answer"
"""The entry of a case with the expected answer."""


def prompt(arguments: Prompt) -> int:
    """Answer all cases by each template, and print how often each one's answers are right."""
    templates = [row["template"] for row in read_rows(arguments.templates, "template")]
    cases = read_rows(arguments.cases, ANSWER)
    filled = [[_filled(template, case, arguments) for case in cases] for template in templates]
    answers = [case[ANSWER].strip() for case in cases]
    if not all(answers) or any("\n" in answer for answer in answers):
        raise UsageError(f"expected answers of one line in {visible(str(arguments.cases))}: an answer ends at its line")
    experiment, _, variables = load_to_answer(arguments, answers, temperature=arguments.temperature)
    given = answerer(experiment, variables, [text for row in filled for text in row], arguments.seed)()
    table = np.array(given, object).reshape(len(templates), len(cases))
    is_right = np.array([[found == answer for found, answer in zip(row, answers, strict=True)] for row in table])
    found = compare_templates(is_right, arguments.seed)
    print(_table(templates, found))
    if arguments.out is not None:
        write_text(arguments.out, json.dumps(_content(arguments, templates, found, table), indent=1) + "\n")
        print(f"wrote {arguments.out}")
    return 0


def _filled(template: str, case: Mapping[str, Any], arguments: Prompt) -> str:
    """A template with the fields of a case. Names alone: no attributes, indices or formats of Python."""
    shown, text = visible(template[:40]), []
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"cannot read the template {shown!r} ({error}): write {{{{ for a brace") from None
    names = [name for _, name, _, _ in parts if name is not None]
    if not names:
        raise UsageError(f"the template {shown!r} has no field, so all its prompts are equal: add one, as {{question}}")
    for literal, name, format_spec, conversion in parts:
        text.append(literal)
        if name is None:
            continue
        if name == ANSWER or name not in case or format_spec or conversion:
            fields = ", ".join(sorted(set(case) - {ANSWER})) or "none"
            raise UsageError(
                f"the template {shown!r} asks for {{{visible(name)}}}, the cases of "
                f"{visible(str(arguments.cases))} have {visible(fields)}: name one of these"
            )
        text.append(str(case[name]))
    return "".join(text)


def _table(templates: Sequence[str], found: TemplateComparison) -> str:
    """The figures as a text table, the best template first."""
    num = found.num_cases
    lines = [f"right answers to {num} cases, by template; intervals of 95 %", ""]
    lines.append(f"{'share':>6}  {'interval':>14}  {'to the winner':>24}  template")
    for i in sorted(range(len(templates)), key=lambda i: -found.shares[i][0]):
        (share, low, high), (value, below, above) = found.shares[i], found.differences[i]
        difference = "chosen" if i == found.winner else f"{value:+.3f} [{below:+.3f}, {above:+.3f}]"
        shown = visible(templates[i][:60])
        lines.append(f"{share:6.3f}  [{low:.3f}, {high:.3f}]  {difference:>24}  {shown}")
    spread, low, high = found.sensitivity
    lines += ["", f"sensitivity, largest minus smallest share: {spread:.3f} [{low:.3f}, {high:.3f}]"]
    lines.append("the winner was chosen on the other half of the cases")
    return "\n".join(lines)


def _content(
    arguments: Prompt, templates: Sequence[str], found: TemplateComparison, answers: np.ndarray
) -> dict[str, Any]:
    """All figures and answers, for --out."""
    rows = zip(templates, found.shares, found.differences, answers.tolist(), strict=True)
    return {
        "run": str(arguments.run),
        "seed": arguments.seed,
        "temperature": arguments.temperature,
        "num_cases": found.num_cases,
        "winner": found.winner,
        "sensitivity": found.sensitivity,
        "templates": [
            {"template": template, "share": share, "difference": difference, "answers": own}
            for template, share, difference, own in rows
        ],
    }
