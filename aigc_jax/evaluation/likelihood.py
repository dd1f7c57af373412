"""The likelihood of examples under a model, as JSON and as lines for a terminal.

``likelihood.json`` (``format`` 1) has these keys; a number that does not exist is null, never NaN:

- ``format``: 1; ``data``, ``split``, ``seed``: the examples; ``settings``: of the computation, ``{setting: value}``.
- ``rows``: ``{name: {"title", "unit", "value", "low", "high", "n"}}`` with ``nll`` and, where the model has them,
  ``bits_per_dim`` and ``elbo``: means over ``n`` examples; ``low`` and ``high`` are the ends of a 95 % interval of
  the mean over examples, the model being given. A model over tokens has ``perplexity`` too: ``exp`` of its mean nats
  per token, from above where ``nll`` is a bound; its interval counts examples, of which the tokens of one depend on
  each other. A model of text has ``bits_per_byte``, by which models with other tokens compare.
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
from aigc_jax.metrics.likelihood import mean_likelihood, perplexity
from aigc_jax.report.figures import plain
from aigc_jax.types import NUM_BYTES, NUM_TOKENS

FORMAT = 1
"""The layout of ``likelihood.json``."""

_TITLES = {
    "nll": ("negative log-likelihood, or its bound", "nats per example"),
    "bits_per_dim": ("bits per dimension", "bits/dim"),
    "elbo": ("evidence lower bound", "nats per example"),
}


class MeanRow(NamedTuple):
    """A mean over examples and its 95 % interval; None for a single example, or where a value is not finite."""

    title: str
    unit: str
    value: float
    low: float | None
    high: float | None
    n: int


def mean_rows(rows: Mapping[str, Float[np.ndarray, " num"]]) -> dict[str, MeanRow]:
    """The mean of each entry of ``{name: one value per example}``; of tokens and bytes what one of them costs."""
    counts = (NUM_TOKENS, NUM_BYTES)
    means = {name: _mean(name, np.asarray(values, np.float64)) for name, values in rows.items() if name not in counts}
    if NUM_BYTES in rows:
        means["bits_per_byte"] = _bits_per_byte(rows["nll"], rows[NUM_BYTES])
    return {**means, "perplexity": _perplexity(rows["nll"], rows[NUM_TOKENS])} if NUM_TOKENS in rows else means


def likelihood_lines(means: Mapping[str, MeanRow]) -> list[str]:
    """The lines that the command line prints, one per row."""
    lines = []
    for name, row in means.items():
        digits = 4 if row.unit in ("bits/dim", "per token", "bits/byte") else 2
        interval = ""
        if row.low is not None and row.high is not None:
            interval = f"95 % interval {row.low:.{digits}f} to {row.high:.{digits}f}, "
        lines.append(f"{name:13} {row.value:.{digits}f} {row.unit}  ({interval}n = {row.n})")
    return lines


def write_likelihood(
    run_dir: str | Path, means: Mapping[str, MeanRow], *, data: str, split: str, seed: int, settings: Mapping[str, Any]
) -> Path:
    """Write ``report/likelihood.json`` in the run directory, whole or not at all; returns its path."""
    rows = {name: plain(row) for name, row in means.items()}
    content = {"format": FORMAT, "data": data, "split": split, "seed": seed, "settings": dict(settings), "rows": rows}
    file = Path(run_dir) / "report" / "likelihood.json"
    write_text(file, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return file


def _mean(name: str, values: np.ndarray) -> MeanRow:
    title, unit = _TITLES.get(name, (name.replace("_", " "), "per example"))
    if len(values) < 2 or not np.isfinite(values).all():
        return MeanRow(title, unit, float(values.mean()), None, None, len(values))
    # As so many bits of one dimension: the mean and its ends are then in the unit of the values.
    metric = mean_likelihood(1)
    found = metric.compute(metric.update(metric.init(), math.log(2) * values))
    return MeanRow(title, unit, found["bits_per_dim"], found["low"], found["high"], found["n"])


def _perplexity(nll: np.ndarray, num_tokens: np.ndarray) -> MeanRow:
    metric = perplexity()
    found = metric.compute(metric.update(metric.init(), nll, np.asarray(num_tokens, np.int64)))
    low, high = (end if math.isfinite(end) else None for end in (found["low"], found["high"]))
    return MeanRow("perplexity, or its bound", "per token", found["perplexity"], low, high, found["n"])


def _bits_per_byte(nll: np.ndarray, num_bytes: np.ndarray) -> MeanRow:
    found = _perplexity(nll, num_bytes)
    value, low, high = (None if end is None else math.log2(end) for end in (found.value, found.low, found.high))
    return MeanRow("bits per byte", "bits/byte", math.nan if value is None else value, low, high, found.n)
