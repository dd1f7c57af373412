"""aigc_jax: generative models in JAX that people can rely on.

The names that a training loop of your own needs. Everything else is imported from its module:
``aigc_jax.nets.resnet``, ``aigc_jax.losses.regularizers``, ``aigc_jax.train.loop`` and so on.

Each name is imported when it is first used, so that ``import aigc_jax`` itself costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aigc_jax.algorithms.autoencoder import Model
    from aigc_jax.algorithms.classifier import classifier
    from aigc_jax.algorithms.consistency import Curriculum, consistency
    from aigc_jax.algorithms.denoiser import Denoiser
    from aigc_jax.algorithms.diffusion import diffusion
    from aigc_jax.algorithms.discrete_diffusion import discrete_diffusion
    from aigc_jax.algorithms.flow_matching import flow_matching, rectified_flow_denoiser
    from aigc_jax.algorithms.gan import GANNetworks, clip_weights, gan
    from aigc_jax.algorithms.hvae import hvae
    from aigc_jax.algorithms.iwae import iwae
    from aigc_jax.algorithms.latent_diffusion import latent_diffusion
    from aigc_jax.algorithms.vae import vae
    from aigc_jax.algorithms.vqvae import vqvae
    from aigc_jax.api import load_run, train
    from aigc_jax.evaluation.from_samples import evaluate_arrays
    from aigc_jax.players import init_state, make_step
    from aigc_jax.rng import example_keys, split_by_name, step_key
    from aigc_jax.samplers.sampling import make_sampler
    from aigc_jax.samplers.settings import Sampling
    from aigc_jax.types import Algorithm, Conditions, Data, Experiment, Metric, Modality, Player, TrainState, UsageError

__all__ = [
    "Algorithm",
    "Conditions",
    "Curriculum",
    "Data",
    "Denoiser",
    "Experiment",
    "GANNetworks",
    "Metric",
    "Modality",
    "Model",
    "Player",
    "Sampling",
    "TrainState",
    "UsageError",
    "classifier",
    "clip_weights",
    "consistency",
    "diffusion",
    "discrete_diffusion",
    "evaluate_arrays",
    "example_keys",
    "flow_matching",
    "gan",
    "hvae",
    "init_state",
    "iwae",
    "latent_diffusion",
    "load_run",
    "make_sampler",
    "make_step",
    "rectified_flow_denoiser",
    "split_by_name",
    "step_key",
    "train",
    "vae",
    "vqvae",
]

_HOMES = {
    "Algorithm": "types",
    "Conditions": "types",
    "Curriculum": "algorithms.consistency",
    "Data": "types",
    "Denoiser": "algorithms.denoiser",
    "Experiment": "types",
    "GANNetworks": "algorithms.gan",
    "Metric": "types",
    "Modality": "types",
    "Model": "algorithms.autoencoder",
    "Player": "types",
    "Sampling": "samplers.settings",
    "TrainState": "types",
    "UsageError": "types",
    "classifier": "algorithms.classifier",
    "clip_weights": "algorithms.gan",
    "consistency": "algorithms.consistency",
    "diffusion": "algorithms.diffusion",
    "discrete_diffusion": "algorithms.discrete_diffusion",
    "evaluate_arrays": "evaluation.from_samples",
    "example_keys": "rng",
    "flow_matching": "algorithms.flow_matching",
    "gan": "algorithms.gan",
    "hvae": "algorithms.hvae",
    "init_state": "players",
    "iwae": "algorithms.iwae",
    "latent_diffusion": "algorithms.latent_diffusion",
    "load_run": "api",
    "make_sampler": "samplers.sampling",
    "make_step": "players",
    "rectified_flow_denoiser": "algorithms.flow_matching",
    "split_by_name": "rng",
    "step_key": "rng",
    "train": "train",
    "vae": "algorithms.vae",
    "vqvae": "algorithms.vqvae",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("aigc-jax")
        except PackageNotFoundError:  # run from a source tree
            return "unknown"
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    value = module if name == "train" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
