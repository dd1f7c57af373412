"""Plots: points lie where the data say, ticks name their places, pictures stay small."""

import re

import numpy as np
import pytest

from aigc_jax.report.figures import Histogram, Lines, Series
from aigc_jax.report.html.page import to_html
from aigc_jax.report.html.plots import NUM_COLORS, plot
from aigc_jax.report.schema import Report

X = [10.0, 100.0, 1000.0]


def lines(series, name="figure", **more):
    return Lines(name, "Title", "", "x", "y", series, **more)


def points(path):
    return np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path), float)


def size(figure):
    """Letters of the figure in a page."""
    empty, page = (to_html(Report("d", "j", 9, (), figures=f), title="t") for f in ((), (figure,)))
    return len(page) - len(empty)


def test_plot_scales_axes_linearly_or_logarithmically():
    """Equal steps of a linear axis are equal steps of the picture; of a logarithmic one, equal factors."""
    for is_log, ratio in ((False, 10.0), (True, 1.0)):
        (curve,) = plot(lines([Series("a", X, [0.0, 1.0, 3.0])], is_log_x=is_log)).curves
        steps = np.diff(points(curve.line), axis=0)
        assert steps[1, 0] / steps[0, 0] == pytest.approx(ratio, rel=0.01)
        assert steps[1, 1] / steps[0, 1] == pytest.approx(2.0, rel=0.01)
        assert (steps[:, 1] < 0).all()  # up is less in SVG


def test_plot_leaves_gaps_where_values_are_missing():
    (curve,) = plot(lines([Series("a", [0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 2.0, None, 2.0, 1.0])])).curves
    assert (len(points(curve.line)), curve.line.count("M")) == (4, 2)


def test_plot_keeps_the_shape_of_long_curves():
    x = np.linspace(0, 1, 50_000)
    steps = np.floor(200 * x**0.1) / 200
    figure = lines([Series(name, x, steps) for name in "abc"], diagonal="chance", is_share=True)
    assert size(figure) < 40_000
    curve = points(plot(figure).curves[0].line)
    inside = (curve - curve[0]) / (curve[-1] - curve[0])
    low, high = (np.interp(inside[:, 0] + shift, x, steps) for shift in (-1e-3, 1e-3))  # a quarter of a pixel
    assert ((inside[:, 1] > low - 0.01) & (inside[:, 1] < high + 0.01)).all()


def test_plot_is_small_for_any_number_of_points():
    x = np.linspace(0, 1, 5000)
    noise = np.random.default_rng(0).normal(size=(10, 5000))
    figure = lines([Series(str(i), x, y, y - 1, y + 1) for i, y in enumerate(noise)])
    assert size(figure) < 60_000
    first, last = points(plot(figure).curves[0].line)[[0, -1], 0]
    assert last - first > 250  # from end to end


def test_plot_draws_intervals_as_bars_or_bands():
    y, low, high = [0.2, 0.3, 0.4], [0.1, 0.2, 0.3], [0.3, 0.4, 0.5]
    (bare,), (barred,) = (plot(lines([Series("a", X, y, *ends)])).curves for ends in ((), (low, high)))
    assert (bare.bars, bare.area, barred.area) == ("", "", "")
    ends = points(barred.bars).reshape(3, 2, 2)
    assert (ends[:, 0, 0] == ends[:, 1, 0]).all()
    middle = points(barred.line)
    np.testing.assert_allclose(ends.mean(axis=1), middle, atol=0.06)
    many = np.linspace(0, 1, 30)
    (banded,) = plot(lines([Series("a", many, many, many - 0.1, many + 0.1)])).curves
    assert len(points(banded.area)) == 60
    assert banded.bars == ""


def test_plot_draws_floors_at_their_values():
    series = [Series("a", [0.0, 1.0], [0.0, 1.0])]
    curve, real, chance = plot(lines(series, floors={"real": 0.5, "chance": 0.25}, is_share=True)).curves
    assert [each.name for each in (curve, real, chance)] == ["a", "real: 50.0 %", "chance: 25.0 %"]
    bottom, top = points(curve.line)[:, 1]
    assert points(real.line)[0, 1] == pytest.approx((bottom + top) / 2, abs=0.11)
    assert points(chance.line)[0, 1] == pytest.approx(0.75 * bottom + 0.25 * top, abs=0.11)


@pytest.mark.parametrize("num_points", [3, 60])
def test_plot_gives_every_curve_its_own_look(num_points):
    """More curves than colours, as of eight detectors; long ones have no markers."""
    x = np.linspace(1, 2, num_points)
    curves = plot(lines([Series(str(i), x, x + i) for i in range(3 * NUM_COLORS)])).curves
    assert len({(curve.color, curve.dashes) for curve in curves}) == len(curves) == 3 * NUM_COLORS
    without_color = {(curve.dashes, curve.marker) for curve in curves[:NUM_COLORS]}
    assert len(without_color) == NUM_COLORS
    assert {bool(curve.markers) for curve in curves} == {num_points == 3}


def test_plot_of_a_histogram_stands_on_zero():
    figure = Histogram("h", "H", "", "x", [0.0, 1.0, 2.0], {"samples": [0.25, 0.75], "real": [0.5, 0.5]}, {"copy": 0.5})
    picture = plot(figure)
    samples, real, copy = picture.curves
    assert [curve.name for curve in picture.curves] == ["samples", "real", "copy: 0.5"]
    (zero,) = [place for place, label in picture.y_ticks if label == "0 %"]
    stairs = points(samples.line)
    assert stairs[0, 1] == stairs[-1, 1] == pytest.approx(zero, abs=0.06)
    assert (zero - stairs[3, 1]) / (zero - stairs[1, 1]) == pytest.approx(3.0, rel=0.01)
    assert samples.area == samples.line != real.area
    assert points(copy.line)[0, 0] == pytest.approx((stairs[0, 0] + stairs[2, 0]) / 2, abs=0.11)


def test_plot_puts_logarithmic_ticks_at_the_points():
    sparse = plot(lines([Series("a", [10.0, 25.0, 250.0, 1000.0], [1.0, 2.0, 3.0, 4.0])], is_log_x=True))
    assert [label for _, label in sparse.x_ticks] == ["10", "25", "250", "1000"]
    np.testing.assert_allclose([x for x, _ in sparse.x_ticks], points(sparse.curves[0].line)[:, 0], atol=0.06)
    dense = plot(lines([Series("a", np.geomspace(1, 1000, 40), np.arange(40.0))], is_log_x=True))
    assert [label for _, label in dense.x_ticks] == ["1", "10", "100", "1000"]
    short = plot(lines([Series("a", np.geomspace(1, 20, 40), np.arange(40.0))], is_log_x=True))
    assert [label for _, label in short.x_ticks] == ["1", "2", "5", "10", "20"]


@pytest.mark.parametrize("top", [1e-3, 0.0125, 0.375, 1.0, 7.0, 123456.0])
@pytest.mark.parametrize("low", [0.0, -3.0, 1e6])
def test_plot_names_the_values_of_its_ticks(top, low):
    """Read the places of the y axis off its labels, and the curve by them: it ends where its data do."""
    picture = plot(lines([Series("a", [0.0, 1.0], [low, low + top])]))
    places, numbers = (np.array(column, float) for column in zip(*picture.y_ticks, strict=True))
    assert 3 <= len(numbers) <= 8
    if len(set(numbers)) < len(numbers):
        assert top / low < 1e-5  # more digits than a label has
        return
    slope, offset = np.polyfit(places, numbers, 1)
    assert np.abs(slope * places + offset - numbers).max() < 0.005 * top
    start, end = points(picture.curves[0].line)
    assert slope * (end - start)[1] == pytest.approx(top, rel=0.01)


@pytest.mark.parametrize("series", [[], [Series("a", [], [])], [Series("a", [1.0], [None])]])
def test_plot_is_none_for_no_points(series):
    assert plot(lines(series)) is None


@pytest.mark.parametrize("is_log", [False, True])
def test_plot_draws_single_points_and_equal_values(is_log):
    for series in (Series("a", [50.0], [0.5]), Series("a", [0.0, 50.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])):
        picture = plot(lines([series], is_log_x=is_log, is_share=True))
        assert picture.x_ticks
        assert picture.y_ticks
        assert points(picture.curves[0].line).size


def test_page_draws_plots_in_the_colors_of_its_theme():
    many = [Series(str(i), X, [float(i), 1.0, 2.0]) for i in range(NUM_COLORS + 1)]
    page = to_html(Report("d", "j", 9, (), figures=[lines(many)]), title="t")
    (svg,) = re.findall(r'<svg class="plot".*?</svg>', page, flags=re.DOTALL)
    assert set(re.findall(r"var\(--(\w+)\)", svg)) == {f"c{i}" for i in range(NUM_COLORS)}
    assert "#" not in svg
    assert all(f"--c{i}:" in page for i in range(NUM_COLORS))
