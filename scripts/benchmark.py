"""How long a training step takes, alone or beside the same networks and step in PyTorch.

    python scripts/benchmark.py gan
    python scripts/benchmark.py gan --against torch

Times are medians over rounds. Against another library the rounds alternate, so that whatever else the machine
does meets both; trust the wall clock on a quiet machine only. On a busy one, pin both to one core
(taskset -c 0 python ...) and read the CPU time. PyTorch is needed by ``--against torch`` alone.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from aigc_jax.configs import gan_digits  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.data.pipeline import batches
from aigc_jax.rng import example_keys, normal, split_by_name, step_key
from aigc_jax.train.parallel import HostBatch, Parallel, make_parallel
from aigc_jax.types import Batch, Experiment, Key, TrainState, UsageError

TOLERANCE = 1e-4
"""The largest difference between two libraries that compute the same: float32, summed in another order."""
PAUSE = 0.3
"""Seconds between rounds, until the other library's idle threads no longer spin."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        return _gan(args)
    except UsageError as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="benchmark", required=True)
    for name, text in (("gan", "step time of the default GAN"),):
        command = commands.add_parser(name, help=text)
        command.add_argument("--steps", type=_positive, default=16, help="steps in a round (default 16)")
        command.add_argument("--rounds", type=_positive, default=9, help="rounds (default 9)")
        if name == "gan":
            command.add_argument("--against", choices=["torch"], help="time the same in another library as well")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


class Ours:
    """The default GAN as the trainer runs it: compiled, the state donated, the batches on the devices.

    Attributes:
        state: the state after the steps made so far.
        compile_seconds: the first step, with its tracing and compilation.
        first: the metrics of the first step.
    """

    def __init__(self, experiment: Experiment, parallel: Parallel, start: TrainState, root: Key, first: Batch) -> None:
        self._step, self._root = parallel.compile_step(experiment.algorithm.step), parallel.put_state(root)
        self.state, begin = parallel.put_state(start), time.perf_counter()
        self.state, metrics = jax.block_until_ready(self._step(self.state, first, self._root))
        self.compile_seconds = time.perf_counter() - begin
        self.first = {name: float(value) for name, value in metrics.items()}

    def run(self, hand: Sequence[Batch]) -> None:
        """Make a step on each batch, and wait for the last."""
        for batch in hand:
            self.state, _ = self._step(self.state, batch, self._root)
        jax.block_until_ready(self.state)


class Setup(NamedTuple):
    """What both commands start from.

    Attributes:
        config: the settings of gan_digits, the default GAN.
        experiment: what they build.
        parallel: how the step is run.
        root: the key of the run.
        start: the state before the first step.
    """

    config: gan_digits.Config
    experiment: Experiment
    parallel: Parallel
    root: Key
    start: TrainState

    def batches(self, start_step: int = 0) -> Iterator[HostBatch]:
        """Real training batches, as the trainer gets them."""
        source, config = self.experiment.open_data().train, self.config
        return batches(
            source,
            batch_size=config.batch_size,
            seed=config.seed,
            start_step=start_step,
            num_threads=config.data_workers,
        )


def _setup() -> Setup:
    config = gan_digits.Config()
    experiment, root = gan_digits.build(config), jax.random.key(config.seed)
    empty = {name: jnp.zeros(spec.shape, spec.dtype) for name, spec in experiment.batch_spec.items()}
    return Setup(
        config, experiment, make_parallel(config.parallel), root, jax.jit(experiment.algorithm.init)(root, empty)
    )


def _gan(args: argparse.Namespace) -> int:
    torch_gan = _import_torch_gan() if args.against else None
    setup = _setup()
    hand = list(itertools.islice(setup.batches(), args.steps))
    on_device = [setup.parallel.put_batch(batch) for batch in hand]
    ours = Ours(setup.experiment, setup.parallel, setup.start, setup.root, on_device[0])
    rounds: dict[str, Callable[[], None]] = {"aigc_jax": lambda: ours.run(on_device)}
    num_params = {"aigc_jax": sum(leaf.size for leaf in jax.tree.leaves(setup.start.params))}
    worst = {}
    if torch_gan:
        theirs = _in_torch(torch_gan, setup, setup.start)
        worst["first step's losses"] = _compare_step(torch_gan, setup, theirs, hand[0], ours.first)
        tensors = [_to_torch(torch_gan, batch) for batch in hand]
        rounds["torch"] = lambda: theirs.run(tensors)
        num_params["torch"] = theirs.num_params
    times = _time(rounds, args.steps, args.rounds)
    if torch_gan:
        worst["outputs"] = _compare_outputs(torch_gan, setup, setup.parallel.get_state(ours.state), hand[0])
    _print_versions(torch_gan, setup, args)
    _print_times(times, num_params, ours.compile_seconds)
    for what, difference in worst.items():
        print(f"same {what}: max difference {difference:.1e}")
    is_same = len(set(num_params.values())) == 1 and all(d < TOLERANCE for d in worst.values())
    if not is_same:
        print("benchmark.py: the two do not compute the same, so their times say nothing", file=sys.stderr)
    return 0 if is_same else 1


class Times(NamedTuple):
    """Milliseconds per step, one entry for each round.

    Attributes:
        wall: by the clock on the wall.
        cpu: of all cores together, idle threads that spin included: what other programs disturb least.
    """

    wall: list[float]
    cpu: list[float]


def _time(rounds: dict[str, Callable[[], None]], num_steps: int, num_rounds: int) -> dict[str, Times]:
    """Time the rounds, the libraries in turn, after one round each to warm up."""
    times = {name: Times([], []) for name in rounds}
    for number in range(num_rounds + 1):
        for name, run in rounds.items():
            time.sleep(PAUSE if len(rounds) > 1 else 0)
            begin = time.perf_counter(), time.process_time()
            run()
            if number:
                times[name].wall.append(1e3 * (time.perf_counter() - begin[0]) / num_steps)
                times[name].cpu.append(1e3 * (time.process_time() - begin[1]) / num_steps)
    return times


def _import_torch_gan() -> Any:
    try:
        import torch_gan
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError("--against torch needs PyTorch, which is not installed: pip install torch") from None
    return torch_gan


def _in_torch(torch_gan: Any, setup: Setup, state: TrainState) -> Any:
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
    return torch_gan.TorchGan(state.params, config.image_shape, config.generator.latent_dim, settings)


def _to_torch(torch_gan: Any, batch: HostBatch) -> tuple[Any, Any]:
    return torch_gan.images_to_tensor(batch["image"]), torch_gan.to_tensor(batch["label"]).long()


def _latents(setup: Setup, key: Key) -> Any:
    """What our generator makes a batch of under a key."""
    keys = split_by_name(example_keys(key, setup.config.batch_size), "latent")["latent"]
    return normal(keys, (setup.config.generator.latent_dim,))


def _compare_step(torch_gan: Any, setup: Setup, theirs: Any, batch: HostBatch, ours: dict[str, float]) -> float:
    """Make the first step, with R1, on our batch and latents; the largest difference between the losses."""
    key = step_key(setup.root, 0)
    latents = [_latents(setup, jax.random.fold_in(jax.random.fold_in(key, number), 0)) for number in range(2)]
    losses = theirs.step(*_to_torch(torch_gan, batch), tuple(torch_gan.to_tensor(latent) for latent in latents))
    return max(abs(float(loss) - ours[name]) for name, loss in losses.items())


def _compare_outputs(torch_gan: Any, setup: Setup, state: TrainState, batch: HostBatch) -> float:
    """The largest difference between images and logits of the two, both with the weights that ours has learned."""
    theirs, algorithm, key = _in_torch(torch_gan, setup, state), setup.experiment.algorithm, jax.random.key(1)
    assert algorithm.sample is not None
    assert algorithm.evaluate is not None
    variables = {"params": state.params, "model_state": state.model_state}
    label = jnp.asarray(batch["label"])
    images = algorithm.sample(variables, key, len(label), label)
    logits = algorithm.evaluate(variables, {name: jnp.asarray(x) for name, x in batch.items()}, key)
    real, condition = _to_torch(torch_gan, batch)
    their_images = theirs.generator(torch_gan.to_tensor(_latents(setup, key)), condition).permute(0, 2, 3, 1)
    pairs = [(images, their_images), (logits["discriminator_logit"], theirs.discriminator(real, condition))]
    return max(float(np.abs(np.asarray(mine) - other.detach().numpy()).max()) for mine, other in pairs)


def _print_versions(torch_gan: Any, setup: Setup, args: argparse.Namespace) -> None:
    theirs = f", torch {torch_gan.torch.__version__} ({torch_gan.torch.get_num_threads()} threads)" if torch_gan else ""
    print(f"jax {jax.__version__}, flax {flax.__version__}, optax {optax.__version__}{theirs}")
    print(f"{os.cpu_count()} CPU cores, JAX on {jax.device_count()} {jax.default_backend()} device(s)")
    print(f"gan_digits, batch {setup.config.batch_size}, float32, {args.rounds} rounds of {args.steps} steps in turn\n")


def _print_times(times: dict[str, Times], num_params: dict[str, int], compile_seconds: float) -> None:
    print(f"{'':10}{'parameters':>12}{'ms a step':>12}{'fastest':>10}{'slowest':>10}{'CPU ms':>10}")
    for name, (wall, cpu) in times.items():
        figures = f"{statistics.median(wall):>12.1f}{min(wall):>10.1f}{max(wall):>10.1f}{statistics.median(cpu):>10.1f}"
        print(f"{name:10}{num_params[name]:>12,}{figures}")
    print(f"\nfirst step of aigc_jax, with compilation: {compile_seconds:.1f} s")
    if "torch" in times:
        ours, theirs = times["aigc_jax"], times["torch"]
        middle, cpu = (statistics.median(a) / statistics.median(b) for a, b in zip(ours, theirs, strict=True))
        least = min(ours.wall) / min(theirs.wall)
        print(f"step time aigc_jax / torch: {middle:.2f} (fastest rounds: {least:.2f}; CPU time: {cpu:.2f})")


if __name__ == "__main__":
    sys.exit(main())
