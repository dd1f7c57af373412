"""The run directory and its settings: read back exactly, or refused in one line."""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import pytest

from aigc_jax.configs import flow_2d
from aigc_jax.runs import config_names, load_config
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.train.config import RANGES, ImageConfig, Range, TrainConfig, validate
from aigc_jax.train.config_io import config_from_values
from aigc_jax.train.run_dir import FREE_ON_RESUME, check_resume, lock_run, open_run, read_run, write_run
from aigc_jax.train.sharding import MeshSettings
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
class NestedConfig(ImageConfig):
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


WHOLE = '{"format": 1, "config": "a", "values": {}, "batch": %s, "versions": %s}'


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "3", "{}", "\x00", '{"format": 1}', '{"format": 1, "config": "a"}', '{"format": true}'),
        '{"format": 1, "values": ' + "[" * 60_000 + "]" * 60_000 + "}",
        '{"format": 1, "values": ' + '{"a":' * 500 + "1" + "}" * 501,
        WHOLE % ('{"image": [[' + "9" * 400 + '], "float32"]}', "{}"),
        WHOLE % ('{"image": [["x"], "float32"]}', "{}"),
        WHOLE % ('{"image": [[1], "no type"]}', "{}"),
        WHOLE % ('{"image": 3}', "{}"),
        WHOLE % ("{}", "3"),
    ],
)
def test_read_run_names_a_broken_file_in_one_line(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match=r"config\.json.*restore it from a copy") as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_read_run_does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(UsageError, match="not a regular file"):
        read_run(tmp_path)


@pytest.mark.parametrize("versions", ["3", "{}", '{"aigc-jax": [1]}', "null"])
def test_read_run_refuses_a_newer_format_whatever_else_it_holds(tmp_path, versions):
    (tmp_path / "config.json").write_text(f'{{"format": 99, "versions": {versions}}}')
    with pytest.raises(UsageError, match="has format 99"):
        read_run(tmp_path)


def test_messages_show_control_characters_of_names(tmp_path):
    content = json.dumps({"format": 1, "config": "\x1b[2Jfake\nline", "values": {}, "batch": {}, "versions": {}})
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError) as caught:
        check_resume(read_run(tmp_path), "toy", ToyConfig())
    assert "\\x1b[2Jfake\\nline" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_lock_run_refuses_a_second_process_and_is_freed_by_a_kill(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "JAX_PLATFORMS": "cpu"}
    )
    assert child.stdout.readline() == b"locked\n"
    with pytest.raises(UsageError, match=f"is being trained by process {child.pid} on "):
        enter(lock_run(tmp_path))
    child.kill()
    child.wait()
    child.stdout.close()
    with lock_run(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} on ")
    with lock_run(tmp_path):
        pass


CHILD = """
import sys, time
from pathlib import Path
from aigc_jax.train.run_dir import lock_run
with lock_run(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def enter(context):
    with context:
        pass


def test_lock_run_follows_no_link(tmp_path):
    (tmp_path / "outside").write_text("precious")
    (tmp_path / ".lock").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="cannot write"):
        enter(lock_run(tmp_path))
    assert (tmp_path / "outside").read_text() == "precious"


@pytest.mark.parametrize("name", ["run [v2]", "[0-9]*", "a[b/c"])
def test_lock_run_refuses_paths_in_which_orbax_loses_checkpoints(tmp_path, monkeypatch, name):
    with pytest.raises(UsageError, match=r"without \["):
        enter(lock_run(tmp_path / name))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "at[home").mkdir()
    monkeypatch.chdir(tmp_path / "at[home")
    with pytest.raises(UsageError, match=r"without \["):
        enter(lock_run(Path("run")))


def test_a_name_that_is_too_long_is_told_in_one_line(tmp_path):
    for call in (
        lambda path: open_run(path, "toy", ToyConfig(), BATCH),
        lambda path: enter(lock_run(path)),
        read_run,
    ):
        with pytest.raises(UsageError) as caught:
            call(tmp_path / ("n" * 300))
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
        "schedule_steps": 9,
        "parallel": "jit",
        "mesh": MeshSettings(fsdp=2),
        "sharding_rules": (("kernel", "fsdp"),),
        "steps_per_call": 9,
        "log_every": 9,
        "sample_every": 9,
        "checkpoint_every": 9,
        "keep_checkpoints": 9,
        "eval_every": 9,
        "best_metric": "x",
        "best_mode": "min",
        "data_dir": "x",
        "skip_broken": True,
        "max_broken": 0.5,
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


def test_a_setting_added_since_does_not_hinder_resuming(tmp_path):
    values = as_json(NestedConfig())
    del values["rate"], values["net"]["activation"], values["schedule_steps"]
    content = {"format": 1, "config": "toy", "values": values, "batch": {}, "versions": {}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    check_resume(read_run(tmp_path), "toy", NestedConfig())
    with pytest.raises(UsageError, match=r"net\.activation relu -> gelu"):
        check_resume(read_run(tmp_path), "toy", NestedConfig(net=Mlp(activation="gelu")))


@pytest.mark.parametrize("is_recorded", [True, False])
def test_resume_keeps_the_length_of_schedules(tmp_path, is_recorded):
    write_run(tmp_path, "toy", ToyConfig(steps=20), BATCH, schedule_steps=20)
    if not is_recorded:  # by a version that did not know of it
        content = json.loads((tmp_path / "config.json").read_text())
        del content["schedule_steps"]
        (tmp_path / "config.json").write_text(json.dumps(content))
    run = read_run(tmp_path)
    for steps in (40, 10):
        with pytest.raises(UsageError, match=rf"of 20 steps, .* those of {steps}: add --schedule-steps 20"):
            check_resume(run, "toy", ToyConfig(steps=steps), schedule_steps=steps)
    check_resume(run, "toy", ToyConfig(steps=40, schedule_steps=20), schedule_steps=20)
    check_resume(run, "toy", ToyConfig(steps=40), schedule_steps=None)  # nothing is computed from it


def test_resume_under_another_parallel_mode_says_that_rounding_differs(tmp_path, capsys):
    write_run(tmp_path, "toy", ToyConfig(parallel="pmap"), BATCH)
    check_resume(read_run(tmp_path), "toy", ToyConfig(parallel="jit"))
    assert "parallel pmap -> jit: each step is equal up to rounding" in capsys.readouterr().err


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


@dataclass(frozen=True)
class Rates:
    learning_rate: float = 1e-3
    widths: tuple[int, ...] = (4,)


@dataclass(frozen=True)
class RatedConfig(ToyConfig):
    generator: Rates = field(default_factory=Rates)
    learning_rate: float | None = None


@pytest.mark.parametrize("rate", [-1.0, 0.0, float("nan"), float("inf"), -float("inf")])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(UsageError, match="set --learning-rate to such a number"):
        validate(RatedConfig(learning_rate=rate))
    with pytest.raises(UsageError, match=r"expected generator\.learning_rate .*set --generator\.learning-rate"):
        validate(RatedConfig(generator=Rates(learning_rate=rate)))
    validate(RatedConfig(learning_rate=1e-30))


@pytest.mark.parametrize("widths", [(0,), (4, -1)])
def test_every_entry_of_a_tuple_is_in_range(widths):
    with pytest.raises(UsageError, match=r"expected generator\.widths >= 1"):
        validate(RatedConfig(generator=Rates(widths=widths)))


def numbers(values):
    """Names and values of all numeric settings, in groups too."""
    for each in dataclasses.fields(values):
        value = getattr(values, each.name)
        if dataclasses.is_dataclass(value):
            yield from numbers(value)
        elif isinstance(value, int | float | tuple) and not isinstance(value, bool):
            yield each.name, value


@pytest.mark.parametrize("name", config_names())
def test_every_number_of_a_shipped_config_has_a_range_that_holds_its_default(name):
    config = load_config(name).Config()
    validate(config)
    # Samplers check their own settings, all of them together; rules of shardings and names of changes hold no numbers.
    checked_elsewhere = {"guidance", "guidance_interval", "guidance_rescale", "restart_interval"}
    checked_elsewhere |= {"sharding_rules", "changes"}
    checked_elsewhere |= {field.name for field in dataclasses.fields(Decoding)}
    assert {name for name, _ in numbers(config)} <= RANGES.keys() | checked_elsewhere


def test_a_range_excludes_what_is_not_finite():
    for value in (float("nan"), float("inf")):
        assert Range().violated_by(value)
    assert not Range().violated_by(-1e300)
    assert Range(-float("inf"), is_low_excluded=True).violated_by(-float("inf"))


def test_run_of_points_with_the_former_image_shape_still_loads():
    config = flow_2d.Config(seed=3)
    assert not hasattr(config, "image_shape")
    values = {**dataclasses.asdict(config), "image_shape": [1, 1, 2]}
    assert config_from_values(flow_2d.Config, json.loads(json.dumps(values))) == config
    for other in ("image_size", "shape"):
        with pytest.raises(UsageError, match=f"unknown setting {other}"):
            config_from_values(flow_2d.Config, {**values, other: 1})
