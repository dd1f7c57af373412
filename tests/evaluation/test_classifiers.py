"""The classifier that judges is trained once and kept, by however many processes at a time."""

import types

import numpy as np
import pytest

from aigc_jax.data.sources import open_data
from aigc_jax.evaluation import classifiers
from aigc_jax.evaluation.judge import classifier_judge, world_judge
from aigc_jax.train.config import TrainConfig
from aigc_jax.worlds.mixture import ring

pytestmark = pytest.mark.standard_promotion


@pytest.fixture(autouse=True)
def folder(quick_classifiers):
    return quick_classifiers


def opened():
    return open_data("digits", data_dir=None, image_shape=(28, 28, 1), num_classes=10)


def kept_in(folder):
    return sorted(path for path in folder.iterdir() if not path.name.endswith(".lock"))


def load():
    return classifiers.load_encoder(TrainConfig(), opened())


def test_load_encoder_trains_once_and_finds_it_again(folder, monkeypatch):
    name, encode = load()
    assert name == "digits classifier"
    assert encode(np.zeros((3, 28, 28, 1), np.float32))["logits"].shape == (3, 10)
    monkeypatch.setattr(classifiers, "run_training", None)
    load()


def test_a_stopped_training_interrupts_the_command(folder, monkeypatch):
    def stopped(experiment, settings, workdir, **options):
        workdir.mkdir()
        return types.SimpleNamespace(stopped_by=2)

    monkeypatch.setattr(classifiers, "run_training", stopped)
    with pytest.raises(KeyboardInterrupt):
        load()
    assert kept_in(folder) == []


def test_a_classifier_learns_from_fewer_examples_than_its_batch():
    few = opened()._replace(train=[opened().train[i] for i in range(5)])
    _, experiment, _ = classifiers.load_classifier(TrainConfig(), few)
    assert experiment.batch_spec["example"].shape[0] == 5
    samples = np.zeros((3, 28, 28, 1), np.float32)
    accuracies = classifiers.make_accuracy_fn(TrainConfig(), few)(samples, np.arange(3))
    assert accuracies["accuracy_on_samples"][1] == 3


def test_the_second_classifier_is_another_one_and_is_kept_too(folder, monkeypatch):
    data, config = opened(), TrainConfig()
    name, encode = load()
    first = classifier_judge(name, encode, data.class_names)
    second_name, second_encode = classifiers.load_encoder(config, data, "mixer")
    kept = kept_in(folder)
    assert len(kept) == 2
    monkeypatch.setattr(classifiers, "run_training", None)  # found from now on
    judge = classifiers.with_second_classifier(first, config, data)
    assert (judge.name, judge.second_name) == ("digits classifier", second_name) == (name, "digits classifier (mixer)")
    images = np.random.default_rng(0).uniform(-1, 1, size=(5, 28, 28, 1)).astype(np.float32)
    said = judge.predict(images)
    np.testing.assert_array_equal(said.predicted, encode(images)["logits"].argmax(axis=1))
    np.testing.assert_array_equal(said.second, second_encode(images)["logits"].argmax(axis=1))
    assert kept_in(folder) == kept


def test_a_world_needs_no_second_classifier():
    judge = world_judge(ring())
    assert classifiers.with_second_classifier(judge, TrainConfig(), opened()) is judge
