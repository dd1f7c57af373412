"""Training step and DDIM sampling of flow_digits, alone or compared with the same computation in PyTorch."""

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

from aigc_jax.algorithms.denoiser import PLAYER, Denoiser, corrupt
from aigc_jax.configs import flow_digits  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.processes.times import TimeSampler, logit_normal_times
from aigc_jax.rng import example_keys, normal, split_by_name, step_key
from aigc_jax.samplers.grids import uniform
from aigc_jax.samplers.settings import Sampling
from aigc_jax.train.parallel import HostBatch
from aigc_jax.types import Batch, Key
from benchmarks.common import (
    Ours,
    Setup,
    disturbed,
    import_torch,
    make_setup,
    num_params,
    print_times,
    print_versions,
    time_rounds,
    torch_device,
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
    torch_flow = import_torch("torch_flow") if args.against else None
    # No guidance: one evaluation of the network a step, in both.
    sampling = Sampling("ddim", args.sampling_steps, guidance=1.0)
    setup = make_setup(flow_digits, dataclasses.replace(flow_digits.Config(), sampling=sampling))
    setup = setup._replace(start=disturbed(setup.start))
    hand = list(itertools.islice(setup.batches(), args.steps))
    on_device = [setup.parallel.put_batch(batch) for batch in hand]
    sampler = Sampler(setup, args.num_images)
    ours = Ours(setup.experiment.algorithm, setup.parallel, setup.start, setup.root, on_device[0])
    training: dict[str, Callable[[], Any]] = {"aigc_jax": lambda: ours.run(on_device)}
    drawing: dict[str, Callable[[], Any]] = {"aigc_jax": sampler.run}
    sizes, differences = {"aigc_jax": num_params(setup.start)}, {}
    if torch_flow:
        device = torch_device(torch_flow.torch)
        theirs = _in_torch(torch_flow, setup, device)
        noise, label = torch_flow.images_to_tensor(sampler.noise()), torch_flow.to_tensor(sampler.condition).long()
        noise, label = noise.to(device), label.to(device)
        drawing["torch"] = lambda: theirs.sample(noise, label, sampler.times)
        differences["samples"] = _difference(sampler.run(), drawing["torch"]().permute(0, 2, 3, 1))
        time_sampler = logit_normal_times(setup.config.time_mean)
        denoiser = flow_digits.make_denoiser(setup.config)
        differences["first step's loss and gradient norm"] = compare_first_step(
            torch_flow, theirs, denoiser, hand[0], setup.root, ours, time_sampler=time_sampler
        )
        tensors = [to_torch(torch_flow, batch, device) for batch in hand]
        training["torch"] = lambda: theirs.run(tensors)
        sizes["torch"] = theirs.num_params
    torch = torch_flow.torch if torch_flow else None
    print_versions(torch, "flow_digits", args, batch_size=setup.config.batch_size)
    print_times(time_rounds(training, args.steps, args.rounds), sizes, "training step")
    print(f"first step of aigc_jax, with compilation: {ours.compile_seconds:.1f} s\n")
    print(f"{args.num_images} images, {args.sampling_steps} DDIM steps, one evaluation of the network each")
    print_times(time_rounds(drawing, args.sampling_steps, args.rounds), sizes, "sampling")
    print(f"first batch of aigc_jax, with compilation: {sampler.compile_seconds:.1f} s\n")
    return verdict(sizes, differences)


def _in_torch(torch_flow: Any, setup: Setup, device: Any) -> Any:
    """The same network and training step in PyTorch, with the weights of the first state."""
    config = setup.config
    step = torch_flow.Step(
        learning_rate=config.learning_rate,
        b2=0.99,  # as in flow_digits' build, and the limit of the gradient too
        max_norm=1.0,
        time_mean=config.time_mean,
        condition_dropout=config.condition_dropout,
        ema_decay=config.ema_decay,
    )
    net, height = flow_digits.make_denoiser(config).net, config.image_shape[0]
    return torch_flow.TorchFlow(jax.device_get(setup.start.params[PLAYER]), net, height, step, device=device)


def to_torch(torch_flow: Any, batch: Batch | HostBatch, device: Any) -> tuple[Any, Any]:
    """Images and labels of a batch as tensors."""
    image, label = torch_flow.images_to_tensor(np.asarray(batch["example"])), torch_flow.to_tensor(batch["condition"])
    return image.to(device), label.long().to(device)


def compare_first_step(
    torch_flow: Any,
    theirs: Any,
    denoiser: Denoiser,
    batch: Batch | HostBatch,
    root: Key,
    ours: Ours,
    *,
    time_sampler: TimeSampler,
) -> float:
    """The largest relative difference of loss and gradient norm in the first step, on our batch, times and noise."""
    size = len(batch["condition"])
    indexed: Batch = {name: jnp.asarray(x) for name, x in batch.items()} | {"index": jnp.arange(size)}
    noisy = corrupt(
        denoiser,
        indexed,
        jax.random.fold_in(jax.random.fold_in(step_key(root, 0), 0), 0),  # the first update of the first player
        time_sampler=time_sampler,
        condition_dropout=theirs.numbers.condition_dropout,
    )
    epsilon = torch_flow.images_to_tensor(np.asarray(noisy.pair.epsilon))
    image, _ = to_torch(torch_flow, batch, theirs.device)
    condition = torch_flow.to_tensor(noisy.condition).long()
    others = (x.to(theirs.device) for x in (condition, torch_flow.to_tensor(noisy.t), epsilon))
    loss, norm = (float(x) for x in theirs.step(image, *others))
    pairs = [(ours.first[f"{PLAYER}/loss"], loss), (ours.first[f"{PLAYER}/grad_norm"], norm)]
    return max(abs(mine - other) / abs(other) for mine, other in pairs)


def _difference(mine: np.ndarray, other: Any) -> float:
    return float(np.abs(mine - other.cpu().numpy()).max())
