"""Certificates of samples: what they find equal, how they explain a difference, and files of strangers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.data.points import POINT
from aigc_jax.evaluation.certificate import certify, compare, environment, read_certificate, redraw, write_certificate
from aigc_jax.inference.sampling import compile_sampler, make_sample_fn
from aigc_jax.rng import normal
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Algorithm, Experiment, UsageError

SPEC = {"example": jax.ShapeDtypeStruct((1, 3), jnp.float32)}
WEIGHTS = {"params": {"net": np.float32(2.0)}}


def experiment(sample=lambda variables, keys, num, condition: variables["params"]["net"] * normal(keys, (3,))):
    return Experiment(Algorithm(init=None, step=None, sample=sample), None, SPEC, POINT)


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    sampler, run = compile_sampler(experiment()), tmp_path_factory.mktemp("no_run")

    def make(weights=WEIGHTS, num=10, config=None):
        samples = sampler(weights, 3)(0, None, num)
        return certify(run, config or TrainConfig(), experiment(), weights, samples, step=5, seed=3)

    return make


def test_certificate_survives_its_file_and_equals_a_second_draw(certified, tmp_path):
    write_certificate(tmp_path / "c.json", certified())
    read = read_certificate(tmp_path / "c.json")
    compared = compare(read, certified(num=7))
    assert compared[:3] == (7, 7, 7)
    assert compare(read, certified())[3:] == (0.0, 0.0, [])
    np.testing.assert_array_equal(read.values, make_sample_fn(experiment(), WEIGHTS, 3)(0, None, 10).ravel())


def test_comparison_measures_a_difference_and_names_its_cause(certified):
    other = {"params": {"net": np.float32(2.5)}}
    compared = compare(certified(), certified(other))
    assert compared.num_equal == compared.num_stored_equal == 0
    noise = certified().values / 2.0
    assert compared.largest == pytest.approx(0.5 * np.abs(noise).max(), rel=1e-6)
    assert compared.share_changed == 1.0
    assert compared.causes == ["the weights of step 5 are others than those that were certified"]


def test_comparison_names_settings_versions_and_precision(certified):
    old = certified()
    moved = old._replace(environment={**old.environment, "device": "H\x1b[2J100", "version of jax": "0.9"})
    changed = certified(config=TrainConfig(batch_size=2, steps=7, parallel="jit", data="folder:x"))
    assert compare(moved, changed).causes == [
        "batch_size: 64 -> 2",
        f"device: H\\x1b[2J100 -> {environment()['device']}",
        f"version of jax: 0.9 -> {jax.__version__}",
    ]


@pytest.mark.slow
def test_redraw_tells_rounding_from_samples_that_depend_on_their_block():
    def dependent(variables, keys, num, condition):
        return normal(keys, (3,)) + jnp.float32(num)

    def rounded(variables, keys, num, condition):
        return normal(keys, (3,)) * jnp.float32(1 + 1e-6 * num)

    found = {}
    for sample in (experiment().algorithm.sample, rounded, dependent):
        samples = make_sample_fn(experiment(sample), WEIGHTS, 0)(0, None, 20)
        blocks, devices = redraw(experiment(sample), WEIGHTS, 0, None, samples)
        assert (blocks.how, devices.how) == ("in blocks of 16", "on 4 devices")
        assert devices.num_equal == 20
        found[sample] = blocks.is_same, blocks.num_equal
        assert blocks.largest == pytest.approx(48.0 if sample is dependent else 0.0, abs=1e-3)
    assert list(found.values()) == [(True, 20), (True, 0), (False, 0)]


HOSTILE = {
    "step": -1,
    "weights": "no digest",
    "seed": 2**32,
    "settings": [1],
    "data": None,
    "environment": {"device": 3},
    "shape": [10, -3],
    "dtype": "O",
    "digests": ["a"],
    "stored": "x",
    "values": "AAAA",
    "more": 1,
    "format": 99,
}
WRONG = [*HOSTILE.items(), ("format", None), ("format", "1"), ("nothing", None), ("text", None)]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_certificate_of_a_stranger_is_refused_in_one_line(certified, tmp_path, name, value):
    file = tmp_path / "c.json"
    write_certificate(file, certified())
    content = {**json.loads(file.read_text()), name: value}
    file.write_text({"nothing": "{}", "text": "\x1b["}.get(name) or json.dumps(content))
    with pytest.raises(UsageError) as caught:
        read_certificate(file)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "remove it" in str(caught.value) or "newer aigc-jax" in str(caught.value)
