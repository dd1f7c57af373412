"""The page: sound HTML that needs no other file, every text escaped, every criterion and figure on it."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from aigc_jax.data.images import to_png
from aigc_jax.report.figures import Bar, Bars, Gallery, Lines, Matrix, Series, Table, Texts, plain
from aigc_jax.report.html.page import SIDE, tables_to_html, to_html
from aigc_jax.report.measurements import CRITERION_TITLES, Measurement
from aigc_jax.report.schema import Check, Criterion, Report, Target
from tests.report.example import PICTURES, REPORT, panel

EVIL = "<script>alert('1')</script>\"&<img src=x onerror=y>"


VOID = {"img", "br", "meta"}


class Reader(HTMLParser):
    """Checks that what is opened is closed; keeps words, ids, links and the names of elements."""

    def __init__(self, page):
        super().__init__()
        self.open, self.words, self.elements, self.ids, self.links, self.sources = [], [], [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))  # of no-break spaces too

    def handle_starttag(self, name, attributes):
        values = dict(attributes)
        assert len(values) == len(attributes), f"an attribute twice in {name}"
        self.elements.append((name, values))
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if name == "a" else []
        self.sources += [values[key] for key in ("src", "srcset") if key in values]
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.handle_starttag(name, attributes)
        self.open.pop()

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def page():
    return to_html(REPORT, title="runs/a", grid=to_png(np.zeros((9, 9, 3), np.uint8)))


@pytest.fixture(scope="module")
def reader(page):
    return Reader(page)


def poisoned(value):
    """The same values with evil in place of every text that the program does not go by."""
    if isinstance(value, str):
        return EVIL + value
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        keys = {"name", "headline", "state", "unit"}
        kept = keys if isinstance(value, Check | Criterion | Measurement | Target) else set()
        return type(value)(*(v if k in kept else poisoned(v) for k, v in value._asdict().items()))
    if isinstance(value, dict):
        return {poisoned(key): poisoned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(poisoned(item) for item in value)
    return value


def test_page_escapes_every_text(reader):
    evil = Reader(to_html(poisoned(REPORT), title=EVIL))
    names = {name for name, _ in evil.elements}
    assert "script" not in names
    assert not any(key.startswith("on") for _, values in evil.elements for key in values)
    assert all("src" not in values or values["src"].startswith("data:") for _, values in evil.elements)
    # Each text is there, as it was.
    assert evil.text.count("<script>alert('1')</script>") > 60
    assert "<script" not in tables_to_html(poisoned([REPORT.figures[5]]), title=EVIL)
    assert names == {name for name, _ in reader.elements}


def test_page_needs_no_other_file(page, reader):
    assert not re.findall(r"(?:https?:)?//|@import|<script|<link|url\((?!#)", page)
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
    assert len(set(reader.ids)) == len(reader.ids)
    assert {"figures", "samples", "next", "left-out", "how", "criterion-valid"} <= set(reader.ids)
    assert all(link.startswith("#") and link[1:] in reader.ids for link in reader.links)


def first_screen(page):
    """What is not folded."""
    return page[page.index("<body>") + len("<body>") : page.index('<details class="fold"')]


def test_page_begins_with_decision_criteria_samples_and_provenance(page, reader):
    expected = (
        "data digits",
        "NO GO outside of your targets in 1 of 2 criteria (Diverse and faithful). Without a target",
        "Valid fail too many samples are not valid: samples not allowed: 6.7 points more than real data",
        "Follows its condition 1 of 2 targets undecided undecided class_agreement",
        "Consistent pass repeats exactly",
        "Not copied not measured no training images",
        "Diverse and faithful target missed",
        "The first samples",
        "Worst",
        "checkpoint step 2000",
        "valid samples 93.1",
        "Figures",
    )
    places = [reader.text.index(words) for words in expected]
    assert places == sorted(places)
    rows = [values["class"] for _, values in reader.elements if values.get("class", "").startswith("criterion ")]
    assert rows == [f"criterion {kind}" for kind in ("fail", "undecided", "pass", "unknown", "fail")]
    titles = [re.search(r"<span>(.*?)</span>", row)[1] for row in page.split('<li class="criterion')[1:]]
    assert titles == list(CRITERION_TITLES.values())


def test_page_folds_all_but_the_first_screen(page):
    """Read in ten seconds: measurements, other figures, advice and definitions are behind a click."""
    words = Reader(first_screen(page)).text
    assert "checkpoint step 2000" in words
    for folded in (
        "classifier accuracy",
        "ROC",
        "Train longer",
        "Bonferroni",
        "a learned model",
        "the model has no latents",
    ):
        assert folded not in words
        assert folded in Reader(page).text
    images = re.findall(r"<figure.*?</figure>", first_screen(page), flags=re.DOTALL)
    assert [re.search('id="(.*?)"', each)[1] for each in images] == ["figure-first_samples", "figure-worst"]
    # Each fold is closed, and says of itself how much is in it.
    assert not re.findall(r"<details[^>]* open", page)
    assert page.count('<details class="fold"') == page.count("</h2>")


def test_page_prints_no_p_value_and_no_badge_twice(page, reader):
    assert not re.findall(r"\bp [=<]|p-value|significan", reader.text)
    for section in page.split('<details class="fold"')[1:]:
        assert section.count("Measured with a learned model in place of the truth (digits classifier)") <= 1


@pytest.mark.parametrize(("state", "word"), [("pass", "GO"), ("fail", "NO GO"), ("undecided", "UNDECIDED")])
def test_page_shows_the_decision(state, word):
    check = REPORT.criteria[0].checks[0]._replace(state=state, advice="about 9000 samples would decide, there were 9")
    page = to_html(Report("digits", "judge", 9, (), [Criterion("valid", state, "", [check])]), title="run")
    assert f'<p class="decision {state}"><svg class="icon {state}"' in page
    assert f"<strong>{word}</strong>" in page
    assert "about 9000 samples would decide" in Reader(page).text


def test_page_gives_each_state_a_shape_and_words():
    check = REPORT.criteria[0].checks[0]
    criteria = [
        Criterion(name, state, "", [check._replace(state=state)])
        for name, state in zip(CRITERION_TITLES, ("pass", "fail", "undecided"), strict=False)
    ]
    page = to_html(Report("digits", "judge", 9, (), [*criteria, Criterion("diverse", None, "")]), title="run")
    rows = re.findall(r'<li class="criterion.*?</em>', page, flags=re.DOTALL)
    shapes = [re.search(r'<svg class="icon.*?>(.*?)</svg>', row)[1] for row in rows]
    words = [re.search(r"<em>(.*?)<", row)[1] for row in rows]
    assert (len(set(shapes)), words) == (4, ["pass", "fail", "undecided", "not measured"])
    # A target has the shape of what it does to its criterion.
    states = {"met": "pass", "missed": "fail", "undecided": "undecided"}
    for state, kind in states.items():
        given = criteria[0]._replace(targets=[Target("valid_samples: at least 1", state)])
        page = to_html(Report("", "", 9, (), [given]), title="")
        (row,) = re.findall(r'<ul class="targets">.*?</ul>', page, re.DOTALL)
        assert f'<svg class="icon {kind}"' in row
        assert f"<strong>{state}</strong> valid_samples: at least 1" in row


def test_page_shows_every_measurement(page, reader):
    text = reader.text
    for words in (
        "class agreement 98.5 % 95 % interval 97.5 to 99.2 % n = 1000 real: 98.5 %",
        "Measured with a learned model in place of the truth (digits classifier)",
        "copied samples below 0.30 % 95 % interval 0.0 to 0.37 % n = 1000 real: none found lower is better",
        "FD[cnn] 3.73 n = 1000 real against real: 3.49",
        "log density -1.23 nats",
        "met worst_class: at least 0.9",
        "path length, inception score the model has no latents",
        "1 comparison with real data: pass pass samples of another class: 0.0 points more than real data "
        "(-1.0 to 1.0), at most 3 allowed",
        "pass samples that change when repeated: none of 64, none allowed",
        "With a probability of 95 % or more, no comparison of this report is decided wrongly (Bonferroni)",
        "checkpoint step 2000",
        "sorted 1 2 3",
        "Train longer Because both are above the floor. Expect fewer errors. aigc-jax train ddpm_digits --steps 9",
    ):
        assert words in text
    for figure in REPORT.figures:
        assert f'id="figure-{figure.name}"' in page
    assert 'content="width=device-width, initial-scale=1"' in page
    assert "prefers-color-scheme: dark" in page


def test_page_prints_zero_counts_as_bounds(page):
    """0 of n is an upper bound, and 0 real examples are none; only axes begin at 0."""
    body = re.sub(r'<svg class="plot".*?</svg>', "", page.partition("<body>")[2], flags=re.DOTALL)
    assert not re.findall(r"(?<![\d.])0(?:\.0+)?[ \N{NO-BREAK SPACE}]%", body)


def test_page_of_an_empty_report():
    page = to_html(Report("digits", "judge", 0, ()), title="run")
    reader = Reader(page)
    assert [name for name, _ in reader.elements if name in ("li", "figure", "img")] == []
    assert "GO" not in first_screen(page)
    assert "How the numbers were made" in reader.text


def test_page_shows_measurements_of_unknown_names_last():
    row = Measurement("bits_per_byte", "bits per byte", 1.25, 9, "score", "")
    page = Reader(to_html(REPORT._replace(measurements=[row, *REPORT.measurements]), title="run"))
    assert "Other measurements 1 measurement bits per byte 1.25" in page.text
    assert page.text.index("log density") < page.text.index("bits per byte")


def test_page_of_a_criterion_without_headline():
    page = to_html(Report("digits", "judge", 9, (), [Criterion("valid", "pass", "valid_samples")]), title="run")
    assert "<em>pass</em></h3>\n<p>as valid as real data</p>" in page


def bars(*rows):
    return panel(Bars("b", "B", "", rows))


@pytest.mark.parametrize(
    ("top", "scale"),
    [(0.9, "100"), (0.5, "50"), (0.43, "50"), (0.2, "20"), (0.003, "0.5"), (0.0, "100"), (0.00011, "0.02")],
)
def test_bars_end_at_a_round_share(top, scale):
    assert f"<span>{scale}\N{NO-BREAK SPACE}%</span>" in bars(Bar("a", top), Bar("b", None))


def test_bars_have_the_length_of_their_values():
    html = bars(Bar("a", 0.1, 0.05, 0.15, 40, 0.02), Bar("b", 0.2, n=40))
    assert re.findall(r"<i style=\"width:([\d.]+)%", html) == ["50.00", "100.00"]
    assert 'style="left:25.00%;width:50.00%"' in html
    assert '<b style="left:10.00%">' in html
    assert "share, n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}40" in html
    mixed = bars(Bar("a", 0.1, 0.05, 0.15, 40), Bar("b", 0.2, n=39)).replace("\N{NO-BREAK SPACE}", " ")
    assert re.findall(r"<small>(.*?)</small>", mixed) == ["5.0 to 15.0 %, n = 40", "n = 39"]


def test_matrix_shows_errors_in_another_colour_and_hatches_unseen_rows():
    matrix = Matrix("m", "M", "", ["0", "1"], ["0", "1", "invalid"], [[90, 10, 0], [0, 100, 0]], ["1"])
    right, wrong, nothing, *_ = re.findall(r"<td ([^>]*)>", panel(matrix))
    assert nothing == 'class="none"'
    colours = [re.search(r"rgba\((.*),(.*)\)", cell).groups() for cell in (right, wrong)]
    assert colours[0][0] != colours[1][0]
    assert float(colours[0][1]) > float(colours[1][1]) > 0.15
    assert re.findall(r'<tr class="hatched"><th scope="row">(\d)<small>unseen', panel(matrix)) == ["1"]


def test_tables_scroll_in_a_box_of_their_own():
    for figure in (Table("t", "T", "", ["a"], [["b"]]), Matrix("m", "M", "", ["0"], ["0"], [[1]])):
        assert '<div class="scroll" tabindex="0" role="region"' in panel(figure)


def test_table_is_wide_only_for_long_rows():
    assert 'class="panel"' in panel(Table("t", "T", "", ["what", "value"], [["accuracy", "98.5 %"]]))
    assert 'class="panel wide"' in panel(Table("t", "T", "", ["what", "value"], [["accuracy", "a sentence " * 9]]))


def pixels(html):
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"base64,([^\"]*)", html)]


def test_gallery_keeps_pixels_and_enlarges_by_whole_factors():
    html = panel(Gallery("g", "G", "", [PICTURES], [["a", "b", "c"]]))
    np.testing.assert_array_equal(np.stack(pixels(html)), PICTURES[..., 0])
    assert {int(size) for size in re.findall(r'(?:width|height)="(\d+)"', html)} == {56}
    assert re.findall(r"<span>(.)</span>", html) == ["a", "b", "c"]
    assert re.findall(r'alt="(.*?)"', html) == ["a", "b", "c"]
    small = panel(Gallery("g", "G", "", [np.zeros((1, 5, 9, 3), np.uint8)], [[]]))
    width, height = (int(re.search(rf'{side}="(\d+)"', small)[1]) for side in ("width", "height"))
    assert (width % 9, height % 5, width // 9) == (0, 0, height // 5)
    assert min(width, height) >= SIDE >= 48


def test_gallery_keeps_groups_together():
    rows = [np.full((6, 2, 2, 1), level, np.uint8) for level in (10, 20, 30)]
    html = panel(Gallery("g", "G", "", rows, [[], [], [f"d{i}" for i in range(6)]], ["noise", "model", "other"]))
    columns = html.split("<li")[1:]
    assert [[int(image[0, 0]) for image in pixels(column)] for column in columns] == [[10, 20, 30]] * 6
    assert "From top to bottom: noise, model, other." in html
    pairs = panel(Gallery("g", "G", "", [row[:2] for row in rows], [["sample", "nearest"]] * 3, ["1", "2", "3"]))
    assert [int(image[0, 0]) for image in pixels(pairs)] == [10, 10, 20, 20, 30, 30]
    assert 'class="gallery groups"' in pairs


def test_plot_has_legend_and_titles_of_axes():
    html = panel(Lines("l", "L", "How.", "steps", "rate", [Series("ddim", [1.0, 2.0], [0.5, 0.2])], {"floor": 0.1}))
    for words in ("ddim", "floor: 0.1", "steps", "rate", "How."):
        assert f">{words}<" in html
    assert "nothing to draw" in panel(Lines("l", "L", "", "", "", []))


def test_texts_keep_line_breaks_and_labels():
    html = panel(Texts("t", "T", "", [("prompt <1>", "a\n  b"), ("", "c")]))
    assert re.findall(r"<small>(.*?)</small>", html) == ["prompt &lt;1&gt;"]
    assert re.findall(r"<pre>(.*?)</pre>", html, flags=re.DOTALL) == ["a\n  b", "c"]


def test_page_is_small(page):
    assert len(page) < 32_000
    assert plain(REPORT)  # nothing in the example that JSON could not hold


def test_texts_are_shaded_part_by_part():
    html = panel(Texts("t", "T", "", [("", "a<b")], [[("a", 0.0), ("<b", 0.5)]]))
    assert '<pre>a<mark style="--depth: 0.50">&lt;b</mark></pre>' in html
