"""aigc-jax edit: what is kept is kept, what is not is made up, and mistakes cost one line."""

import numpy as np
import pytest
from PIL import Image

from aigc_jax import cli
from aigc_jax.inference.sampling import make_edit_fn
from aigc_jax.runs import load_run

pytestmark = pytest.mark.standard_promotion


@pytest.fixture
def run(trained_run):
    return trained_run("flow_digits")


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
