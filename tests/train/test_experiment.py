"""Experiments on images and on points, of configs that have the settings of their kind alone."""

import dataclasses

import pytest

from aigc_jax.configs import flow_2d, gan_digits
from aigc_jax.runs import load_config
from aigc_jax.train.config import ImageConfig, TrainConfig
from aigc_jax.train.experiment import point_experiment
from aigc_jax.types import Algorithm, UsageError
from aigc_jax.worlds.catalog import open_world


def names(kind):
    return {field.name for field in dataclasses.fields(kind)}


def test_configs_of_images_alone_have_an_image_shape():
    assert names(ImageConfig) - names(TrainConfig) == {"image_shape", "num_classes", "judge_split"}
    assert issubclass(gan_digits.Config, ImageConfig)
    assert not issubclass(flow_2d.Config, ImageConfig)
    assert "image_shape" not in names(load_config("flow_2d").Config)


@pytest.mark.parametrize("num_classes", [None, 8])
def test_points_have_a_condition_where_the_model_takes_the_mode(num_classes):
    algorithm = Algorithm(lambda key, batch: None, lambda state, batch, key: None)
    experiment = point_experiment(TrainConfig(), open_world("world:ring8"), algorithm, num_classes=num_classes)
    assert experiment.num_conditions == num_classes
    assert ("condition" in experiment.batch_spec) == (num_classes is not None)
    with pytest.raises(UsageError, match="--num-classes 8 or None"):
        point_experiment(TrainConfig(), open_world("world:ring8"), algorithm, num_classes=7)
