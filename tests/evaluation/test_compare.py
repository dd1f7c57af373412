"""Comparison of reports: differences are paired, runs that cannot be paired are refused."""

import numpy as np
import pytest

from aigc_jax.evaluation.compare import ComparedRun, compare, first_samples
from aigc_jax.report.files import write_tables
from aigc_jax.report.html.page import tables_to_html
from aigc_jax.report.measurements import Measurement, measure
from aigc_jax.report.schema import Report
from aigc_jax.report.text import table_lines
from aigc_jax.types import UsageError

N = 400
RNG = np.random.default_rng(1)
CONDITION = np.arange(N) % 4
FEATURES = RNG.normal(size=(N, 6)).astype(np.float32)


def contender(name, num_wrong, *, features=FEATURES, seed="0", num_samples=N, **facts):
    violates = np.arange(N) < num_wrong
    figure = Measurement("class_agreement", "class agreement", 1 - num_wrong / N, N, "share", "", 0.5, 0.9)
    report = Report("digits", "a classifier", num_samples, [figure], facts={"seed": seed, **facts})
    seen = np.where(violates, (CONDITION + 1) % 4, CONDITION)
    return ComparedRun(
        name, report, {"features": features, "violates": violates, "condition": CONDITION, "observed": seen}
    )


def test_compare_pairs_samples():
    _, differences = compare([contender("a", 40), contender("b", 20)])
    found = {each.title: each for each in differences}
    violations = found["violations"]
    assert violations.value == pytest.approx(-0.05)
    # All that b gets wrong a gets wrong too: the spread is that of 20 single differences, sqrt(.05 .95 / n).
    half = 1.96 * np.sqrt(0.05 * 0.95 / N)
    assert (violations.high - violations.low) / 2 == pytest.approx(half, rel=0.15)
    assert found["class agreement"].value == pytest.approx(0.05)


def test_compare_of_equal_runs_finds_no_difference():
    tables, differences = compare([contender("a", 40), contender("b", 40)])
    assert all(each.value == 0.0 and -0.04 < each.low < 0 < each.high < 0.04 for each in differences)
    by_name = {table.name: table for table in tables}
    assert [row[4] for row in by_name["differences"].rows] == ["no", "no"]
    assert by_name["model_consistency"].rows[0][1] in ("100.0 %", "at least 99.2 %")
    assert by_name["measurements"].rows[0][:2] == ["class agreement", "90.0 % (50.0 to 90.0)"]


def test_compare_prints_units():
    rows = [
        Measurement("reconstruction_psnr", "PSNR", 20.0, N, "decibel", "", 19.5, 20.5),
        Measurement("perturbation", "moved", 0.5, N, "score", "", 0.4, 0.6),
    ]
    both = [
        each._replace(report=each.report._replace(measurements=rows)) for each in (contender("a", 1), contender("b", 1))
    ]
    table = next(table for table in compare(both)[0] if table.name == "measurements")
    assert [row[1] for row in table.rows] == ["0.5 (0.4 to 0.6)", "20 dB (19.5 to 20.5)"]


def test_compare_names_measurements_whole_and_shows_references():
    """Names of data sets hold colons; the worst class differs between runs."""
    runs = [contender("a", 1), contender("b", 2)]
    for i, run in enumerate(runs):
        rows = [
            measure("kernel_distance", 1.0 + i, N, reference=0.5, detail="folder:pics classifier"),
            measure("worst_class", 0.5, 40, low=0.4, high=0.6, detail=f"ship:{i}"),
            Measurement("bits_per_byte", "bits: per byte", 2.0, N, "score", ""),
        ]
        runs[i] = run._replace(report=run.report._replace(measurements=rows))
    table = next(table for table in compare(runs)[0] if table.name == "measurements")
    assert table.columns == ["", "a", "b", "real data"]
    assert table.rows == [
        ["worst class", "ship:0: 50.0 % (40.0 to 60.0)", "ship:1: 50.0 % (40.0 to 60.0)", ""],
        ["KID[folder:pics classifier] \N{DOWNWARDS ARROW}", "1", "2", "0.5"],
        ["bits: per byte", "2", "2", ""],
    ]


def test_compare_of_independent_models_agrees_by_chance(rng):
    other = rng.normal(size=FEATURES.shape).astype(np.float32)
    tables, _ = compare([contender("a", 40), contender("b", 40, features=other)])
    _, alike, _, chance, _ = next(table for table in tables if table.name == "model_consistency").rows[0]
    assert abs(float(alike.split()[0]) - float(chance.split()[0])) < 6


def test_compare_of_a_world_agrees_by_the_mode(rng):
    modes = np.arange(N) % 4
    runs = []
    for name, seen in (("a", modes), ("b", np.where(np.arange(N) < 40, -1, modes))):
        report = Report("world:ring8", "world:ring8", N, [Measurement("valid_samples", "", 1.0, N, "share", "")])
        table = {"features": rng.normal(size=(N, 2)), "violates": seen < 0, "observed": seen, "shown": seen}
        runs.append(ComparedRun(name, report._replace(facts={"seed": "0"}), table))
    tables, _ = compare(runs)
    _, alike, _, chance, excess = next(table for table in tables if table.name == "model_consistency").rows[0]
    assert (alike, chance) == ("90.0 %", "22.3 %")  # (4 x 100 x 90 - 360) / (400 x 399)
    assert excess.startswith("67.7%")


def test_compare_of_points_agrees_by_nearness(rng):
    # On a line, where a cosine is a sign: two independent models agree on half of all signs, but hardly ever nearby.
    sides = [rng.normal(size=(N, 1)).astype(np.float32) for _ in range(2)]
    runs = []
    for name, points in zip("ab", sides, strict=True):
        one = contender(name, 0, features=points)
        runs.append(one._replace(per_sample={**one.per_sample, "radius": np.full(N, 0.2)}))
    tables, _ = compare(runs)
    _, alike, *_ = next(table for table in tables if table.name == "model_consistency").rows[0]
    assert float(alike.split()[0]) < 20


@pytest.mark.parametrize(
    ("others", "words"),
    [([], "two runs"), ([contender("b", 1, seed="3")], "--seed"), ([contender("b", 1, num_samples=9)], "num_samples")],
)
def test_compare_refuses_runs_that_cannot_be_paired(others, words):
    with pytest.raises(UsageError, match=words) as info:
        compare([contender("a", 40), *others])
    assert "\n" not in str(info.value)


def test_compare_refuses_different_data_of_one_name():
    first, second, other = (
        contender(name, 1, **{"data checksum": mark}) for name, mark in zip("abc", "112", strict=True)
    )
    compare([first, second, contender("older report", 1)])
    with pytest.raises(UsageError, match="different data"):
        compare([first, other])


def test_first_samples_are_side_by_side(rng):
    pictures = rng.integers(0, 256, (3, 4, 4, 1), np.uint8)
    runs = [contender(name, 9) for name in "ab"]
    assert first_samples(runs) == []
    runs = [run._replace(per_sample={**run.per_sample, "first_samples": pictures}) for run in runs]
    compare(runs)
    (gallery,) = first_samples(runs)
    assert gallery.titles == ["a", "b"]
    assert [len(each) for each in gallery.groups] == [len(each) for each in gallery.labels] == [3, 3]
    assert tables_to_html([gallery], title="a and b").count("<img") == 6
    broken = [runs[0], runs[1]._replace(per_sample={**runs[1].per_sample, "first_samples": pictures[0]})]
    with pytest.raises(UsageError, match="first_samples is uint8"):
        compare(broken)


def test_compare_tables_are_aligned_and_escaped(tmp_path):
    tables, _ = compare([contender("a<b>", 40), contender("b", 20)])
    lines = table_lines(tables[2])
    assert len({line.index("-5.00") for line in lines if "-5.00" in line}) == 1
    write_tables(tmp_path / "page.html", tables, title="a<b> and b")
    page = (tmp_path / "page.html").read_text()
    assert "a&lt;b&gt;" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    "change",
    [
        {"violates": None},
        {"violates": np.zeros(N - 1, bool)},
        {"violates": np.zeros((N, 2), bool)},
        {"violates": np.bool_(True)},
        {"violates": np.array(["x"] * N)},
        {"features": np.zeros(N)},
        {"observed": np.zeros((N, 3), int)},
        {"condition": np.zeros(3, int)},
        {"score/x": np.zeros(3)},
    ],
)
def test_compare_refuses_a_table_that_does_not_fit_its_report(change):
    broken = contender("b", 20)
    table = {name: values for name, values in {**broken.per_sample, **change}.items() if values is not None}
    for runs in ((contender("a", 40), broken._replace(per_sample=table)),):
        with pytest.raises(UsageError, match="the table of samples of b is broken"):
            compare(runs)
