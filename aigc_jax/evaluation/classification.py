"""Classes of texts by a trained classifier: which predictions are certified, and shares by group over time."""

from __future__ import annotations

import csv
import datetime
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import softmax

from aigc_jax.data.files import visible, whole_file
from aigc_jax.data.labelled import text_of, tokens_of
from aigc_jax.data.tokenizer import read_tokenizer
from aigc_jax.inference.sampling import make_encode_fn
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.train.config import LabelledTextConfig, TrainConfig
from aigc_jax.types import Experiment, UsageError, Variables

Period = Literal["day", "month", "year"]
_LENGTH = {"day": 10, "month": 7, "year": 4}

MAX_PANELS = 12
"""Groups in a plot at most."""


class Classified(NamedTuple):
    """Predictions of texts."""

    predicted: Int[np.ndarray, " num"]
    probability: Float[np.ndarray, " num"]
    """Of the predicted class."""
    is_cut: Bool[np.ndarray, " num"]
    """Whether the text is longer than the classifier sees."""


class Share(NamedTuple):
    """The share of a class among the predictions of one group in one period, with its 95 % interval."""

    group: str
    period: str
    num: int
    num_accepted: int
    """Texts whose prediction is certified; the share is of these."""
    share: float
    low: float
    high: float

    def is_alert(self, level: float) -> bool:
        """Whether the interval lies above a level."""
        return self.num_accepted > 0 and self.low > level


def classify(
    experiment: Experiment, config: TrainConfig, variables: Variables, rows: Sequence[Mapping[str, Any]]
) -> Classified:
    """The class of each text of rows as :func:`aigc_jax.data.labelled.read_rows` gives them.

    Raises:
        UsageError: the run is none of a classifier of texts, or a text has characters that its tokenizer lacks.
    """
    if not isinstance(config, LabelledTextConfig) or experiment.algorithm.sample is not None:
        raise UsageError("this run is no classifier of texts: name a run of text_classifier")
    tokens, is_cut = tokens_of([text_of(row) for row in rows], read_tokenizer(config.vocabulary), config.length)
    logits = make_encode_fn(experiment, variables)(tokens)["logits"].astype(np.float64)
    return Classified(logits.argmax(axis=1), softmax(logits, axis=1).max(axis=1), is_cut)


def known_labels(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Int[np.ndarray, " num"]:
    """The class of each row by its label, -1 without one; UsageError for a label of no class."""
    numbers = {name: number for number, name in enumerate(names)}
    found = np.full(len(rows), -1)
    for at, row in enumerate(rows):
        if row.get("label") is not None:
            label = str(row["label"])
            if label not in numbers:
                raise UsageError(
                    f"the label {visible(label)[:40]!r} of text {at + 1} is none of {', '.join(map(visible, names))}: "
                    "name texts of the classes that the run was trained on"
                )
            found[at] = numbers[label]
    return found


def shares(
    rows: Sequence[Mapping[str, Any]],
    is_class: Bool[np.ndarray, " num"],
    is_accepted: Bool[np.ndarray, " num"],
    *,
    by: str | None,
    over: str | None,
    period: Period = "month",
) -> list[Share]:
    """The share of a class among the accepted predictions of each group in each period, in order.

    Args:
        rows: the texts.
        is_class: which of them are of the class.
        is_accepted: whose predictions count.
        by: the entry that names a group; None for one group.
        over: the entry of dates, YYYY-MM-DD; None for one period.
        period: the part of a date that counts.
    """
    cells: dict[tuple[str, str], list[int]] = {}
    for at, row in enumerate(rows):
        cell = (_entry(row, by, at), _date(row, over, at)[: _LENGTH[period]])
        cells.setdefault(cell, []).append(at)
    found = []
    for (group, date), places in sorted(cells.items()):
        kept = np.array(places)[is_accepted[places]]
        count = int(is_class[kept].sum())
        low, high = clopper_pearson(count, len(kept)) if len(kept) else (0.0, 1.0)
        share = count / len(kept) if len(kept) else float("nan")
        found.append(Share(group, date, len(places), len(kept), share, low, high))
    return found


def write_table(path: Path, found: Sequence[Share], alert: float) -> None:
    """The shares as a table of comma-separated values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*Share._fields, "alert"])
    for row in found:
        numbers = [f"{value:.4f}" for value in (row.share, row.low, row.high)]
        writer.writerow([row.group, row.period, row.num, row.num_accepted, *numbers, int(row.is_alert(alert))])
    with whole_file(path) as file:
        file.write(text.getvalue().encode(errors="replace"))


def write_plot(path: Path, found: Sequence[Share], *, title: str, alert: float) -> None:
    """A panel for each group, the largest ones: shares with intervals over time, the alert line, alerts in red."""
    # matplotlib is slow to import, and of no use to most commands.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sizes = Counter[str]()
    for row in found:
        sizes[row.group] += row.num
    groups = sorted(group for group, _ in sizes.most_common(MAX_PANELS))
    periods = sorted({row.period for row in found})
    figure = Figure(figsize=(max(4.0, 2.8 * len(groups)), 3.2), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for panel, group in zip(panels, groups, strict=True):
        own = [row for row in found if row.group == group and row.num_accepted]
        for is_alert, colour in ((False, "tab:blue"), (True, "tab:red")):
            chosen = [row for row in own if row.is_alert(alert) == is_alert]
            x, y = [periods.index(row.period) for row in chosen], np.array([row.share for row in chosen])
            ends = np.array([(row.low, row.high) for row in chosen]).reshape(-1, 2)
            panel.errorbar(x, y, np.maximum([y - ends[:, 0], ends[:, 1] - y], 0), fmt="o", color=colour, capsize=2)
        panel.axhline(alert, color="tab:red", linewidth=0.8, linestyle="--")
        panel.set_title(group or "all texts", fontsize=10)
        panel.set_ylim(-0.02, 1.02)
        step = max(1, len(periods) // 4)
        panel.set_xticks(range(0, len(periods), step), periods[::step], fontsize=8)
    panels[0].set_ylabel(title)
    FigureCanvasAgg(figure)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _entry(row: Mapping[str, Any], name: str | None, at: int) -> str:
    if name is None:
        return ""
    if not isinstance(row.get(name), str | int):
        raise UsageError(f"text {at + 1} has no entry {visible(name)}: add it to each line, or leave the option out")
    return visible(str(row[name]))


def _date(row: Mapping[str, Any], name: str | None, at: int) -> str:
    text = _entry(row, name, at)
    if name is None:
        return text
    try:
        return datetime.date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise UsageError(
            f"expected {visible(name)} of text {at + 1} as YYYY-MM-DD, got {text[:20]!r}: rewrite it"
        ) from None
