"""Step time of the default GAN, gan_digits, alone or compared with the same networks and step in PyTorch."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.configs import gan_digits  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.rng import example_keys, normal, split_by_name, step_key
from aigc_jax.train.parallel import HostBatch
from aigc_jax.types import Key, TrainState
from benchmarks.common import (
    Ours,
    Setup,
    import_torch,
    make_setup,
    num_params,
    print_times,
    print_versions,
    time_rounds,
    torch_device,
    verdict,
)


def run(args: argparse.Namespace) -> int:
    """Time the training step of gan_digits; 1 where the two libraries do not compute the same."""
    torch_gan = import_torch("torch_gan") if args.against else None
    setup = make_setup(gan_digits, gan_digits.Config())
    hand = list(itertools.islice(setup.batches(), args.steps))
    on_device = [setup.parallel.put_batch(batch) for batch in hand]
    ours = Ours(setup.experiment.algorithm, setup.parallel, setup.start, setup.root, on_device[0])
    rounds: dict[str, Callable[[], None]] = {"aigc_jax": lambda: ours.run(on_device)}
    sizes, worst = {"aigc_jax": num_params(setup.start)}, {}
    if torch_gan:
        device = torch_device(torch_gan.torch)
        theirs = _in_torch(torch_gan, setup, setup.start, device)
        worst["first step's losses"] = _compare_step(torch_gan, setup, theirs, hand[0], ours.first)
        tensors = [_to_torch(torch_gan, batch, device) for batch in hand]
        rounds["torch"] = lambda: theirs.run(tensors)
        sizes["torch"] = theirs.num_params
    times = time_rounds(rounds, args.steps, args.rounds)
    if torch_gan:
        state = setup.parallel.get_state(ours.state)
        worst["outputs"] = _compare_outputs(torch_gan, setup, state, hand[0], torch_device(torch_gan.torch))
    torch = torch_gan.torch if torch_gan else None
    print_versions(torch, "gan_digits", args, batch_size=setup.config.batch_size)
    print_times(times, sizes)
    print(f"\nfirst step of aigc_jax, with compilation: {ours.compile_seconds:.1f} s")
    return verdict(sizes, worst)


def _in_torch(torch_gan: Any, setup: Setup, state: TrainState, device: Any) -> Any:
    """The same GAN in PyTorch, with the weights of a state of ours."""
    config = setup.config
    settings = torch_gan.Settings(
        learning_rate=config.generator.learning_rate,
        b1=0.0,  # as in gan_digits' build, whose step size is constant for longer than a benchmark runs
        b2=0.99,
        gamma=config.discriminator.r1_gamma,
        r1_every=config.discriminator.r1_every,
        ema_decay=config.ema_decay,
    )
    return torch_gan.TorchGan(state.params, config.image_shape, config.generator.latent_dim, settings, device)


def _to_torch(torch_gan: Any, batch: HostBatch, device: Any) -> tuple[Any, Any]:
    image, label = torch_gan.images_to_tensor(batch["example"]), torch_gan.to_tensor(batch["condition"]).long()
    return image.to(device), label.to(device)


def _latents(setup: Setup, key: Key) -> Any:
    """What our generator makes a batch of under a key."""
    keys = split_by_name(example_keys(key, setup.config.batch_size), "latent")["latent"]
    return normal(keys, (setup.config.generator.latent_dim,))


def _compare_step(torch_gan: Any, setup: Setup, theirs: Any, batch: HostBatch, ours: dict[str, float]) -> float:
    """Make the first step, with R1, on our batch and latents; the largest difference between the losses."""
    key = step_key(setup.root, 0)
    latents = [_latents(setup, jax.random.fold_in(jax.random.fold_in(key, number), 0)) for number in range(2)]
    tensors = tuple(torch_gan.to_tensor(latent).to(theirs.device) for latent in latents)
    losses = theirs.step(*_to_torch(torch_gan, batch, theirs.device), tensors)
    return max(abs(float(loss) - ours[name]) for name, loss in losses.items())


def _compare_outputs(torch_gan: Any, setup: Setup, state: TrainState, batch: HostBatch, device: Any) -> float:
    """The largest difference between images and logits of the two, both with the weights that ours has learned."""
    theirs, algorithm, key = _in_torch(torch_gan, setup, state, device), setup.experiment.algorithm, jax.random.key(1)
    assert algorithm.sample is not None
    assert algorithm.evaluate is not None
    variables = {"params": state.params, "model_state": state.model_state}
    label = jnp.asarray(batch["condition"])
    images = algorithm.sample(variables, key, len(label), label)
    logits = algorithm.evaluate(variables, {name: jnp.asarray(x) for name, x in batch.items()}, key)
    real, condition = _to_torch(torch_gan, batch, device)
    latents = torch_gan.to_tensor(_latents(setup, key)).to(device)
    their_images = theirs.generator(latents, condition).permute(0, 2, 3, 1)
    pairs = [(images, their_images), (logits["discriminator_logit"], theirs.discriminator(real, condition))]
    return max(float(np.abs(np.asarray(mine) - other.detach().cpu().numpy()).max()) for mine, other in pairs)
