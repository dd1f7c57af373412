"""The tables of ``docs/report.md``; ``python -m tests.report.document`` writes them anew."""

import re
from pathlib import Path

from aigc_jax.report.criteria import COMPARISONS
from aigc_jax.report.measurements import MEASUREMENTS

FILE = Path(__file__).parent.parent.parent / "docs" / "report.md"


def with_tables(document):
    """The text of the document with the tables of measurements and comparisons as they are in the code."""
    measurements = [
        "| name | criterion | unit | interval | better | definition |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{name}` | `{kind.criterion}` | {kind.unit} | {'yes' if kind.has_interval else 'no'} | "
            f"{'lower' if kind.lower_is_better else ''} | {kind.note} |"
            for name, kind in MEASUREMENTS.items()
        ),
    ]
    comparisons = [
        "| name | criterion | margin | is worse where larger | definition |",
        "|---|---|---|---|---|",
        *(
            f"| `{name}` | `{kind.criterion}` | {kind.margin:g} | {kind.title} | {kind.definition} |"
            for name, kind in COMPARISONS.items()
        ),
    ]
    for title, rows in (("measurements", measurements), ("comparisons", comparisons)):
        place = rf"(<!-- {title}: [^\n]*-->\n).*?(<!-- end of {title} -->)"
        (begin, end), *others = re.findall(place, document, flags=re.DOTALL) or [("", "")]
        if not begin or others:
            raise ValueError(f"expected one place for {title} in the document")
        before, _, rest = document.partition(begin)
        document = "\n".join([before + begin, *rows, "", end + rest.partition(end)[2]])
    return document


if __name__ == "__main__":
    FILE.write_text(with_tables(FILE.read_text(encoding="utf-8")), encoding="utf-8")
