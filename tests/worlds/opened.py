"""Worlds opened once for all tests, each of their functions compiled once, for one number of examples."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.rng import example_keys
from aigc_jax.types import World
from aigc_jax.worlds.catalog import open_world

NUM = 400


def fast_jit(function):
    """Compiled in half the time, for what runs once."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


class Opened(NamedTuple):
    """A world and its compiled functions.

    Attributes:
        world: the world.
        sample: ``keys [NUM] -> (examples without condition, examples of conditions i % num_modes)``.
        judge: ``examples [NUM, ...] -> (violation, mode)``.
    """

    world: World
    sample: object
    judge: object

    def examples(self):
        """Examples without condition, and with one, always the same."""
        return self.sample(example_keys(jax.random.key(0), NUM))

    def conditions(self):
        """The conditions of the latter."""
        return np.arange(NUM) % self.world.num_modes

    def judged(self, images):
        """Names of violations, and modes, of up to NUM images."""
        padded = np.concatenate([images, np.repeat(images[:1], NUM - len(images), axis=0)])
        violation, mode = self.judge(
            jnp.asarray(padded, None if np.issubdtype(padded.dtype, np.integer) else jnp.float32)
        )
        names = [self.world.violation_names[index] for index in violation]
        return names[: len(images)], mode[: len(images)].tolist()

    def names(self, images):
        """Names of violations alone."""
        return self.judged(np.stack(images))[0]


@functools.cache
def opened(name):
    """A world by its name."""
    return compiled(open_world(f"world:{name}"))


def compiled(world):
    """A world of any parameters."""
    condition = jnp.arange(NUM, dtype=jnp.int32) % world.num_modes
    sample = fast_jit(lambda keys: (world.sample(keys, NUM, None), world.sample(keys, NUM, condition)))
    return Opened(world, sample, fast_jit(lambda x: (world.violation(x), world.mode(x))))
