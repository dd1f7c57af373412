"""Drawings: where the data say, in the page's own colours, the same bytes each time, and small."""

import re

import numpy as np
import pytest

from aigc_jax.report.figures import Histogram, Lines, Series
from aigc_jax.report.html.plots import NUM_COLOURS, draw

X = [10.0, 100.0, 1000.0]


def lines(series, name="figure", **more):
    return Lines(name, "Title", "", "x", "y", series, **more)


def curves(svg, colour="c"):
    """The points of each curve, or of each straight line in the colour of text, as they stand in the picture."""
    style = rf"[^\"]*stroke: var\(--{colour}\w*\); stroke-width: 1\.{'7' if colour == 'c' else '1'}[^\"]*"
    found = re.findall(rf'<path d="(M[^"]*)" clip-path="[^"]*" style="{style}"', svg)
    return [np.array(re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path), float) for path in found]


def test_points_stand_where_they_should():
    """Equal steps of a linear axis are equal steps of the picture; of a logarithmic one, equal factors."""
    linear, logarithmic = (
        curves(draw(lines([Series("a", X, [0.0, 1.0, 3.0])], is_log_x=is_log)).svg)[0] for is_log in (False, True)
    )
    for points, ratio in ((linear, 10.0), (logarithmic, 1.0)):
        steps = np.diff(points, axis=0)
        assert steps[1, 0] / steps[0, 0] == pytest.approx(ratio, rel=0.01)
        assert steps[1, 1] / steps[0, 1] == pytest.approx(2.0, rel=0.01)
        assert (steps[:, 1] < 0).all()  # up is less in SVG


def test_a_gap_is_a_gap():
    (points,) = curves(draw(lines([Series("a", [0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 2.0, None, 2.0, 1.0])])).svg)
    (whole,) = curves(draw(lines([Series("a", [0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 2.0, 1.0])])).svg)
    assert (len(points), len(whole)) == (4, 5)


def test_a_curve_of_many_points_keeps_its_shape_and_stays_small():
    x = np.linspace(0, 1, 50_000)
    steps = np.floor(200 * x**0.1) / 200
    figure = lines([Series(name, x, steps) for name in "abc"], diagonal="chance", is_share=True)
    svg = draw(figure).svg
    assert len(svg) < 60_000
    (points, *_) = curves(svg)
    inside = (points - points[0]) / (points[-1] - points[0])
    expected = np.interp(inside[:, 0], x, steps)
    assert np.abs(inside[:, 1] - expected).max() < 0.02


def test_no_picture_is_large_whatever_is_in_it():
    x = np.linspace(0, 1, 5000)
    noise = np.random.default_rng(0).normal(size=(10, 5000))
    svg = draw(lines([Series(str(i), x, y, y - 1, y + 1) for i, y in enumerate(noise)])).svg
    assert len(svg) < 60_000
    first, last = curves(svg)[0][[0, -1], 0]
    assert last - first > 250  # from end to end


def test_an_interval_is_drawn_only_where_there_is_one():
    y, low, high = [0.2, 0.3, 0.4], [0.1, 0.2, 0.3], [0.3, 0.4, 0.5]
    bare, barred = draw(lines([Series("a", X, y)])).svg, draw(lines([Series("a", X, y, low, high)])).svg
    assert barred.count("<path") == bare.count("<path") + 3
    many = np.linspace(0, 1, 30)
    banded = draw(lines([Series("a", many, many, many - 0.1, many + 0.1)])).svg
    assert "fill-opacity: 0.22" in banded
    assert "fill-opacity" not in draw(lines([Series("a", many, many)])).svg


def test_floors_stand_at_their_value_and_are_named():
    series = [Series("a", [0.0, 1.0], [0.0, 1.0])]
    drawing = draw(lines(series, floors={"real": 0.5, "chance": 0.25}, is_share=True))
    assert [key.name for key in drawing.keys] == ["a", "real: 50.0 %", "chance: 25.0 %"]
    (curve,), (real, chance) = curves(drawing.svg), curves(drawing.svg, "text")
    bottom, top = curve[0, 1], curve[1, 1]
    assert real[:, 1] == pytest.approx([(bottom + top) / 2] * 2, abs=0.05)
    assert chance[:, 1] == pytest.approx([0.75 * bottom + 0.25 * top] * 2, abs=0.05)


def test_colours_are_the_pages_and_curves_differ_without_them():
    drawing = draw(lines([Series(str(i), X, [float(i), 1.0, 2.0]) for i in range(NUM_COLOURS + 1)]))
    used = set(re.findall(r"var\(--(\w+)\)", drawing.svg))
    assert used == {"text", "soft", "line"} | {f"c{i}" for i in range(NUM_COLOURS)}
    assert not re.findall(r"#[0-9a-f]{6}", re.sub(r'(href="|url\()#[^")]*', "", drawing.svg)), "a fixed colour"
    signs = [re.sub(r"--c\d", "", key.sign) for key in drawing.keys[:NUM_COLOURS]]
    assert len(set(signs)) == NUM_COLOURS


@pytest.mark.parametrize("num_points", [3, 60])
def test_no_two_curves_look_alike(num_points):
    """More curves than colours, as of eight detectors; long ones have no markers."""
    x = np.linspace(1, 2, num_points)
    drawing = draw(lines([Series(str(i), x, x + i) for i in range(3 * NUM_COLOURS)]))
    assert len({key.sign for key in drawing.keys}) == 3 * NUM_COLOURS
    looks = re.findall(r'style="fill: none; ([^"]*stroke: var\(--c\d\); stroke-width: 1.7)', drawing.svg)
    assert len(set(looks)) == len(looks) == 3 * NUM_COLOURS


def test_it_brings_nothing_of_its_own_to_the_page():
    svg = draw(lines([Series("a", X, [0.1, 0.2, 0.3])])).svg
    for word in ("<style", "<metadata", "<?xml", "font-family", "xlink", "http", "DejaVu"):
        assert word not in svg
    assert svg.startswith('<svg class="plot" role="img" aria-label="Title" viewBox="0 0 316.8 ')
    assert svg.endswith("</svg>")
    assert min(map(float, re.findall(r"font-size: ([\d.]+)px", svg))) >= 11


def test_the_same_figure_gives_the_same_bytes_and_two_share_no_id():
    series = [Series("a", X, [0.1, 0.2, 0.3])]
    first, again, other = (draw(lines(series, name=name)).svg for name in ("one", "one", "two"))
    assert first == again
    ids = [set(re.findall(r' id="([^"]*)"', svg)) for svg in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', first)) == ids[0]


def test_a_histogram_stands_on_zero():
    figure = Histogram("h", "H", "", "x", [0.0, 1.0, 2.0], {"samples": [0.25, 0.75], "real": [0.5, 0.5]}, {"copy": 0.5})
    drawing = draw(figure)
    assert [key.name for key in drawing.keys] == ["samples", "real", "copy: 0.5"]
    assert "75" not in drawing.keys[0].name
    assert "0 %" in drawing.svg
    (mark,) = curves(drawing.svg, "text")
    assert mark[0, 0] == mark[1, 0]


def test_ticks_of_a_logarithmic_axis_are_the_places_themselves():
    svg = draw(lines([Series("a", [10.0, 25.0, 250.0, 1000.0], [1.0, 2.0, 3.0, 4.0])], is_log_x=True)).svg
    labels = re.findall(r">([\d.]+)</text>", svg)
    assert labels[:4] == ["10", "25", "250", "1000"]
    dense = draw(lines([Series("a", np.geomspace(1, 1000, 40), np.arange(40.0))], is_log_x=True)).svg
    assert re.findall(r">([\d.]+)</text>", dense)[:4] == ["1", "10", "100", "1000"]


@pytest.mark.parametrize("top", [1e-3, 0.0125, 0.375, 1.0])
def test_the_numbers_of_an_axis_are_those_of_its_ticks(top):
    """Read the places of the y axis off its labels, and the curve by them: it ends where its data do."""
    svg = draw(lines([Series("a", [0.0, 1.0], [0.0, top])])).svg
    pairs = re.findall(r'<text [^>]*text-anchor: end[^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
    places, numbers = (np.array(column, float) for column in zip(*pairs, strict=True))
    assert len(set(numbers)) == len(numbers) >= 3
    slope, offset = np.polyfit(places, numbers, 1)
    assert np.abs(slope * places + offset - numbers).max() < 0.005 * top
    ((start, end),) = curves(svg)
    assert slope * (end - start)[1] == pytest.approx(top, rel=0.01)
    log = draw(lines([Series("a", [0.001, 0.0125, 10.0], [1.0, 2.0, 3.0])], is_log_x=True)).svg
    assert re.findall(r">([\d.]+)</text>", log)[:3] == ["0.001", "0.0125", "10"]


@pytest.mark.parametrize("series", [[], [Series("a", [], [])], [Series("a", [1.0], [None])]])
def test_nothing_to_draw(series):
    assert draw(lines(series)).svg == ""


@pytest.mark.parametrize("is_log", [False, True])
def test_a_single_point_and_equal_values_are_drawn(is_log):
    assert draw(lines([Series("a", [50.0], [0.5])], is_log_x=is_log, is_share=True)).svg
    assert draw(lines([Series("a", [0.0, 50.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])], is_log_x=is_log)).svg
