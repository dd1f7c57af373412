"""Tiny games with everything a real method has: noise per example, two players, batch statistics, averages."""

from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aigc_jax import rng
from aigc_jax.data.images import IMAGE
from aigc_jax.players import init_state, make_step
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.parallel import axis_name
from aigc_jax.types import Algorithm, Conditions, Data, Experiment, Player

SHAPE = (4, 4, 1)


class Game(NamedTuple):
    """How a toy game is played."""

    num_players: int = 2
    num_updates: int = 1
    num_microbatches: int = 1
    ema_decay: float | None = 0.9


TWO_PLAYERS = Game()


@dataclass(frozen=True)
class ToyConfig(TrainConfig):
    steps: int = 6
    batch_size: int = 8
    log_every: int = 1
    sample_every: int = 0
    checkpoint_every: int = 2


def loss_fn(name, sign, axis):
    def loss(params, model_state, batch, key):
        noise = rng.normal(rng.example_keys(key, batch["index"]), (16,))
        x = batch["example"].reshape(-1, 16) + 0.1 * noise
        kept = noise < 0.8  # a dropout
        mean = jnp.mean(x, axis=0)
        # One player averages its statistics over the devices by itself, the other leaves that to make_step.
        if name == "a" and axis is not None:
            mean = jax.lax.pmean(mean, axis)
        own = model_state[name]
        # One entry is averaged over time, one is overwritten, one is a constant: each has another type for scan.
        own = {"mean": 0.9 * own["mean"] + 0.1 * mean, "last": mean, "one": jnp.int32(1)}
        rest = sum(params[other]["w"] for other in params)
        losses = sign * jnp.where(kept, x, 0.0) @ params[name]["w"]
        losses = losses + 0.5 * jnp.sum(jnp.square(params[name]["w"])) + jnp.square(x @ rest) / 16
        return losses, ({**model_state, name: own}, {"first": x[:, 0], "norm": jnp.sum(jnp.square(rest))})

    return loss


def algorithm(game=TWO_PLAYERS, mode="pmap", tx=None):
    axis = axis_name(mode)
    names = ["a", "b"][: game.num_players]
    players = [
        Player(name, loss_fn(name, sign, axis), tx or optax.sgd(0.1), updates)
        for name, sign, updates in zip(names, (1.0, -1.0), (game.num_updates, 1), strict=False)
    ]

    def init(key, batch):
        keys = rng.split_by_name(key, *names)
        params = {name: {"w": jax.random.normal(keys[name], (16,))} for name in names}
        own = {"mean": jnp.zeros(16), "last": jnp.zeros(16), "one": jnp.int32(0)}
        return init_state(players, params, {name: dict(own) for name in names}, ema_names=names[:1])

    def sample(variables, key, num_samples, condition):
        noise = rng.normal(rng.example_keys(key, num_samples), SHAPE)
        shift = 0.0 if condition is None else condition[:, None, None, None].astype(jnp.float32) / 5 - 1
        return jnp.clip(noise * 0.1 + shift + variables["params"]["a"]["w"].reshape(1, *SHAPE), -1, 1)

    step = make_step(players, ema_decay=game.ema_decay, axis_name=axis, num_microbatches=game.num_microbatches)
    return Algorithm(init, step, sample)


def experiment(game=TWO_PLAYERS, mode="pmap", tx=None, num_classes=3):
    spec = {"example": jax.ShapeDtypeStruct((8, *SHAPE), jnp.float32)}
    conditions = None if num_classes is None else Conditions([str(i) for i in range(num_classes)])
    return Experiment(algorithm(game, mode, tx), lambda: Data("toy", [], [], ()), spec, IMAGE, conditions)


def batch_at(step, size=8, bad_step=None):
    image = np.random.default_rng(step).normal(size=(size, *SHAPE)).astype(np.float32)
    if step == bad_step:
        image[3] = np.nan
    return {"example": image}


def batches(start_step, *, size=8, bad_step=None):
    """The batch of step t is a function of t, as the pipeline promises."""
    for step in count(start_step):
        yield batch_at(step, size, bad_step)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
