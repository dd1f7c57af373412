"""Training step of a diffusion transformer or of DDPM's U-Net, alone or compared with PyTorch on the same device."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aigc_jax.algorithms.denoiser import PLAYER
from aigc_jax.algorithms.flow_matching import flow_matching, rectified_flow_denoiser
from aigc_jax.inference.flops import count_flops
from aigc_jax.inference.peaks import published_peak
from aigc_jax.nets.dit import DiT
from aigc_jax.nets.unet import UNet
from aigc_jax.processes.times import logit_normal_times
from aigc_jax.samplers.sampling import Sampling, make_sampler
from aigc_jax.train.parallel import HostBatch, make_parallel
from benchmarks.common import (
    Ours,
    Times,
    disturbed,
    import_torch,
    num_params,
    print_times,
    print_versions,
    time_rounds,
    torch_device,
    verdict,
)
from benchmarks.diffusion import compare_first_step, to_torch

NUM_CLASSES = 10
LEARNING_RATE = 1e-4
TOLERANCES = {"float32": 1e-4, "bfloat16": 2e-2}
"""The largest relative difference of loss and gradient norm between two libraries that compute the same."""


class Size(NamedTuple):
    """A network, the shape of its examples, and how many of them make a step."""

    net: DiT | UNet
    shape: tuple[int, int, int]
    batch_size: int


SIZES: dict[str, dict[str, Size]] = {
    "dit": {
        "B/2": Size(DiT(2, 768, 12, num_classes=NUM_CLASSES), (32, 32, 4), 256),
        "L/2": Size(DiT(2, 1024, 24, num_classes=NUM_CLASSES), (32, 32, 4), 64),
        "tiny": Size(DiT(2, 32, 2, head_width=16, num_classes=NUM_CLASSES), (8, 8, 4), 8),
    },
    "unet": {
        "ddpm": Size(
            UNet(128, (1, 2, 2, 2), 2, (16,), 0, num_classes=NUM_CLASSES, is_scale_shift=False, resampling="conv"),
            (32, 32, 3),
            512,
        ),
        "tiny": Size(
            UNet(8, (1, 2), 1, (4,), 0, num_classes=NUM_CLASSES, is_scale_shift=False, resampling="conv"), (8, 8, 3), 8
        ),
    },
}
"""The sizes of Peebles and Xie 2023, table 1 (latents of 256 x 256 images), and of Ho et al. 2020, appendix B."""


def run(args: argparse.Namespace) -> int:
    """Time the training step; 1 where two libraries do not compute the same."""
    torch_flow: Any = import_torch("torch_flow") if args.against else None
    device = torch_device(torch_flow.torch) if args.against else None
    size, root = SIZES[args.benchmark][args.size], jax.random.key(0)
    net, batch = size.net.clone(dtype=jnp.dtype(args.dtype)), _random_batch(size, args.batch_size or size.batch_size)
    denoiser = rectified_flow_denoiser(net, size.shape, num_classes=NUM_CLASSES)
    algorithm = flow_matching(
        denoiser,
        tx=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(LEARNING_RATE)),
        sampler=make_sampler(denoiser.process, Sampling("euler", num_steps=1)),
    )
    start = disturbed(jax.jit(algorithm.init)(root, {name: jnp.asarray(x) for name, x in batch.items()}))
    params, parallel = jax.device_get(start.params[PLAYER]), make_parallel("jit")
    on_device = parallel.put_batch(batch)
    ours = Ours(algorithm, parallel, start, root, on_device)
    rounds: dict[str, Callable[[], None]] = {"aigc_jax": lambda: ours.run([on_device] * args.steps)}
    sizes, differences = {"aigc_jax": num_params(ours.state)}, {}
    names = () if not args.against else ("torch",) if args.eager else ("torch", "torch.compile")
    for name in names:
        theirs = torch_flow.TorchFlow(
            params,
            net,
            size.shape[0],
            torch_flow.Step(LEARNING_RATE),
            device=device,
            is_compiled=name == "torch.compile",
        )
        differences[f"first step of {name}, loss and gradient norm"] = compare_first_step(
            torch_flow, theirs, denoiser, batch, root, ours, time_sampler=logit_normal_times()
        )
        tensors = [to_torch(torch_flow, batch, device)] * args.steps
        rounds[name] = lambda theirs=theirs, tensors=tensors: theirs.run(tensors)
        sizes[name] = theirs.num_params
    times, torch = time_rounds(rounds, args.steps, args.rounds), torch_flow.torch if args.against else None
    batch_size = len(batch["condition"])
    print_versions(torch, f"{args.benchmark} {args.size}", args, batch_size=batch_size, dtype=args.dtype)
    print_times(times, sizes, "training step")
    inputs = jnp.asarray(batch["example"]), jnp.zeros(batch_size), jnp.asarray(batch["condition"])
    _print_rates(times, 3 * count_flops(net.apply, {"params": params}, *inputs), args.dtype)
    print(f"first step of aigc_jax, with compilation: {ours.compile_seconds:.1f} s")
    return verdict(sizes, differences, TOLERANCES[args.dtype])


def _random_batch(size: Size, batch_size: int) -> HostBatch:
    """Random examples of classes in turn: times do not depend on the data."""
    image = np.random.default_rng(0).normal(size=(batch_size, *size.shape)).astype(np.float32)
    return {"example": image, "condition": np.arange(batch_size, dtype=np.int32) % NUM_CLASSES}


def _print_rates(times: dict[str, Times], flops: int, dtype: str) -> None:
    """Print what the libraries compute in a second, by the shares of the device's peak where that is known."""
    kind = jax.devices()[0].device_kind
    peak = published_peak(kind, dtype)
    for name, (wall, _) in times.items():
        rate = flops / statistics.median(wall) / 1e9
        share = "" if peak is None else f", {1e12 * rate / peak:.1%} of the peak of {kind}, {peak / 1e12:.0f}"
        print(f"{name:16}{rate:>12.4g} TFLOP/s in products{share}")
