"""The Python door: names of the facade, and runs that are trained, loaded, sampled and evaluated from Python."""

import subprocess
import sys

import numpy as np
import pytest

import aigc_jax
from aigc_jax.types import UsageError

pytestmark = pytest.mark.standard_promotion


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api") / "run"
    nets = {"generator": {"width": 8}, "discriminator": {"widths": (4, 8), "num_features": 8}}
    options = {"steps": 2, "batch_size": 8, "log_every": 1, "sample_every": 0}
    return aigc_jax.train("gan_digits", workdir=folder, **options, **nets)


def test_facade_names_are_all_there_and_imported_late():
    for name in aigc_jax.__all__:
        assert getattr(aigc_jax, name) is not None
    code = "import sys, aigc_jax; print([name for name in ('jax', 'flax', 'numpy') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import aigc_jax.train.config; "])
def test_train_is_a_function_whatever_was_imported(first):
    code = f"{first}import aigc_jax; aigc_jax.train('gan_digits', nonsense=1)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "UsageError: expected one of the settings" in result.stderr


@pytest.mark.slow
def test_printed_run_is_one_line(run):
    assert repr(run).startswith("TrainedRun('")
    assert len(repr(run)) < 300


@pytest.mark.slow
def test_run_samples_by_seed_and_condition(run):
    images = run.sample(12, seed=1)
    assert (images.shape, images.dtype) == ((12, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(run.sample(20, seed=1)[:12], images)
    again = aigc_jax.load_run(str(run.path))
    np.testing.assert_array_equal(again.sample(4, seed=1, condition=["0", 1, "2", 3]), images[:4])
    assert (again.sample(4, seed=1, condition=5) != images[:4]).any()
    assert again.config.steps == 2


@pytest.mark.slow
def test_run_refuses_impossible_samples(run):
    with pytest.raises(UsageError, match="--condition"):
        run.sample(2, condition="cat")
    with pytest.raises(UsageError):
        run.sample(2, condition=[1])
    with pytest.raises(UsageError):
        run.sample(0)


def test_run_refuses_options_of_evaluate_that_it_does_not_have(run):
    for name in ("guidance", "gates"):
        with pytest.raises(UsageError, match=f"single_judge.*; got {name}$"):
            run.evaluate(4, **{name: 2})


def test_run_evaluates_the_checkpoint_that_was_loaded(run, monkeypatch):
    given = []
    monkeypatch.setattr("aigc_jax.cli.evaluate.evaluate_run", given.append)
    monkeypatch.setattr("aigc_jax.report.files.read_report", lambda folder: folder)
    assert aigc_jax.load_run(run.path, checkpoint="2").evaluate(4) == run.path
    aigc_jax.load_run(run.path, checkpoint="2").evaluate(4, checkpoint="latest")
    assert [each.checkpoint for each in given] == ["2", "latest"]
