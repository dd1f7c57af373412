"""Experiments from configs, and the length of their schedules."""

import dataclasses
import types

import pytest

from aigc_jax.runs import build_experiment, config_names, load_config
from aigc_jax.train.config import TextConfig, TrainConfig

CONSTANT = {
    *("ddpm_cifar10", "ddpm_mnist", "dit_mnist", "dit_xl_imagenet", "edm_cifar10", "edm_imagenet64", "gan_mnist"),
    *("vqvae_cifar10", "wgan_gp_mnist"),
}
"""Shipped configs whose step size does not depend on the length of the run: constant, or after a warm-up."""


@pytest.mark.parametrize("schedule_steps", [None, 20])
def test_build_experiment_gives_schedules_their_own_length(schedule_steps):
    config = TrainConfig(steps=40, schedule_steps=schedule_steps)
    length = schedule_steps or 40
    reading = types.SimpleNamespace(build=lambda config: ("built for", config.steps))
    assert build_experiment(reading, config) == (("built for", length), length)
    other = types.SimpleNamespace(build=lambda config: ("built for", config.batch_size))
    assert build_experiment(other, config) == (("built for", 64), None)


def test_build_experiment_is_given_an_equal_config():
    config = load_config("gan_digits").Config(seed=3)
    module = types.SimpleNamespace(build=dataclasses.asdict)
    assert build_experiment(module, config)[0] == dataclasses.asdict(config)


@pytest.mark.parametrize("name", config_names())
def test_only_constant_step_sizes_are_free_of_the_length_of_a_run(name):
    module = load_config(name)
    if name in ("latent_diffusion_mnist", "gpt_preferences"):
        pytest.skip("its build loads a trained run")
    data = module.Config().data
    if not issubclass(module.Config, TextConfig) and not data.startswith("world:"):
        data = "digits"
    elif data.startswith("tfds:"):
        data = "python-docs"
    _, length = build_experiment(module, module.Config(steps=9, data=data))
    assert length == (None if name in CONSTANT else 9)
