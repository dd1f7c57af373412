"""Parts of all benchmarks: the training step as the trainer runs it, rounds in turn, medians, tables."""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import optax

from aigc_jax.data.pipeline import batches
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.parallel import HostBatch, Parallel, make_parallel
from aigc_jax.types import Algorithm, Batch, Experiment, Key, TrainState, UsageError

TOLERANCE = 1e-4
"""The largest difference between two libraries that compute the same: float32, summed in another order."""
PAUSE = 0.3
"""Seconds between rounds, until the other library's idle threads no longer spin."""


class Ours:
    """A training step as the trainer runs it: compiled, the state donated, the batches on the devices.

    Attributes:
        state: the state after the steps made so far.
        compile_seconds: the first step, with its tracing and compilation.
        first: the metrics of the first step.
    """

    def __init__(self, algorithm: Algorithm, parallel: Parallel, start: TrainState, root: Key, first: Batch) -> None:
        self._step, self._root = parallel.compile_step(algorithm.step), parallel.put_state(root)
        self.state, begin = parallel.put_state(start), time.perf_counter()
        self.state, metrics = jax.block_until_ready(self._step(self.state, first, self._root))
        self.compile_seconds = time.perf_counter() - begin
        self.first = {name: float(value) for name, value in metrics.items()}

    def run(self, batches: Sequence[Batch]) -> None:
        """Make a step on each batch, and wait for the last."""
        for batch in batches:
            self.state, _ = self._step(self.state, batch, self._root)
        jax.block_until_ready(self.state)


class Setup(NamedTuple):
    """What a benchmark starts from.

    Attributes:
        config: the settings of a shipped experiment.
        experiment: what they build.
        parallel: how the step is run.
        root: the key of the run.
        start: the state before the first step.
    """

    config: Any
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


def make_setup(module: ModuleType, config: TrainConfig) -> Setup:
    """Build an experiment and its first state.

    Args:
        module: a config module.
        config: its settings.

    Returns:
        What a benchmark starts from.
    """
    experiment, root = module.build(config), jax.random.key(config.seed)
    empty = {name: jnp.zeros(spec.shape, spec.dtype) for name, spec in experiment.batch_spec.items()}
    start = jax.jit(experiment.algorithm.init)(root, empty)
    return Setup(config, experiment, make_parallel(config.parallel), root, start)


def disturbed(state: TrainState) -> TrainState:
    """A state whose weights are all in use: those that begin at 0 would hide what comes before them."""
    leaves, tree = jax.tree.flatten(state.params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    noisy = [leaf + 0.02 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return state.replace(params=jax.tree.unflatten(tree, noisy))


def num_params(state: TrainState) -> int:
    """The number of trained weights."""
    return sum(leaf.size for leaf in jax.tree.leaves(state.params))


class Times(NamedTuple):
    """Milliseconds per step, one entry for each round.

    Attributes:
        wall: by the clock on the wall.
        cpu: of all cores together, idle threads that spin included: what other programs disturb least.
    """

    wall: list[float]
    cpu: list[float]


def time_rounds(rounds: Mapping[str, Callable[[], None]], num_steps: int, num_rounds: int) -> dict[str, Times]:
    """Time rounds, the libraries in turn, after one round each to warm up.

    Args:
        rounds: what makes a round, by library.
        num_steps: steps in a round, by which its time is divided.
        num_rounds: rounds that count.

    Returns:
        The times by library.
    """
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


def import_torch(name: str) -> Any:
    """Import a module of this folder that needs PyTorch.

    Args:
        name: "torch_gan" or "torch_unet".

    Returns:
        The module.

    Raises:
        UsageError: PyTorch is not installed.
    """
    try:
        return importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError("--against torch needs PyTorch, which is not installed: pip install torch") from None


def torch_device(torch: Any) -> Any:
    """The device of PyTorch that JAX computes on too.

    Args:
        torch: the module.

    Returns:
        A ``torch.device``.

    Raises:
        UsageError: PyTorch computes elsewhere, or JAX on several devices: the times could not be compared.
    """
    ours = jax.devices()
    if len(ours) > 1:
        raise UsageError(
            f"JAX computes on {len(ours)} devices, PyTorch on one: set CUDA_VISIBLE_DEVICES=0 to compare them on one"
        )
    if ours[0].platform == "cpu":
        return torch.device("cpu")
    theirs = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "the CPU"
    if theirs != ours[0].device_kind:
        raise UsageError(
            f"JAX computes on {ours[0].device_kind}, PyTorch on {theirs}: install a PyTorch for the same device, or "
            "set JAX_PLATFORMS=cpu to compare both on the CPU"
        )
    if torch.get_float32_matmul_precision() == "highest":
        torch.set_float32_matmul_precision("high")  # float32 products by tensor cores, as JAX has them
    return torch.device("cuda", 0)


def print_versions(torch: Any, name: str, args: argparse.Namespace, *, batch_size: int, dtype: str = "float32") -> None:
    """Print libraries, device and sizes; ``torch`` is the module, or None."""
    other = f", torch {torch.__version__} ({torch.get_num_threads()} threads)" if torch else ""
    print(f"jax {jax.__version__}, flax {flax.__version__}, optax {optax.__version__}{other}")
    kind = jax.devices()[0].device_kind
    print(f"{os.cpu_count()} CPU cores; computed on {jax.device_count()} {jax.default_backend()} device(s), {kind}")
    print(f"{name}, batch {batch_size}, {dtype}, {args.rounds} rounds of {args.steps} steps in turn\n")


def print_times(times: Mapping[str, Times], sizes: Mapping[str, int], what: str = "step time") -> None:
    """The table of times, and their ratio where there are two."""
    print(f"{'':16}{'parameters':>12}{'ms a step':>12}{'fastest':>10}{'slowest':>10}{'CPU ms':>10}")
    for name, (wall, cpu) in times.items():
        figures = f"{statistics.median(wall):>12.1f}{min(wall):>10.1f}{max(wall):>10.1f}{statistics.median(cpu):>10.1f}"
        print(f"{name:16}{sizes[name]:>12,}{figures}")
    ours = times["aigc_jax"]
    for name, theirs in times.items():
        if name != "aigc_jax":
            middle, cpu = (statistics.median(a) / statistics.median(b) for a, b in zip(ours, theirs, strict=True))
            least = min(ours.wall) / min(theirs.wall)
            print(f"{what} aigc_jax / {name}: {middle:.2f} (fastest rounds: {least:.2f}; CPU time: {cpu:.2f})")


def verdict(sizes: Mapping[str, int], differences: Mapping[str, float], tolerance: float = TOLERANCE) -> int:
    """Print how far the two libraries' numbers differ; 1 where that is too far for their times to be compared."""
    for what, difference in differences.items():
        print(f"same {what}: max difference {difference:.1e}")
    is_same = len(set(sizes.values())) == 1 and all(d < tolerance for d in differences.values())
    if not is_same:
        print("benchmarks: the two do not compute the same, so their times say nothing", file=sys.stderr)
    return 0 if is_same else 1


def positive(text: str) -> int:
    """A number of 1 or more, of the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number
