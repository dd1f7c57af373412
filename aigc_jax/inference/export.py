"""The sampler of a trained model as a ``jax.export`` artifact: StableHLO that runs without this library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from aigc_jax.data.files import visible
from aigc_jax.inference.sampling import make_block_fn
from aigc_jax.rng import split_by_name
from aigc_jax.tree import named_arrays
from aigc_jax.types import Experiment, UsageError, Variables

PLATFORMS = ("cpu", "cuda", "tpu")

Weights = Mapping[str, Any]
"""``{path: array}`` of all weights, see :func:`aigc_jax.tree.named_arrays`."""


def export_sampler(experiment: Experiment, variables: Variables, num: int) -> jax.export.Exported:
    """Export ``(weights, seed uint32 [], start int32 [], condition int32 [num]) -> samples [num, ...]``.

    The weights are an argument: the program is small, and equal to the one that samples here. Samples start ...
    start + num - 1 are those of ``aigc-jax sample`` of that seed. An unconditional model takes no condition. Where a
    kernel of the sampler has not all platforms, it is exported for this machine's alone.
    """
    if experiment.algorithm.sample is None:
        raise UsageError("this run holds a model that draws no samples (a classifier): use --format safetensors")
    structure = jax.tree.structure(variables)
    arrays, block = named_arrays(variables), make_block_fn(experiment, num)

    def draw(weights: Weights, seed: jax.Array, start: jax.Array, *condition: jax.Array) -> jax.Array:
        own = jax.tree.unflatten(structure, [weights[name] for name in arrays])
        key = split_by_name(jax.random.key(seed), "sample")["sample"]
        return block(own, key, start + jnp.arange(num, dtype=jnp.int32), condition[0] if condition else None)

    shapes: list[Any] = [
        {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()},
        jax.ShapeDtypeStruct((), np.uint32),
        jax.ShapeDtypeStruct((), np.int32),
    ]
    if experiment.conditions is not None:
        shapes.append(jax.ShapeDtypeStruct((num,), np.int32))
    compiled = jax.jit(draw)
    try:
        return jax.export.export(compiled, platforms=PLATFORMS)(*shapes)
    except Exception as error:  # a kernel that one platform alone has
        here = jax.default_backend().replace("gpu", "cuda")
        try:
            return jax.export.export(compiled, platforms=(here,))(*shapes)
        except Exception:
            raise UsageError(
                f"this sampler cannot be exported ({type(error).__name__}: {visible(str(error))[:200]}): use --format "
                "safetensors"
            ) from error
