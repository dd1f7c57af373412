"""Compilation and step time of a diffusion transformer by its depth, its blocks scanned or unrolled."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.configs import dit_mnist  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.runs import replaced
from aigc_jax.train.loop import initial_state, training_step
from benchmarks.common import num_params, print_versions, time_rounds

UNROLL = {"scanned": 1, "unrolled": 0}


class Step:
    """A compiled training step of a transformer of images, and its state.

    Attributes:
        state: the state after the steps made so far.
        seconds: tracing and compilation, by the clock on the wall and by CPU time.
    """

    def __init__(self, depth: int, unroll: int, args: argparse.Namespace) -> None:
        net = {"patch_size": 4, "width": args.width, "depth": depth, "dtype": "float32", "unroll": unroll}
        config = replaced(dit_mnist.Config(), {"batch_size": args.batch_size, "parallel": "jit", "net": net})
        experiment = dit_mnist.build(config)
        self.state, self._key = initial_state(experiment, 0), jax.random.key(0)
        image = np.random.default_rng(0).normal(size=(args.batch_size, 28, 28, 1)).astype(np.float32)
        self._batch = {"example": jnp.asarray(image), "condition": jnp.arange(args.batch_size) % 10}
        step, begin = jax.jit(training_step(experiment), donate_argnums=0), (time.perf_counter(), time.process_time())
        self._step: Any = step.lower(self.state, self._batch, self._key).compile()
        self.seconds = time.perf_counter() - begin[0], time.process_time() - begin[1]

    def run(self, num_steps: int) -> None:
        """Make steps, and wait for the last."""
        for _ in range(num_steps):
            self.state, _ = self._step(self.state, self._batch, self._key)
        jax.block_until_ready(self.state)


def run(args: argparse.Namespace) -> int:
    """Print the times of each depth; steps of both kinds are timed in turn."""
    print_versions(None, f"dit_mnist of width {args.width}", args, batch_size=args.batch_size)
    print(f"{'blocks':14}{'parameters':>14}{'compile s':>11}{'its CPU s':>11}{'step ms':>10}{'its CPU ms':>12}")
    for depth in args.depths:
        steps = {name: Step(depth, unroll, args) for name, unroll in UNROLL.items()}
        rounds = {name: (lambda step=step: step.run(args.steps)) for name, step in steps.items()}
        times = time_rounds(rounds, args.steps, args.rounds)
        for name, step in steps.items():
            wall, cpu = (statistics.median(each) for each in times[name])
            seconds = f"{step.seconds[0]:>11.1f}{step.seconds[1]:>11.1f}"
            print(f"{f'{depth} {name}':14}{num_params(step.state):>14,}{seconds}{wall:>10.0f}{cpu:>12.0f}", flush=True)
    return 0
