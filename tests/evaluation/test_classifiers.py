"""Judges: classifiers that are trained once and kept, worlds, runs that the user names, or none."""

import contextlib
import types

import numpy as np
import pytest

from aigc_jax.data.arrays import SubsetSource, reserve_for_judges
from aigc_jax.data.points import POINT
from aigc_jax.data.sources import open_data
from aigc_jax.evaluation import classifiers
from aigc_jax.runs import load_config
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Experiment, UsageError
from aigc_jax.worlds.mixture import ring

pytestmark = pytest.mark.standard_promotion


@pytest.fixture(autouse=True)
def folder(quick_classifiers):
    return quick_classifiers


def opened():
    return open_data("digits", data_dir=None, image_shape=(28, 28, 1), num_classes=10)


def model():
    module = load_config("gan_digits")
    return module.build(module.Config())


def kept_in(folder):
    return sorted(path for path in folder.iterdir() if not path.name.endswith(".lock"))


def load(name="classifier_digits"):
    return classifiers.load_classifier(name, TrainConfig(), opened())


def test_classifier_is_trained_once_and_found_again(folder, monkeypatch):
    found = load()
    assert found.name == "digits classifier"
    assert found.encode_fn(np.zeros((3, 28, 28, 1), np.float32))["logits"].shape == (3, 10)
    monkeypatch.setattr(classifiers, "run_training", None)
    load()


def test_classifier_learns_from_examples_reserved_for_judges_alone(monkeypatch):
    seen, data = [], reserve_for_judges(opened(), 0.25)
    monkeypatch.setattr(classifiers, "_train_into", lambda *given: seen.append(given[3].train) or given[-1].mkdir())
    with contextlib.suppress(Exception):  # nothing was trained
        classifiers.load_classifier("classifier_digits", TrainConfig(), data)
    assert len(seen[0]) == 1000
    assert seen[0] is data.for_judges


def test_stopped_training_of_a_classifier_interrupts_the_command(folder, monkeypatch):
    def stopped(experiment, settings, workdir, **options):
        workdir.mkdir()
        return types.SimpleNamespace(stopped_by=2)

    monkeypatch.setattr(classifiers, "run_training", stopped)
    with pytest.raises(KeyboardInterrupt):
        load()
    assert kept_in(folder) == []


def test_classifier_learns_from_fewer_examples_than_its_batch():
    few = opened()._replace(train=SubsetSource(opened().train, np.arange(5)))
    found = classifiers.load_classifier("classifier_digits", TrainConfig(), few)
    assert found.experiment.batch_spec["example"].shape[0] == 5
    accuracy_fn = classifiers.make_accuracy_fn("classifier_digits", TrainConfig(), few)
    assert accuracy_fn(np.zeros((3, 28, 28, 1), np.uint8), np.arange(3))["accuracy_on_samples"][1] == 3


def test_judge_of_images_is_two_classifiers_that_are_kept(folder, monkeypatch):
    first, second = load(), load("mixer_digits")
    kept = kept_in(folder)
    assert len(kept) == 2
    monkeypatch.setattr(classifiers, "run_training", None)  # found from now on
    judge, classifier = classifiers.load_judge(model(), TrainConfig(), opened(), has_second_opinion=True)
    assert (judge.name, judge.second_name) == ("digits classifier", "digits classifier (mixer)")
    assert judge.learned_from.startswith("the training examples")
    images = np.random.default_rng(0).uniform(-1, 1, size=(5, 28, 28, 1)).astype(np.float32)
    found = judge.predict(images)
    np.testing.assert_array_equal(found.predicted, first.encode_fn(images)["logits"].argmax(axis=1))
    np.testing.assert_array_equal(found.second, second.encode_fn(images)["logits"].argmax(axis=1))
    assert classifier.name == first.name
    assert kept_in(folder) == kept


def test_judge_of_a_world_is_the_world():
    experiment = model()._replace(world=ring(), modality=POINT)
    judge, classifier = classifiers.load_judge(experiment, TrainConfig(), opened(), has_second_opinion=True)
    assert (judge.name, judge.second_name, classifier) == ("world:ring8", "", None)


@pytest.mark.parametrize(
    ("change", "class_names", "reason"),
    [({}, (), "no classes"), ({}, ("cat",), "1 class,"), ({"judges": ()}, ("cat", "dog"), "no classifier is known")],
)
def test_judge_predicts_nothing_without_classes_to_learn(change, class_names, reason, folder):
    data = opened()._replace(class_names=class_names)
    judge, classifier = classifiers.load_judge(model()._replace(**change), TrainConfig(), data, has_second_opinion=True)
    assert reason in judge.why_none
    assert "--judge" in judge.why_none
    assert classifier is None
    found = judge.predict(np.zeros((2, 28, 28, 1), np.float32))
    assert found.features is None
    assert found.predicted is None
    assert not folder.exists()


def test_judge_is_a_run_that_the_user_names(trained_run):
    run = trained_run("classifier_digits")
    unlabelled = opened()._replace(class_names=())
    judge, _ = classifiers.load_judge(model(), TrainConfig(), unlabelled, given=[run])
    images = np.random.default_rng(0).uniform(-1, 1, size=(4, 28, 28, 1)).astype(np.float32)
    found = judge.predict(images)
    assert judge.name == "classifier_digits"
    assert found.features.shape == (4, 8)
    np.testing.assert_array_equal(found.predicted, found.logits.argmax(axis=1))


def test_judge_that_gives_no_predictions_is_refused(trained_run):
    experiment: Experiment = model()
    with pytest.raises(UsageError, match="neither logits nor features"):
        classifiers.load_judge(experiment, TrainConfig(), opened(), given=[trained_run("vae_digits")])
    shape = experiment.batch_spec["example"].update(shape=(8, 32, 32, 3))
    other, run = experiment._replace(batch_spec={"example": shape}), trained_run("classifier_digits")
    with pytest.raises(UsageError, match="another --judge"):
        classifiers.load_judge(other, TrainConfig(), opened(), given=[run])
