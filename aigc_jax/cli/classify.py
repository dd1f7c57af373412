"""The command ``aigc-jax classify``: classes of texts, which of them are certified, and shares by group over time."""

from __future__ import annotations

import numpy as np

from aigc_jax.cli.arguments import Classify
from aigc_jax.cli.common import condition_number, load, names_of
from aigc_jax.data.labelled import read_rows
from aigc_jax.evaluation.classification import classify, known_labels, shares, write_plot, write_table
from aigc_jax.guards.calibration import calibrate
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.report.formatting import format_share
from aigc_jax.types import UsageError


def classify_texts(arguments: Classify) -> int:
    """Classify texts, print shares and alerts, and write a table and a plot; exit 1 where there is an alert."""
    if not 0 <= arguments.alert < 1:
        raise UsageError(f"expected --alert as a share in [0, 1), got {arguments.alert:g}: 0.6 is 60 %")
    experiment, config, variables = load(arguments)
    rows, remarks = read_rows(arguments.text)
    found, names = classify(experiment, config, variables, rows), names_of(experiment)
    target = condition_number(experiment, arguments.of, "--of") or 0
    if found.is_cut.any():
        remarks = [*remarks, f"{int(found.is_cut.sum())} texts are cut to the {experiment.example_shape[0] - 1} tokens"]
    print("; ".join([f"{arguments.text}: {len(rows)} texts", *remarks]))
    truth = known_labels(rows, names)
    is_known, is_accepted = truth >= 0, np.ones(len(rows), bool)
    if is_known.any():
        num_right = int((found.predicted == truth)[is_known].sum())
        low, high = (format_share(end) for end in clopper_pearson(num_right, int(is_known.sum())))
        share = format_share(num_right / int(is_known.sum()))
        print(f"accuracy on the {int(is_known.sum())} labelled texts: {share} ({low} to {high})")
    if arguments.alpha is not None:
        if not is_known.any():
            raise UsageError(
                f"--alpha is certified by labelled texts, and {arguments.text} has none: add an entry label to some"
            )
        uncertainty = 1.0 - found.probability
        threshold = calibrate(uncertainty[is_known], (found.predicted != truth)[is_known], arguments.alpha)
        is_accepted = threshold.accepts(uncertainty)
        print(threshold.guarantee)
    table = shares(
        rows, found.predicted == target, is_accepted, by=arguments.by, over=arguments.over, period=arguments.period
    )
    alerts = [row for row in table if row.is_alert(arguments.alert)]
    for row in alerts:
        where = " ".join(part for part in (row.group, row.period) if part) or "all texts"
        ends = f"{format_share(row.low)} to {format_share(row.high)}"
        print(
            f"alert: {where}: {format_share(row.share)} {names[target]} ({ends}; {row.num_accepted} of {row.num} texts)"
        )
    out = arguments.out or arguments.run / "classified"
    write_table(out / "shares.csv", table, arguments.alert)
    write_plot(out / "shares.png", table, title=f"share of {names[target]}", alert=arguments.alert)
    print(f"{len(table)} shares, {len(alerts)} above {format_share(arguments.alert)}    {out}/shares.csv, shares.png")
    return 1 if alerts else 0
