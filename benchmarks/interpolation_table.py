"""The tables and the plots of benchmarks/interpolation.py: from judged samples to figures with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.metrics.ranking import roc_auc, roc_curve

Judged = Mapping[tuple[str, int | None, str], Mapping[str, np.ndarray]]
"""``(setting, training seed or None for the exact denoiser, sampler) -> samples and their scores``."""

KEPT = 0.96
"""Share of the valid samples that pass a filter, as in the paper's headline."""
RELEASED, RENOISE = "variance 0-9", "renoise 3"
RADII = (6, 10, 15)
"""Standard deviations from every mode beyond which a sample counts as a hallucination; the first is the headline's."""
NAMES = {"ancestral": "DDPM", "ddim": "DDIM"}


class Quality(NamedTuple):
    """Quality of a score as a detector of hallucinations.

    Attributes:
        auc: area under the ROC curve, with the ends of its interval.
        removed: share of the hallucinations above the threshold that keeps 96 % of the valid, with the ends of its own.
    """

    auc: tuple[float, float, float]
    removed: tuple[float, float, float]


def quality(scores: np.ndarray, is_far: np.ndarray) -> Quality | None:
    """The quality of a score, None where there are no hallucinations or nothing else."""
    if is_far.all() or not is_far.any():
        return None
    area, curve = roc_auc(scores, is_far), roc_curve(scores, is_far)
    # Equal scores pass or fall together: the curve has a point for each distinct score alone.
    removed = float(curve.true_positive_rate[curve.false_positive_rate <= 1.0 - KEPT].max())
    num_far = int(is_far.sum())
    ends = clopper_pearson(round(removed * num_far), num_far)
    return Quality((area.value, area.low, area.high), (removed, *ends))


def groups(judged: Judged) -> Iterator[tuple[str, str, dict[int | None, Mapping[str, np.ndarray]]]]:
    """Setting and sampler with what each source gave, the exact denoiser under None."""
    for setting, sampler in dict.fromkeys((setting, sampler) for setting, _, sampler in judged):
        yield setting, sampler, {key[1]: one for key, one in judged.items() if key[0] == setting and key[2] == sampler}


def best(kind: str, seeds: Mapping[int, Mapping[str, np.ndarray]]) -> tuple[str, int] | None:
    """The score of a kind with the largest AUC on the first seed that has hallucinations, and that seed; or None."""
    for seed, one in seeds.items():
        found = {name: quality(one[name], one[f"far {RADII[0]}"]) for name in one if name.startswith(kind)}
        areas = {name: made.auc[0] for name, made in found.items() if made is not None}
        if areas:
            return max(areas, key=lambda name: areas[name]), seed
    return None


def show(judged: Judged) -> None:
    """Print all tables in Markdown."""
    rates_table(judged)
    detectors_table(judged)
    spreads_table(judged)
    radii_table(judged)


def rates_table(judged: Judged) -> None:
    """The rates of each seed and of the exact denoiser."""
    first, _, strict = RADII
    print(
        f"| world, schedule | sampler | denoiser | n | beyond {first} sigma (95 %) | of these between two modes ",
        end="",
    )
    print(f"| beyond {strict} sigma (95 %) | modes' shares |\n|---|---|---|---:|---|---:|---|---|")
    for setting, sampler, sources in groups(judged):
        for source, one in sources.items():
            num, num_far = len(one["violation"]), int((one["violation"] != 0).sum())
            between = percent(float(np.mean(one["violation"][one["violation"] != 0] == 1))) if num_far else "-"
            name = "exact" if source is None else f"seed {source}"
            both = [rate(one[f"far {radius}"]) for radius in (first, strict)]
            shares = np.bincount(one["mode"]) / num
            modes = f"{percent(shares.min())} to {percent(shares.max())}"
            print(f"| {setting} | {NAMES[sampler]} | {name} | {num} | {both[0]} | {between} | {both[1]} | {modes} |")
    print()


def detectors_table(judged: Judged) -> None:
    """A table per detector: AUC, and the share removed when 96 % of the valid samples are kept, for each seed."""
    for kind, default, heads in (
        ("variance", RELEASED, ("variance, last 10", "variance, best window")),
        ("renoise", RENOISE, ("re-noise, t = 2", "re-noise, best level")),
    ):
        print(f"| world, schedule | sampler | seed | {' | '.join(f'{head}: AUC | removed' for head in heads)} |")
        print("|---|---|---:|---|---|---|---|")
        for setting, sampler, sources in groups(judged):
            seeds = {source: one for source, one in sources.items() if source is not None}
            chosen = best(kind, seeds) or (kind, -1)
            for seed, one in seeds.items():
                cells = [*_cells(one, default), *_cells(one, *chosen, seed)]
                print(f"| {setting} | {NAMES[sampler]} | {seed} | {' | '.join(cells)} |")
        print()


def _cells(one: Mapping[str, np.ndarray], score: str, chosen_on: int = -1, seed: int | None = None) -> list[str]:
    """AUC and share removed; of a chosen score its name, and a star on the seed that it was chosen on."""
    made = quality(one[score], one[f"far {RADII[0]}"]) if score in one else None
    if made is None:
        return ["-", "-"]
    name = "" if seed is None else f"{score.split(' ')[1]}: "
    return [name + interval(made.auc) + (" *" if seed == chosen_on else ""), interval(made.removed, "%")]


def spreads_table(judged: Judged) -> None:
    """AUC of the variance by window and of re-noise by step, least and largest over the seeds."""
    one = next(one for (_, source, _), one in judged.items() if source is not None)
    names = [name for name in one if name.startswith(("variance", "renoise "))]
    names.sort(key=lambda name: (not name.startswith("variance"), [int(n) for n in name.split(" ")[1].split("-")]))
    _by_group(judged, [(name, name, RADII[0]) for name in names])
    print()


def radii_table(judged: Judged) -> None:
    """AUC of both detectors for stricter definitions of a hallucination, least and largest over the seeds."""
    scores = (("variance, last 10", RELEASED), ("re-noise", RENOISE))
    _by_group(judged, [(f"{name}, {radius} sigma", score, radius) for name, score in scores for radius in RADII])


def _by_group(judged: Judged, rows: Sequence[tuple[str, str, int]]) -> None:
    """A row for each (title, score, radius), a column for each setting and sampler."""
    columns = list(groups(judged))
    heads = [f"{setting}, {NAMES[sampler]}" for setting, sampler, _ in columns]
    print(f"| score | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for title, score, radius in rows:
        print(f"| {title} | {' | '.join(spread(sources, score, radius) for _, _, sources in columns)} |")


def spread(sources: Mapping[int | None, Mapping[str, np.ndarray]], score: str, radius: int) -> str:
    """The AUC of a score over all training seeds: the least and the largest."""
    seeds = [one for source, one in sources.items() if source is not None]
    found = [quality(one[score], one[f"far {radius}"]) for one in seeds]
    areas = [made.auc[0] for made in found if made is not None]
    if not areas:
        return "-"
    low, high = (f"{value:.3f}" for value in (min(areas), max(areas)))
    return low if low == high else f"{low} to {high}"


def rate(is_far: np.ndarray) -> str:
    """A share with its exact interval; none found is an upper bound, never zero."""
    num, num_far = len(is_far), int(is_far.sum())
    if not num_far:
        return f"none; < {percent(clopper_pearson(0, num, 0.9)[1])}"  # one-sided: 1 - 0.05^(1 / n)
    low, high = clopper_pearson(num_far, num)
    return f"{percent(num_far / num)} ({percent(low)} to {percent(high)})"


def percent(share: float) -> str:
    """A share in per cent with three figures."""
    return f"{100 * share:.3g} %"


def interval(values: tuple[float, float, float], unit: str = "") -> str:
    """A figure and the ends of its interval."""
    if unit:
        value, low, high = (f"{100 * number:.3g}" for number in values)
        return f"{value} % ({low} to {high})"
    value, low, high = (f"{number:.3f}" for number in values)
    return f"{value} ({low} to {high})"


def plot_rates(judged: Judged) -> Figure:
    """The rate of every seed, and below it the AUC of both detectors."""
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    rates, areas = figure.subplots(2, 1, sharex=True)
    ticks: list[str] = []
    for place, (setting, sampler, sources) in enumerate(groups(judged)):
        ticks.append(f"{setting.replace('-', ', ')}\n{NAMES[sampler]}")
        seeds = {source: one for source, one in sources.items() if source is not None}
        color = "C0" if sampler == "ancestral" else "C3"
        for number, one in enumerate(seeds.values()):
            _point(rates, place + 0.12 * (number - 1), one[f"far {RADII[0]}"], color)
            between = float(np.mean(one["violation"] == 1))
            rates.plot(place + 0.12 * (number - 1), between or np.nan, "x", color=color, ms=5)
        if None in sources:
            _point(rates, place + 0.36, sources[None][f"far {RADII[0]}"], "C2")
        window, level = ((best(kind, seeds) or (kind, 0))[0] for kind in ("variance", "renoise"))
        for number, (score, mark) in enumerate([(RELEASED, "v"), (window, "^"), (RENOISE, "o"), (level, "s")]):
            found = [quality(one[score], one[f"far {RADII[0]}"]) for one in seeds.values() if score in one]
            values = [made.auc[0] for made in found if made is not None]
            spot = [place + 0.16 * (number - 1.5)] * len(values)
            areas.plot(spot, values, mark, color=f"C{4 + number}", ms=5, alpha=0.8)
    rates.set(yscale="log", ylabel="share beyond 6 sigma")
    areas.set(ylim=(-0.03, 1.03), ylabel="AUC of the detector")
    areas.axhline(0.5, color="grey", linewidth=0.8)
    areas.set_xticks(range(len(ticks)), ticks, fontsize=8)
    for axes, labels in ((rates, RATES_LEGEND), (areas, AREAS_LEGEND)):
        for label, mark, color in labels:
            axes.plot([], [], mark, color=color, label=label)
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    return figure


RATES_LEGEND = [("DDPM, each seed", "o", "C0"), ("DDIM, each seed", "o", "C3"), ("exact denoiser", "v", "C2")]
RATES_LEGEND += [("between two modes alone", "x", "black")]
AREAS_LEGEND = [("variance, last 10", "v", "C4"), ("variance, best window", "^", "C5"), ("re-noise, t = 2", "o", "C6")]
AREAS_LEGEND += [("re-noise, best level", "s", "C7")]


def _point(axes: Axes, place: float, is_far: np.ndarray, color: str) -> None:
    """A rate with its interval; a triangle that points down for an upper bound."""
    num, num_far = len(is_far), int(is_far.sum())
    if not num_far:
        axes.plot(place, clopper_pearson(0, num, 0.9)[1], "v", color=color, ms=6)
        return
    value, (low, high) = num_far / num, clopper_pearson(num_far, num)
    axes.errorbar(place, value, [[value - low], [high - value]], fmt="o", color=color, ms=4, capsize=2)


def plot_samples(judged: Judged) -> Figure | None:
    """Samples of the first seed on the grid, hallucinations in red; None where no grid was sampled."""
    shown = [(s, sampler, sources) for s, sampler, sources in groups(judged) if s.startswith("2d") and len(sources) > 1]
    if not shown:
        return None
    figure = Figure(figsize=(8, 4.2 * ((len(shown) + 1) // 2)), layout="constrained")
    panels = np.atleast_1d(figure.subplots((len(shown) + 1) // 2, 2)).ravel()
    for axes, (setting, sampler, sources) in zip(panels, shown, strict=False):
        seed = next(source for source in sources if source is not None)
        one = sources[seed]
        is_far = one[f"far {RADII[0]}"]
        axes.scatter(*one["x"][~is_far].T, s=1, color="grey", rasterized=True)
        axes.scatter(*one["x"][is_far].T, s=2, color="red", rasterized=True)
        title = f"{setting.replace('-', ', ')}, {NAMES[sampler]}, seed {seed}: {percent(float(is_far.mean()))}"
        axes.set_title(title, fontsize=9)
        axes.set(xlim=(-1.9, 1.9), ylim=(-1.9, 1.9), aspect="equal")
        axes.set_xticks([])
        axes.set_yticks([])
    return figure
