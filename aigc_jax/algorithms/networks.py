"""Checks of the networks and conditions of users: one line with the expected and the actual value."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from aigc_jax.processes.gaussian import expand
from aigc_jax.types import Batch, Condition, Key, Keys, PyTree, UsageError

Expected = tuple[Any, ...]
"""The shape of one array, None where any number does; or a tuple of such shapes for a tuple of arrays."""


def init_network(
    role: str,
    module: nn.Module,
    key: Key,
    *inputs: Array | None,
    expected: Expected,
    meaning: str,
    num_classes: int | None = None,
    has_state: bool = False,
    axis_name: str | None = None,
    **options: Any,
) -> PyTree:
    """Initialise a network, and check that its inputs and outputs are those of its method.

    ``role`` is its name in the method, ``expected`` the shape of its output, ``meaning`` the output in words. Its own
    field ``num_classes`` must equal that of the method, if given. ``has_state`` methods carry collections besides the
    parameters, such as those of batch norm, which is averaged over ``axis_name``.

    >>> x = jnp.zeros((2, 3))
    >>> init_network("net", nn.Dense(4), jax.random.key(0), x, expected=(2, 5), meaning="logits")
    Traceback (most recent call last):
    ...
    aigc_jax.types.UsageError: the net Dense must return logits of shape [2, 5], got [2, 4]: change one of them
    """
    _check_module(role, module, inputs, options)
    name = f"{role} {type(module).__name__}"
    own_classes = getattr(module, "num_classes", num_classes)
    if num_classes is not None and own_classes != num_classes:
        raise UsageError(
            f"the {name} has {own_classes} classes, its method {num_classes}: give both the same num_classes"
        )
    output, variables = module.init_with_output(key, *inputs, **options)
    if not _fits(output, expected):
        raise UsageError(
            f"the {name} must return {meaning} of shape {_shape(expected)}, got {_describe(output)}: change one of them"
        )
    state = sorted(set(variables) - {"params"})
    if state and not has_state:
        raise UsageError(
            f"the {name} keeps {' and '.join(state)}, which this method does not carry: use layer or group norm"
        )
    try:
        # At initialisation Flax takes the key of the parameters for any other, so only this finds random layers.
        # vmap stands in for the devices, of which there are none before training.
        apply = functools.partial(module.apply, mutable=state, **options)
        jax.eval_shape(jax.vmap(apply, in_axes=None, axis_size=1, axis_name=axis_name), variables, *inputs)
    except flax.errors.InvalidRngError as error:
        raise UsageError(
            f"the {name} draws random numbers of its own, for which steps have no key: "
            "use aigc_jax.nets.dropout.Dropout, or no dropout"
        ) from error
    return {"params": {}, **variables}


def example_of(batch: Batch, *kinds: type) -> Array:
    """The examples of a batch, of one of the kinds of numbers that a method takes (floats): known when it is traced."""
    example, kinds = batch["example"], kinds or (jnp.floating,)
    if not any(jnp.issubdtype(example.dtype, kind) for kind in kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise UsageError(
            f"this model takes examples of dtype {wanted}, got {example.dtype}: load them as their modality does, "
            "images by aigc_jax.data.images.to_float"
        )
    return example


def condition_of(batch: Batch, num_classes: int) -> Condition:
    """The condition of each example of a batch, None for an unconditional model."""
    if num_classes and "condition" not in batch:
        found = ", ".join(map(repr, batch))
        raise UsageError(f"this model has {num_classes} classes, but the batch has {found} and no 'condition': add it")
    return batch["condition"] if num_classes else None


def hide_at_random(condition: Condition, keys: Keys, probability: float, null: int) -> Condition:
    """Conditions [B, ...], each filled with ``null``, "no condition", with a probability: as guidance fills them."""
    if condition is None or probability == 0:
        return condition
    is_hidden = jax.vmap(lambda key: jax.random.bernoulli(key, probability))(keys)
    return jnp.where(expand(is_hidden, condition), null, condition)


def as_condition(condition: Any, num: int, num_classes: int, *, num_values: int | None = None) -> Condition:
    """The condition of each of ``num`` samples, from one for each or one for all; None for an unconditional model.

    ``num_values`` counts "no condition" too, where it is a class.
    """
    if (condition is not None) != bool(num_classes):
        wanted = "a condition for each sample" if num_classes else "no condition"
        raise UsageError(f"this model takes {wanted}: it was trained with {num_classes} classes")
    if condition is None:
        return None
    condition = jnp.asarray(condition)
    if condition.ndim == 0:
        condition = jnp.full((num,), condition, jnp.int32)
    if condition.shape[0] != num:
        raise UsageError(
            f"expected a condition for each of {num} samples, got {condition.shape[0]}: give {num}, or one"
        )
    limit = num_classes if num_values is None else num_values
    if condition.ndim == 1 and not isinstance(condition, jax.core.Tracer) and num:
        values = np.asarray(condition)  # also where a jitted function closes over it
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= limit:
            raise UsageError(f"classes are 0 ... {num_classes - 1}, got {low if low < 0 else high}: pass one of them")
    return condition


def _check_module(role: str, module: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
    if not isinstance(module, nn.Module):
        kind = type(module) if not isinstance(module, type) else module
        name, is_nnx = kind.__name__, any(each.__module__.startswith("flax.nnx") for each in kind.__mro__)
        advice = "pass flax.nnx.bridge.to_linen of its class" if is_nnx else "pass one"
        raise UsageError(f"the {role} must be a Flax Linen module, got {name}{' of NNX' if is_nnx else ''}: {advice}")
    signature = inspect.signature(module.__call__)
    try:
        signature.bind(*inputs, **options)
    except TypeError as error:
        keywords = f" and the keyword {', '.join(options)}" if options else ""
        raise UsageError(
            f"the {role} {type(module).__name__} must take {len(inputs)} inputs{keywords}, got {signature}: {error}"
        ) from None


def _fits(output: Any, expected: Expected) -> bool:
    if expected and isinstance(expected[0], tuple):
        is_tuple = isinstance(output, tuple | list) and len(output) == len(expected)
        return is_tuple and all(_fits(*pair) for pair in zip(output, expected, strict=True))
    shape = getattr(output, "shape", None)
    return (
        shape is not None
        and len(shape) == len(expected)
        and all(wanted in (None, size) for size, wanted in zip(shape, expected, strict=True))
    )


def _shape(expected: Expected) -> str:
    if expected and isinstance(expected[0], tuple):
        return f"({', '.join(map(_shape, expected))})"
    return f"[{', '.join('any' if size is None else str(size) for size in expected)}]"


def _describe(output: Any) -> str:
    if isinstance(output, tuple | list):
        return f"a tuple of {len(output)}: ({', '.join(map(_describe, output))})"
    return f"[{', '.join(map(str, output.shape))}]" if hasattr(output, "shape") else type(output).__name__
