import json

import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.fingerprint import fingerprint
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.data_record import checked_data, located, read_record, record_data
from aigc_jax.types import Data, UsageError

CONFIG = TrainConfig(data="digits")


def fruit(*, num=6, names=("apple", "pear"), value=0):
    train = ArraySource(np.full((num, 2, 2, 1), value, np.uint8), np.arange(num) % len(names))
    return Data("fruit", train, ArraySource(np.zeros((2, 2, 2, 1), np.uint8), np.arange(2)), names)


def recorded(run, data=None, config=CONFIG):
    record_data(run, config, data or fruit(), is_resumed=False)
    return read_record(run)


def message(call, *args, **options):
    with pytest.raises(UsageError) as error:
        call(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_record_comes_back(tmp_path):
    assert recorded(tmp_path).fingerprint == fingerprint(fruit())
    assert read_record(tmp_path / "none") is None


def test_record_names_data_by_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recorded(tmp_path / "a", config=TrainConfig(data="folder:pics")).data == f"folder:{tmp_path / 'pics'}"
    record = recorded(tmp_path / "b", config=TrainConfig(data="tfds:mnist", data_dir="prepared"))
    assert (record.data, record.data_dir) == ("tfds:mnist", str(tmp_path / "prepared"))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (fruit(names=("blue bird", "pear")), "class 0 was 'apple', is 'blue bird'"),
        (fruit(names=("apple", "pear", "zebra")), "class 2"),
        (fruit(num=8), "8 training examples were 6"),
    ],
)
def test_training_does_not_go_on_with_other_data(tmp_path, data, expected):
    before = recorded(tmp_path)
    assert expected in message(record_data, tmp_path, CONFIG, data, is_resumed=True)
    assert read_record(tmp_path) == before
    record_data(tmp_path, CONFIG, data, is_resumed=False)
    assert read_record(tmp_path).fingerprint == fingerprint(data)


def test_training_goes_on_with_the_same_data_wherever_they_lie(tmp_path, capsys):
    recorded(tmp_path)
    record_data(
        tmp_path, TrainConfig(data="folder:elsewhere"), fruit()._replace(name="folder:elsewhere"), is_resumed=True
    )
    assert read_record(tmp_path).data.endswith("elsewhere")
    assert capsys.readouterr().err == ""


def test_runs_without_a_record_get_one(tmp_path):
    record_data(tmp_path, CONFIG, fruit(), is_resumed=True)
    assert read_record(tmp_path).fingerprint == fingerprint(fruit())
    assert checked_data(tmp_path / "none", CONFIG, fruit).name == "fruit"


def test_other_values_are_a_warning_and_no_error(tmp_path, capsys):
    recorded(tmp_path)
    other = fruit(value=9)
    record_data(tmp_path, CONFIG, other, is_resumed=True)
    assert "warning" in capsys.readouterr().err
    recorded(tmp_path)
    assert checked_data(tmp_path, CONFIG, lambda: other) is other
    assert "warning" in capsys.readouterr().err


def test_a_trained_model_is_not_shown_other_classes(tmp_path, capsys):
    recorded(tmp_path)
    error = message(checked_data, tmp_path, CONFIG, lambda: fruit(names=("blue bird", "pear")))
    assert "class 0 was 'apple', is 'blue bird'" in error
    assert "--data" in error
    # More examples of the same classes: a measurement is possible, and a warning names its limits.
    assert len(checked_data(tmp_path, CONFIG, lambda: fruit(num=8)).train) == 8
    assert "8 training examples were 6" in capsys.readouterr().err


def test_a_folder_that_is_gone_asks_for_its_place(tmp_path):
    config = TrainConfig(data=f"folder:{tmp_path / 'gone'}")
    error = message(checked_data, tmp_path, config, fruit)
    assert str(tmp_path / "gone") in error
    assert "--data folder:DIR" in error


def test_data_are_looked_for_where_they_were_then_where_they_are_now(tmp_path, monkeypatch):
    for place in ("then", "now", "other"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "then")
    (tmp_path / "then" / "pics").mkdir()
    run = tmp_path / "run"
    recorded(run, config=TrainConfig(data="folder:pics"))
    values = {"data": "folder:pics", "steps": 3}
    monkeypatch.chdir(tmp_path / "now")
    there = f"folder:{tmp_path / 'then' / 'pics'}"
    assert located(run, values, data=None, data_dir=None) == {"data": there, "steps": 3}
    (tmp_path / "then" / "pics").rename(tmp_path / "now" / "pics")
    assert located(run, values, data=None, data_dir=None)["data"] == "folder:pics"
    assert located(run, values, data="folder:x", data_dir="y") == {"data": "folder:x", "data_dir": "y", "steps": 3}
    monkeypatch.chdir(tmp_path / "other")
    assert located(run, values, data=None, data_dir=None)["data"] == there


def test_prepared_data_are_looked_for_where_they_were(tmp_path, monkeypatch):
    (tmp_path / "prepared").mkdir()
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path, config=TrainConfig(data="tfds:mnist", data_dir="prepared"))
    monkeypatch.chdir("/")
    found = located(tmp_path, {"data": "tfds:mnist", "data_dir": "prepared"}, data=None, data_dir=None)
    assert found == {"data": "tfds:mnist", "data_dir": str(tmp_path / "prepared")}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"format": "1"},
        {"data": 3},
        {"data": None},
        {"fingerprint": None},
        {"fingerprint": {"name": "x"}},
        {"fingerprint": {**fingerprint(fruit())._asdict(), "class_names": [1, 2]}},
        {"fingerprint": {**fingerprint(fruit())._asdict(), "class_names": None}},
        {"fingerprint": {**fingerprint(fruit())._asdict(), "num_train": "many"}},
        {"fingerprint": {**fingerprint(fruit())._asdict(), "more": 1}},
    ],
)
def test_a_broken_record_is_named(tmp_path, change):
    recorded(tmp_path)
    file = tmp_path / "data.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert str(file) in message(read_record, tmp_path)
    file.write_text("{")
    assert str(file) in message(read_record, tmp_path)


def test_names_in_a_record_of_a_stranger_can_be_printed(tmp_path):
    recorded(tmp_path, fruit(names=("cat\x1b[2J", "dog\n")))
    assert read_record(tmp_path).fingerprint.class_names == (r"cat\x1b[2J", r"dog\n")
