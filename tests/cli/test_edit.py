"""aigc-jax edit: what is kept is kept, what is not is made up, and mistakes cost one line."""

import numpy as np
import pytest
from PIL import Image

from aigc_jax import cli
from aigc_jax.data.images import GAP
from aigc_jax.inference.sampling import make_edit_fn
from aigc_jax.runs import load_run

pytestmark = pytest.mark.standard_promotion


@pytest.fixture
def run(trained_run):
    return trained_run("flow_digits")


@pytest.mark.slow
def test_edit_keeps_the_given_half(run):
    experiment, _, variables = load_run(run)
    image = np.random.default_rng(0).uniform(-1, 1, (2, 28, 28, 1)).astype(np.float32)
    edit = make_edit_fn(experiment, variables, keep="left", strength=1.0)
    results = [edit(image, np.array([1, 2]), seed) for seed in (0, 1)]
    np.testing.assert_allclose(results[0][:, :, :14], image[:, :, :14], atol=1e-6)
    assert np.abs(results[0] - results[1])[:, :, 14:].max() > 0.1
    # What is made up does not depend on the pixels that it replaces.
    other = image.copy()
    other[:, :, 14:] = 0.0
    np.testing.assert_array_equal(edit(other, np.array([1, 2]), 0), results[0])


def test_edit_draws_a_row_of_originals_and_three_of_results(run, capsys):
    out = run / "edit.png"
    assert cli.main(["edit", str(run), "--num", "3", "--strength", "0.5", "--condition", "4", "--out", str(out)]) == 0
    assert "three results" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.size[1] > 4 * 28 * 2  # four rows, twice their size


def save(path, array, **options):
    Image.fromarray(np.asarray(array, np.uint8)).save(path, **options)
    return str(path)


def test_edit_changes_the_white_part_of_an_own_image(run, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (28, 28))
    white = np.zeros((28, 28), bool)
    white[3:20, 5:9] = True
    files = ["--image", save(tmp_path / "a.png", image), "--mask", save(tmp_path / "m.png", 255 * white)]
    assert cli.main(["edit", str(run), *files, "--num", "2", "--condition", "3"]) == 0
    (out,) = (run / "samples").glob("edit_*")
    assert "imagea_maskm_class3" in out.name
    with Image.open(out) as picture:
        grid = np.asarray(picture.convert("L"))[::2, ::2]
    cells = [grid[GAP + row * (28 + GAP) :][:28, -2 * (28 + GAP) : -GAP] for row in range(4)]
    cells = np.stack([np.stack([cell[:, :28], cell[:, 30:]]) for cell in cells])
    np.testing.assert_array_equal(cells[0], np.stack([image, image]))
    # Where the mask is black, all results are the image.
    np.testing.assert_array_equal(cells[:, :, ~white], np.broadcast_to(image[~white], (4, 2, (~white).sum())))
    assert (cells[1, 0][white] != cells[1, 1][white]).any()
    assert (cells[1, 0][white] != image[white]).mean() > 0.5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--image", "large.png"], "large.png has 30 x 28 pixels: name a PNG or JPEG file of 28 x 28 pixels"),
        (["--image", "text.png"], "cannot read text.png (neither PNG nor JPEG): name a PNG or JPEG file of 28 x 28"),
        (["--image", "missing.png"], "cannot read missing.png (No such file"),
        (["--image", "good.png", "--mask", "large.png"], "large.png has 30 x 28 pixels"),
        (["--mask", "good.png", "--keep", "left"], "leave --keep left out"),
    ],
)
def test_edit_refuses_other_images_in_one_line(run, options, says, tmp_path, monkeypatch, capsys):
    run = run.resolve()
    monkeypatch.chdir(tmp_path)
    save("large.png", np.zeros((28, 30)))
    save("good.png", np.zeros((28, 28)))
    (tmp_path / "text.png").write_text("no picture")
    assert cli.main(["edit", str(run), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--strength", "0"], "--strength"),
        (["--num", "0"], "--num"),
        (["--condition", "10"], "condition"),
        (["--keep", "middle"], "keep"),
        (["--out", "x.npz"], ".png"),
        (["--sampler", "fast"], "sampler"),
    ],
)
def test_edit_refuses_bad_options_in_one_line(run, words, says, capsys):
    assert cli.main(["edit", str(run), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert says in error
