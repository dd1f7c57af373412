"""The table of measurements of ``docs/report.md``; ``python -m tests.report.document`` writes it anew."""

from pathlib import Path

from aigc_jax.report.measurements import MEASUREMENTS

FILE = Path(__file__).parent.parent.parent / "docs" / "report.md"

BEGIN, END = "<!-- generated: python -m tests.report.document -->", "<!-- end of generated -->"


def with_table(document):
    """The text of the document with the table of measurements as it is in the code."""
    rows = [
        f"| `{name}` | `{kind.criterion}` | {kind.unit} | {'yes' if kind.has_interval else 'no'} | "
        f"{'lower' if kind.lower_is_better else ''} | {kind.note} |"
        for name, kind in MEASUREMENTS.items()
    ]
    head = ["| name | criterion | unit | interval | better | definition |", "|---|---|---|---|---|---|"]
    before, _, rest = document.partition(BEGIN)
    return "\n".join([before + BEGIN, "", *head, *rows, "", END + rest.partition(END)[2]])


if __name__ == "__main__":
    FILE.write_text(with_table(FILE.read_text(encoding="utf-8")), encoding="utf-8")
