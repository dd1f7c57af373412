"""``docs/report.md`` names every key of ``report.json`` and no other; a report survives JSON and back."""

import json
import math
import re

import numpy as np
import pytest

from aigc_jax.report.criteria import COMPARISONS
from aigc_jax.report.measurements import MEASUREMENTS, Measurement, measure
from aigc_jax.report.schema import FORMAT, Report, from_json, to_json
from aigc_jax.types import UsageError
from tests.report.document import FILE, with_tables
from tests.report.example import REPORT

DOCUMENT = FILE.read_text(encoding="utf-8")
COMMON = {"kind", "name", "title", "caption"}
LISTS = {"criteria": "criterion", "checks": "check", "targets": "target", "measurements": "measurement"} | {
    "recommendations": "recommendation",
    "series": "series",
    "bars": "bar",
}


def documented():
    """``{heading: names in the first column of the table below it}``."""
    parts = re.split(r"^## (.*)$", DOCUMENT, flags=re.MULTILINE)
    tables = {
        heading: re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    return {heading: set(keys) for heading, keys in tables.items() if keys}


def written(value, heading, found):
    """``{heading: keys}`` of a report's JSON, its parts included."""
    found.setdefault(heading, set()).update(value)
    for key, items in value.items():
        if key == "figures":
            for figure in items:
                written(figure, f"figure: {figure['kind']}", found)
        elif key in LISTS and isinstance(items, list):
            for item in items:
                written(item, LISTS[key], found)
    return found


def test_document_names_every_key_of_the_json():
    found = {
        heading: keys - COMMON if heading.startswith("figure: ") else keys
        for heading, keys in written(to_json(REPORT), "report", {}).items()
    }
    described = documented()
    assert described.pop("names") == set(MEASUREMENTS)
    assert described.pop("comparisons") == set(COMPARISONS)
    described["figure: lines"] -= COMMON
    assert described == found


def test_with_tables_changes_nothing_in_the_document():
    """The document is what ``python -m tests.report.document`` would write."""
    assert with_tables(DOCUMENT) == DOCUMENT


def test_measure_takes_title_unit_and_note_from_the_table():
    kind = MEASUREMENTS["worst_class"]
    row = measure("worst_class", 0.5, 10, low=0.2, high=0.8, detail="ship", note="Few samples.")
    assert (row.title, row.unit, row.criterion) == ("worst class: ship", kind.unit, "follows_condition")
    assert row.note == f"{kind.note} Few samples."
    assert measure("copying_worst_cell", -1.0, 10, detail="8").title == "C_T, worst of 8 cells"
    assert measure("reconstruction_mse", 0.1, 10).lower_is_better


def test_measurement_of_an_unknown_name_has_no_criterion():
    assert Measurement("bits_per_byte", "bits per byte", 1.0, 9, "score", "").criterion is None


def test_document_is_of_this_format():
    assert DOCUMENT.startswith(f"# report.json, format {FORMAT}\n")
    assert f"**{FORMAT}**:" in DOCUMENT


def test_document_example_is_what_to_json_writes():
    (example,) = re.findall(r"```json\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    content = json.loads(example)
    assert json.dumps(to_json(from_json(content)), indent=2) + "\n" == example


def test_from_json_inverts_to_json():
    content = json.loads(json.dumps(to_json(REPORT), allow_nan=False))
    back = from_json(content)
    assert to_json(back) == content
    assert back.find("valid_samples") == REPORT.find("valid_samples")
    assert back.criterion("diverse").targets[0] == REPORT.criterion("diverse").targets[0]
    assert back.figures[-2].groups[0].shape == (3, 0, 0, 1)  # the pixels are in the page


def test_to_json_takes_numbers_of_any_kind():
    odd = Measurement("density", "density", np.float64(math.nan), np.int64(3), "score", "", high=math.inf)
    content = json.loads(json.dumps(to_json(Report("digits", "", 3, [odd])), allow_nan=False))
    (row,) = content["measurements"]
    assert (row["value"], row["n"], row["high"]) == (None, 3, None)
    assert math.isnan(from_json(content).measurements[0].value)


def test_from_json_ignores_keys_of_a_later_version():
    content = to_json(REPORT)
    content["measurements"][0]["new"] = content["new"] = content["figures"][0]["new"] = 1
    assert to_json(from_json(content)) == to_json(REPORT)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"format": 1}, "got format 1: evaluate the run again"),
        ({"format": FORMAT}, "in which the report has no data"),
        ({}, "got no report"),
        ([], "got no report"),
    ],
)
def test_from_json_refuses_other_formats(content, reason):
    with pytest.raises(UsageError, match=reason):
        from_json(content)


def replaced(content, path, value):
    """A copy of JSON content with the value at one place replaced."""
    content = json.loads(json.dumps(content))
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return content


def places(value, path=()):
    """The path of every value in JSON content, but those inside of long lists."""
    yield from [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def test_from_json_takes_values_of_the_right_type_alone():
    whole = json.loads(json.dumps(to_json(REPORT)))
    assert to_json(from_json(whole)) == whole
    errors = []
    for path in places(whole):
        for value in ({"x": [1]}, [["x"]], "\x1b[2J", -(10**200), None):
            content = replaced(whole, path, value)
            try:
                to_json(from_json(content))  # of the right type, or of a key that has no meaning here
            except UsageError as error:
                errors.append(str(error))
    assert len(errors) > 500
    assert all("\n" not in error and len(error) < 400 for error in errors)


@pytest.mark.parametrize(("name", "value"), [("value", 1.5), ("low", -0.1), ("high", 1e300), ("n", -1)])
def test_from_json_refuses_shares_out_of_range(name, value):
    share = Measurement("class_agreement", "", 0.5, 10, "share", "", 0.4, 0.6)
    content = replaced(to_json(Report("digits", "judge", 10, [share])), ("measurements", 0, name), value)
    with pytest.raises(UsageError, match="class_agreement is out of range"):
        from_json(content)
