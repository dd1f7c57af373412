"""The run directory and its settings: read back exactly, or refused in one line."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
import pytest

from aigc_jax.train.config import TrainConfig, validate
from aigc_jax.train.config_io import config_from_values
from aigc_jax.train.run_dir import FREE_ON_RESUME, check_resume, open_run, read_run, write_run
from aigc_jax.types import UsageError

from .toys import ToyConfig


@dataclass(frozen=True)
class Mlp:
    widths: tuple[int, ...] = (4, 8)
    activation: Literal["relu", "gelu"] = "relu"


@dataclass(frozen=True)
class Conv:
    kernel: int
    scale: float = 1.0


@dataclass(frozen=True)
class NestedConfig(TrainConfig):
    net: Mlp = field(default_factory=Mlp)
    either: Mlp | Conv = Conv(3)
    rate: float | None = None
    number: int | float = 3
    pair: tuple[int, str] = (1, "x")


BATCH = {"image": jax.ShapeDtypeStruct((8, 28, 28, 1), jnp.float32), "label": jax.ShapeDtypeStruct((8,), jnp.int32)}


def as_json(config):
    return json.loads(json.dumps(dataclasses.asdict(config)))


@pytest.mark.parametrize(
    "config",
    [
        NestedConfig(),
        NestedConfig(net=Mlp((1,), "gelu"), either=Mlp(()), rate=0.5, number=3.5, num_classes=None, data_dir="a b"),
    ],
)
def test_settings_survive_the_run_directory(tmp_path, config):
    write_run(tmp_path / "run", "toy", config, BATCH)
    run = read_run(tmp_path / "run")
    again = config_from_values(NestedConfig, run.values)
    assert again == config
    assert type(again.number) is type(config.number)
    assert (run.config, run.batch) == ("toy", BATCH)
    assert run.versions["jax"] == jax.__version__
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_a_setting_added_since_takes_its_default():
    values = as_json(NestedConfig())
    del values["rate"], values["net"]["activation"]
    assert config_from_values(NestedConfig, values) == NestedConfig()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("steps",), "ten", "steps expects int, got 'ten'"),
        (("steps",), True, "steps expects int"),
        (("steps",), 1.5, "steps expects int"),
        (("best_mode",), "most", "best_mode expects"),
        (("net", "widths"), [1, "b"], r"net\.widths\[1\] expects int"),
        (("net", "widths"), 3, "net.widths expects a list"),
        (("pair",), [1], "pair expects 2 entries"),
        (("net",), 3, "expected settings for net"),
        (("net", "depth"), 3, "unknown setting net.depth"),
        (("either",), {"kernel": "x"}, "either fits none"),
        (("rate",), "fast", "rate fits none"),
    ],
)
def test_settings_that_do_not_fit_are_refused(path, value, message):
    values = as_json(NestedConfig())
    inner = values
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(UsageError, match=message) as caught:
        config_from_values(NestedConfig, values)
    assert "\n" not in str(caught.value)


def test_a_missing_setting_without_default_is_named():
    with pytest.raises(UsageError, match="setting kernel is missing"):
        config_from_values(Conv, {})


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}", '{"format": 1}', '{"format": 1, "config": "a"}', "\x00"])
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match="is broken") as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_newer_format_and_a_missing_run_are_refused(tmp_path):
    with pytest.raises(UsageError, match="not a run directory"):
        read_run(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 2, "versions": {"aigc-jax": "9.0"}}')
    with pytest.raises(UsageError, match=r"format 2.*9\.0"):
        read_run(tmp_path)


def test_resume_may_change_how_long_and_how_often_only(tmp_path):
    old = NestedConfig()
    write_run(tmp_path, "toy", old, BATCH)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    changes = {
        "steps": 9,
        "parallel": "jit",
        "log_every": 9,
        "sample_every": 9,
        "checkpoint_every": 9,
        "keep_checkpoints": 9,
        "eval_every": 9,
        "best_metric": "x",
        "best_mode": "min",
        "data_dir": "x",
        "skip_broken": True,
        "data_workers": 9,
        "wandb": "x",
    }
    assert {*changes, "sampling", "likelihood"} == FREE_ON_RESUME
    open_run(tmp_path, "toy", dataclasses.replace(old, **changes), BATCH)
    assert read_run(tmp_path).values["steps"] == 9
    for other in (dataclasses.replace(old, seed=1), dataclasses.replace(old, net=Mlp((5,)))):
        with pytest.raises(UsageError, match=r"seed 0 -> 1|net\.widths \[4, 8\] -> \[5\]"):
            open_run(tmp_path, "toy", other, BATCH)
    with pytest.raises(UsageError, match="a run of toy, not of other"):
        check_resume(read_run(tmp_path), "other", old)


def test_resume_may_change_how_samples_are_drawn(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Sampling:
        num_steps: int = 3

    @dataclasses.dataclass(frozen=True)
    class Sampled(ToyConfig):
        sampling: Sampling = Sampling()

    write_run(tmp_path, "toy", Sampled(), BATCH)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    open_run(tmp_path, "toy", Sampled(sampling=Sampling(9)), BATCH)
    assert read_run(tmp_path).values["sampling"] == {"num_steps": 9}


def test_settings_that_led_nowhere_may_be_mended(tmp_path):
    open_run(tmp_path, "toy", ToyConfig(batch_size=7), BATCH)
    open_run(tmp_path, "toy", ToyConfig(batch_size=8), BATCH)
    assert read_run(tmp_path).values["batch_size"] == 8


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--workdir"):
        write_run(tmp_path / "file" / "run", "toy", ToyConfig(), BATCH)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"steps": 0}, "--steps"),
        ({"batch_size": 0}, "--batch-size"),
        ({"seed": -1}, "--seed"),
        ({"seed": 2**32}, "--seed"),
        ({"log_every": 0}, "--log-every"),
        ({"num_microbatches": 0}, "--num-microbatches"),
        ({"checkpoint_every": -1}, "--checkpoint-every"),
        ({"keep_checkpoints": 0}, "--keep-checkpoints"),
        ({"parallel": "xmap"}, "--parallel"),
        ({"best_metric": "x"}, "--eval-every"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(UsageError, match=message) as caught:
        validate(ToyConfig(**setting))
    assert "\n" not in str(caught.value)


def test_the_defaults_are_valid():
    validate(TrainConfig())
