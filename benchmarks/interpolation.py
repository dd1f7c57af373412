"""Mode interpolation, what the sampler has to do with it, and two detectors of it.

Small networks learn mixtures of narrow Gaussians; a sample farther than six standard deviations from every mode is a
hallucination. The same denoiser is asked by the ancestral sampler and by DDIM, in all steps of its chain; the exact
denoiser of the mixture is asked too. Whatever was trained or drawn is kept in the folder --out and not made again.

Reference:
    Aithal et al., "Understanding Hallucinations in Diffusion Models through Mode Interpolation", 2024, sections 3 to 5.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from aigc_jax.algorithms.denoiser import PLAYER, Denoiser
from aigc_jax.algorithms.diffusion import diffusion
from aigc_jax.guards.renoise import renoise_stability
from aigc_jax.guards.trajectory import combine_observers, trajectory_variance
from aigc_jax.nets.mlp import MLPDenoiser
from aigc_jax.processes.gaussian import Process
from aigc_jax.processes.prediction import predict
from aigc_jax.processes.tables import discrete_linear
from aigc_jax.processes.times import uniform_times
from aigc_jax.rng import example_keys, split_by_name, step_key
from aigc_jax.samplers.sampling import Sampler, Sampling, make_sampler
from aigc_jax.types import Algorithm, Condition, DenoiseFn, PyTree, UsageError, World
from aigc_jax.worlds.mixture import gaussian_mixture
from benchmarks.interpolation_table import RADII, plot_rates, plot_samples, show

WINDOWS = ((0, 4), (0, 9), (0, 19), (0, 39), (0, 79), (10, 19), (20, 39), (40, 79))
"""Steps over which the variance is taken, counted from the data; (0, 9) is the released code's."""
RENOISE_STEPS = (1, 3, 8, 20)
"""Noise levels of the re-noise score, steps of the chain; the third is t = 2 where steps are counted from 0."""
CHAIN = 1000
"""Steps of the chain, in training and in sampling."""
CHUNK, BLOCK = 500, 5000
"""Training steps, and samples, that are compiled as one."""


class Mixture(NamedTuple):
    """Round modes of one size."""

    means: np.ndarray
    scale: float


class Setting(NamedTuple):
    """What is learned, and under which noise."""

    mixture: Mixture
    process: Process

    def world(self, radius: float = RADII[0]) -> World:
        """The data, with the judge of a radius in standard deviations."""
        return gaussian_mixture("mixture", self.mixture.means, self.mixture.scale, num_sigmas=float(radius))


class Budget(NamedTuple):
    """How much is computed."""

    num_steps: int
    batch_size: int
    num_samples: int


def settings() -> dict[str, Setting]:
    """The worlds of the paper under its schedule and under DDPM's."""
    unit = 0.05 * 0.05 + 8.0  # the variance of the grid before it is scaled to 1
    line = Mixture(np.array([[1.0], [2.0], [3.0]]), 0.05)
    ticks = 2.0 * np.arange(5) - 4.0
    grid = Mixture(np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2) / unit**0.5, 0.05 / unit**0.5)
    schedules = {"paper": (1e-3, 0.2), "standard": (1e-4, 0.02)}
    return {
        f"{world}-{name}": Setting(mixture, discrete_linear(CHAIN, *betas))
        for world, mixture in {"1d": line, "2d": grid}.items()
        for name, betas in schedules.items()
    }


def sampler_of(setting: Setting, name: str) -> Sampler:
    """A sampler by name over the whole chain; the ancestral one with the larger variance, as in the paper's code."""
    plan = Sampling(name, num_steps=CHAIN, variance="forward")  # pyright: ignore[reportArgumentType]
    return make_sampler(setting.process, plan, is_bounded=False)


def model_of(setting: Setting) -> tuple[Denoiser, Algorithm]:
    """The denoiser, and how it is trained."""
    process, shape = setting.process, setting.mixture.means.shape[1:]
    net = MLPDenoiser((128, 128, 128))
    denoiser = Denoiser(net, process, predict(process, "epsilon"), shape, bounds=None, num_levels=None)
    times = uniform_times(process, num_steps=CHAIN)
    make = make_sampler(process, Sampling("ddim", num_steps=CHAIN), is_bounded=False)
    return denoiser, diffusion(denoiser, tx=optax.adam(1e-3), sampler=make, time_sampler=times, ema_decay=None)


def train(setting: Setting, seed: int, budget: Budget) -> dict[str, PyTree]:
    """The weights of one training seed; all seeds learn from the same 50,000 points."""
    points = setting.world().sample(jax.random.key(0), 50_000, None)
    _, algorithm = model_of(setting)
    root = jax.random.key(seed)
    keys = split_by_name(root, "init", "draw", "train")

    def step(state: Any, number: Array) -> tuple[Any, Array]:
        chosen = jax.random.randint(step_key(keys["draw"], number), (budget.batch_size,), 0, len(points))
        state, metrics = algorithm.step(state, {"example": points[chosen]}, step_key(keys["train"], number))
        return state, metrics[f"{PLAYER}/loss"]

    run = jax.jit(lambda state, numbers: jax.lax.scan(step, state, numbers))
    state = algorithm.init(keys["init"], {"example": points[: budget.batch_size]})
    for first in range(0, budget.num_steps, CHUNK):
        state, losses = run(state, jnp.arange(first, min(first + CHUNK, budget.num_steps)))
        if first % (10 * CHUNK) == 0:
            print(f"    step {first}: loss {float(losses.mean()):.4f}", flush=True)
    return state.params


def judge_fn(setting: Setting, name: str, denoise: DenoiseFn) -> Callable[[Array], dict[str, Array]]:
    """Keys of samples -> the samples, whether each is a hallucination, and its trajectory's variance."""
    worlds = {radius: setting.world(radius) for radius in RADII}
    observer = combine_observers(
        {f"variance {first}-{last}": trajectory_variance((first, last)) for first, last in WINDOWS}
    )
    sampler = sampler_of(setting, name)

    def judge(keys: Array) -> dict[str, Array]:
        x, scores = sampler.observe(observer, denoise, setting.mixture.means.shape[1:], keys)
        far = {f"far {radius}": world.violation(x) != 0 for radius, world in worlds.items()}
        return {"x": x, "violation": worlds[RADII[0]].violation(x), **far, **scores}

    return jax.jit(judge)


@functools.cache
def renoise_fn(name: str) -> Callable[[PyTree, Array, Array], dict[str, Array]]:
    """Weights, samples and their keys -> the re-noise score at each level; compiled once for all seeds."""
    setting = settings()[name]
    levels = {f"renoise {step}": float(setting.process.noise_ratio(step / CHAIN)) for step in RENOISE_STEPS}

    def renoise(params: PyTree, x: Array, keys: Array) -> dict[str, Array]:
        denoise = at_one_time(model_of(setting)[0].denoise_fn({"params": params}))
        return {k: renoise_stability(setting.process, denoise, x, keys, level=level) for k, level in levels.items()}

    return jax.jit(renoise)


def exact(setting: Setting) -> DenoiseFn:
    """The denoiser that the world itself has."""
    process, perfect = setting.process, setting.world().denoise
    if perfect is None:
        raise UsageError("expected a world with an exact denoiser, got one without")
    return lambda x_t, t, condition: perfect(x_t, process.alpha(t), process.sigma(t), condition)


def at_one_time(denoise: DenoiseFn) -> DenoiseFn:
    """The same denoiser for samples that are all at one time, as a sampler's are: the network is told of it once.

    Most of its weights are in what it is told, so that it answers several times as fast.
    """

    def denoise_all(x_t: Array, t: Array, condition: Condition) -> Array:
        return jax.vmap(lambda one: denoise(one[None], t[:1], None)[0])(x_t)

    return denoise_all


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, np.ndarray]:
    """What a file holds; it is made first where there is none."""
    if not path.exists():
        begin = time.perf_counter()
        made = {name: np.asarray(value) for name, value in make().items()}
        made["seconds"] = np.asarray(time.perf_counter() - begin)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under another name first: an interrupted run leaves no half of a file.
        unfinished = path.with_suffix(".partial.npz")
        np.savez_compressed(unfinished, **made)  # pyright: ignore[reportArgumentType]  # no name is allow_pickle
        unfinished.replace(path)
        print(f"  {path.name}: {float(made['seconds']):.0f} s", flush=True)
    with np.load(path) as file:
        return dict(file)


def weights(folder: Path, name: str, seed: int, budget: Budget) -> dict[str, np.ndarray]:
    """The trained weights of a setting and seed, by name."""
    path = folder / f"{name}_seed{seed}_{budget.num_steps}x{budget.batch_size}.npz"
    setting = settings()[name]
    return kept(path, lambda: flatten_dict(train(setting, seed, budget), sep="/"))


def params_of(folder: Path, name: str, seed: int, budget: Budget) -> PyTree:
    """The trained weights as the network takes them."""
    flat = {k: v for k, v in weights(folder, name, seed, budget).items() if k != "seconds"}
    return unflatten_dict(flat, sep="/")


def samples(folder: Path, name: str, source: int | None, sampler: str, budget: Budget) -> dict[str, np.ndarray]:
    """Judged samples of a training seed, or of the exact denoiser (None), with all scores."""
    setting, root = settings()[name], jax.random.key(1000 + (source or 0))
    trained = "exact" if source is None else f"seed{source}_{budget.num_steps}x{budget.batch_size}"
    stem = f"{name}_{trained}_{sampler}_{budget.num_samples}"

    def draw() -> dict[str, Any]:
        denoise = exact(setting)
        if source is not None:
            params = params_of(folder, name, source, budget)
            denoise = at_one_time(model_of(setting)[0].denoise_fn({"params": params}))
        judge = judge_fn(setting, sampler, denoise)
        return in_blocks(lambda index: judge(example_keys(root, index)), budget.num_samples)

    drawn = kept(folder / f"{stem}.npz", draw)
    drawn["mode"] = np.asarray(setting.world().mode(jnp.asarray(drawn["x"])))
    if source is None:
        return drawn

    def score() -> dict[str, Any]:
        params, x = params_of(folder, name, source, budget), jnp.asarray(drawn["x"])
        renoise = renoise_fn(name)
        return in_blocks(lambda index: renoise(params, x[index], example_keys(root, index)), len(x))

    return drawn | kept(folder / f"{stem}_renoise.npz", score)


def in_blocks(make: Callable[[Array], dict[str, Array]], num: int) -> dict[str, np.ndarray]:
    """Of 0 ... num - 1 what a function makes of each, in blocks of one size, so that nothing compiles twice."""
    size = min(BLOCK, num)
    blocks = [make(jnp.minimum(start + jnp.arange(size), num - 1)) for start in range(0, num, size)]
    # The last block's surplus is left out.
    return {k: np.concatenate([np.asarray(block[k]) for block in blocks])[:num] for k in blocks[0]}


def register(commands: Any) -> None:
    """Add the subcommand ``interpolation``."""
    parser = commands.add_parser("interpolation", help="mode interpolation under two samplers, with detectors of it")
    known = list(settings())
    parser.add_argument("--settings", nargs="+", choices=known, default=known, help="world and schedule")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="training seeds")
    parser.add_argument("--steps", type=int, default=10_000, help="training steps")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--num-samples", type=int, default=20_000, help="of each sampler and seed")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and judged samples")
    parser.add_argument("--plots", type=Path, default=None, help="folder for interpolation_rates.png and _samples.png")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compute what is missing, print the tables, and plot the rates."""
    budget = Budget(args.steps, args.batch_size, args.num_samples)
    judged: dict[tuple[str, int | None, str], dict[str, np.ndarray]] = {}
    for name in args.settings:
        for source in [*args.seeds, None]:
            for sampler in ("ancestral", "ddim"):
                judged[name, source, sampler] = samples(args.out, name, source, sampler, budget)
    show(judged)
    if args.plots is not None:
        args.plots.mkdir(parents=True, exist_ok=True)
        for name, figure in {"rates": plot_rates(judged), "samples": plot_samples(judged)}.items():
            if figure is not None:
                figure.savefig(args.plots / f"interpolation_{name}.png", dpi=90)
    return 0
