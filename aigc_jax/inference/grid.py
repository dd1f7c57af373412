"""Samples shown during training: the same ones again and again while the model learns."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.rng import split_by_name
from aigc_jax.types import Experiment, Variables

MAX_CONDITIONS = 10
"""Conditions that are shown at most."""

ShownFn = Callable[[Variables], "np.ndarray | list[str] | None"]
"""``variables -> uint8 [H, W, 3]``, or a line of text per sample; None where samples cannot be shown."""


def make_show_fn(experiment: Experiment, seed: int) -> ShownFn | None:
    """A function that shows samples of the first ten conditions, always with the same key; None for no sampler."""
    sample_fn, modality, conditions = experiment.algorithm.sample, experiment.modality, experiment.conditions
    if sample_fn is None:
        return None
    key, num = split_by_name(jax.random.key(seed), "grid")["grid"], modality.num_shown
    ids = names = real = None
    if conditions is not None:
        names = conditions.names[:MAX_CONDITIONS]
        # Equally many of each condition, all of one together, as they are shown.
        num -= num % len(names)
        ids = np.repeat(np.arange(len(names), dtype=np.int32), num // len(names))
    if experiment.world is not None and modality.picture is None:
        real = modality.store(np.asarray(experiment.world.sample(key, num, None)))

    @jax.jit
    def sample(variables: Variables) -> jax.Array:
        condition = None if ids is None or conditions is None else conditions.array(jnp.asarray(ids))
        return sample_fn(variables, key, num, condition)

    def show(variables: Variables) -> np.ndarray | list[str] | None:
        samples = np.asarray(sample(variables))
        # A picture is drawn of a model that diverges too: its loss says so.
        samples = np.nan_to_num(samples) if np.issubdtype(samples.dtype, np.floating) else samples
        return modality.show(modality.store(samples), ids, names or (), real=real)

    return show
