"""How likely a model finds examples, as JSON and as lines for a terminal.

``likelihood.json`` (``format`` 1) has these keys; a number that does not exist is null, never NaN:

- ``format``: 1; ``data``, ``split``, ``seed``: what was measured on; ``settings``: how, ``{setting: value}``.
- ``rows``: ``{name: {"title", "unit", "value", "low", "high", "n"}}`` with ``nll`` and, where the model has them,
  ``bits_per_dim`` and ``elbo``: means over ``n`` examples; ``low`` and ``high`` are the ends of a 95 % interval of
  the mean over examples, the model being given.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from aigc_jax.data.files import write_text

FORMAT = 1
"""The layout of ``likelihood.json``."""

_TITLES = {
    "nll": ("negative log-likelihood, or its bound", "nats per example"),
    "bits_per_dim": ("bits per dimension", "bits/dim"),
    "elbo": ("evidence lower bound", "nats per example"),
}
_NORMAL_95 = 1.959964
"""The 97.5 % quantile of the standard normal distribution."""


class MeanRow(NamedTuple):
    """A mean over examples and its 95 % interval.

    Attributes:
        title: what people read.
        unit: nats per example, or bits/dim.
        value: the mean.
        low: lower end of the normal interval; None for a single example, or where a value is not finite.
        high: upper end.
        n: number of examples.
    """

    title: str
    unit: str
    value: float
    low: float | None
    high: float | None
    n: int


def mean_rows(rows: Mapping[str, Float[np.ndarray, " num"]]) -> dict[str, MeanRow]:
    """Means with their intervals.

    Args:
        rows: ``{name: one value per example}``.

    Returns:
        A mean for each, under the same name.

    >>> mean_rows({"nll": np.array([1.0, 3.0])})["nll"].value
    2.0
    """
    return {name: _mean(name, np.asarray(values, np.float64)) for name, values in rows.items()}


def likelihood_lines(means: Mapping[str, MeanRow]) -> list[str]:
    """What the command line prints.

    Args:
        means: as from :func:`mean_rows`.

    Returns:
        One line per row.

    >>> print(*likelihood_lines(mean_rows({"nll": np.array([90.0, 92.0, 91.0])})))
    nll           91.00 nats per example  (95 % interval 89.87 to 92.13, n = 3)
    """
    return [f"{name:13} {_text(row)}" for name, row in means.items()]


def write_likelihood(
    run_dir: str | Path, means: Mapping[str, MeanRow], *, data: str, split: str, seed: int, settings: Mapping[str, Any]
) -> Path:
    """Write ``report/likelihood.json``, whole or not at all.

    Args:
        run_dir: the run directory; ``report/`` is made where missing.
        means: what was measured.
        data: the name of the data.
        split: held_out or train.
        seed: of the draws.
        settings: how the likelihood was computed; JSON values.

    Returns:
        The path of the file.

    Raises:
        UsageError: it cannot be written there.
    """
    rows = {name: {k: _number(v) for k, v in row._asdict().items()} for name, row in means.items()}
    content = {"format": FORMAT, "data": data, "split": split, "seed": seed, "settings": dict(settings), "rows": rows}
    file = Path(run_dir) / "report" / "likelihood.json"
    write_text(file, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return file


def _mean(name: str, values: np.ndarray) -> MeanRow:
    title, unit = _TITLES.get(name, (name.replace("_", " "), "per example"))
    if len(values) < 2 or not np.isfinite(values).all():
        return MeanRow(title, unit, float(values.mean()), None, None, len(values))
    half = _NORMAL_95 * values.std(ddof=1) / math.sqrt(len(values))
    return MeanRow(
        title, unit, float(values.mean()), float(values.mean() - half), float(values.mean() + half), len(values)
    )


def _text(row: MeanRow) -> str:
    digits = 4 if row.unit == "bits/dim" else 2
    interval = ""
    if row.low is not None and row.high is not None:
        interval = f"95 % interval {row.low:.{digits}f} to {row.high:.{digits}f}, "
    return f"{row.value:.{digits}f} {row.unit}  ({interval}n = {row.n})"


def _number(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
