"""Training step and DDIM sampling of the U-Net of flow_digits, alone or beside the same computation in PyTorch."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.algorithms.denoiser import PLAYER, corrupt
from aigc_jax.configs import flow_digits  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.processes.times import logit_normal_times
from aigc_jax.rng import example_keys, normal, split_by_name, step_key
from aigc_jax.samplers.grids import uniform
from aigc_jax.samplers.settings import Sampling
from aigc_jax.train.parallel import HostBatch
from aigc_jax.types import Batch, TrainState
from benchmarks.common import (
    Ours,
    Setup,
    import_torch,
    make_setup,
    num_params,
    print_times,
    print_versions,
    time_rounds,
    verdict,
)


class Sampler:
    """Sampling as the command line does it: one compiled function of the weights.

    Attributes:
        condition: classes of the images, in turn int32 [N].
        times: where the sampler stops, falling from 1 to 0.
        compile_seconds: the first batch, with its tracing and compilation.
    """

    def __init__(self, setup: Setup, num_images: int) -> None:
        config, sample = setup.config, setup.experiment.algorithm.sample
        assert sample is not None
        self.condition = np.arange(num_images, dtype=np.int32) % config.num_classes
        self.times = np.asarray(uniform()(flow_digits.make_denoiser(config).process, config.sampling.num_steps))
        self._variables = {"params": setup.start.params, "model_state": setup.start.model_state}
        self._key, self._shape = jax.random.key(1), config.image_shape
        condition = jnp.asarray(self.condition)
        self._sample = jax.jit(lambda variables: sample(variables, self._key, num_images, condition))
        begin = time.perf_counter()
        self.run()
        self.compile_seconds = time.perf_counter() - begin

    def run(self) -> np.ndarray:
        """Draw the images [N, H, W, C]."""
        return np.asarray(self._sample(self._variables))

    def noise(self) -> np.ndarray:
        """The noise that they begin with [N, H, W, C]."""
        keys = split_by_name(example_keys(self._key, len(self.condition)), "noise")["noise"]
        return np.asarray(normal(keys, self._shape))


def run(args: argparse.Namespace) -> int:
    """Time the training step and the sampler; 1 where the two libraries do not compute the same."""
    torch_unet = import_torch("torch_unet") if args.against else None
    # No guidance: one evaluation of the network a step, in both.
    sampling = Sampling("ddim", args.sampling_steps, guidance=1.0)
    setup = make_setup(flow_digits, dataclasses.replace(flow_digits.Config(), sampling=sampling))
    setup = setup._replace(start=_disturbed(setup.start))
    hand = list(itertools.islice(setup.batches(), args.steps))
    on_device = [setup.parallel.put_batch(batch) for batch in hand]
    sampler = Sampler(setup, args.num_images)
    ours = Ours(setup.experiment, setup.parallel, setup.start, setup.root, on_device[0])
    training: dict[str, Callable[[], Any]] = {"aigc_jax": lambda: ours.run(on_device)}
    drawing: dict[str, Callable[[], Any]] = {"aigc_jax": sampler.run}
    sizes, differences = {"aigc_jax": num_params(setup.start)}, {}
    if torch_unet:
        theirs = _in_torch(torch_unet, setup)
        noise, label = torch_unet.images_to_tensor(sampler.noise()), torch_unet.to_tensor(sampler.condition).long()
        drawing["torch"] = lambda: theirs.sample(noise, label, sampler.times)
        differences["samples"] = _difference(sampler.run(), drawing["torch"]().permute(0, 2, 3, 1))
        differences["first step's loss and gradient norm"] = _compare_step(torch_unet, setup, theirs, hand[0], ours)
        tensors = [_to_torch(torch_unet, batch) for batch in hand]
        training["torch"] = lambda: theirs.run(tensors)
        sizes["torch"] = theirs.num_params
    print_versions(torch_unet, setup, "flow_digits", args)
    print_times(time_rounds(training, args.steps, args.rounds), sizes, "training step")
    print(f"first step of aigc_jax, with compilation: {ours.compile_seconds:.1f} s\n")
    print(f"{args.num_images} images, {args.sampling_steps} DDIM steps, one evaluation of the network each")
    print_times(time_rounds(drawing, args.sampling_steps, args.rounds), sizes, "sampling")
    print(f"first batch of aigc_jax, with compilation: {sampler.compile_seconds:.1f} s\n")
    return verdict(sizes, differences)


def _disturbed(state: TrainState) -> TrainState:
    """A state whose weights are all in use: those that begin at 0 would hide what comes before them."""
    leaves, tree = jax.tree.flatten(state.params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    noisy = [leaf + 0.02 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return state.replace(params=jax.tree.unflatten(tree, noisy))


def _in_torch(torch_unet: Any, setup: Setup) -> Any:
    """The same network and training step in PyTorch, with the weights of the first state."""
    config = setup.config
    step = torch_unet.Step(
        learning_rate=config.learning_rate,
        b2=0.99,  # as in flow_digits' build, and the limit of the gradient too
        max_norm=1.0,
        time_mean=config.time_mean,
        condition_dropout=config.condition_dropout,
        ema_decay=config.ema_decay,
    )
    return torch_unet.TorchFlow(jax.device_get(setup.start.params[PLAYER]), config.net, step)


def _to_torch(torch_unet: Any, batch: HostBatch) -> tuple[Any, Any]:
    return torch_unet.images_to_tensor(batch["image"]), torch_unet.to_tensor(batch["label"]).long()


def _compare_step(torch_unet: Any, setup: Setup, theirs: Any, batch: HostBatch, ours: Ours) -> float:
    """Make the first step on our batch, times and noise; the largest relative difference of loss and gradient norm."""
    config, key = setup.config, step_key(setup.root, 0)
    indexed: Batch = {name: jnp.asarray(x) for name, x in batch.items()} | {"index": jnp.arange(config.batch_size)}
    noisy = corrupt(
        flow_digits.make_denoiser(config),
        indexed,
        jax.random.fold_in(jax.random.fold_in(key, 0), 0),  # the first update of the first player
        time_sampler=logit_normal_times(config.time_mean),
        condition_dropout=config.condition_dropout,
    )
    epsilon = torch_unet.images_to_tensor(np.asarray(noisy.pair.epsilon))
    image, _ = _to_torch(torch_unet, batch)
    condition = torch_unet.to_tensor(noisy.condition).long()
    loss, norm = (float(x) for x in theirs.step(image, condition, torch_unet.to_tensor(noisy.t), epsilon))
    pairs = [(ours.first[f"{PLAYER}/loss"], loss), (ours.first[f"{PLAYER}/grad_norm"], norm)]
    return max(abs(mine - other) / abs(other) for mine, other in pairs)


def _difference(mine: np.ndarray, other: Any) -> float:
    return float(np.abs(mine - other.numpy()).max())
