"""Rematerialisation: activations that are computed again for gradients instead of being kept in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

import flax.linen as nn
import jax
from jax.extend.core import Primitive
from jax.extend.core.primitives import conv_general_dilated_p

from aigc_jax.types import UsageError

Remat = Literal["none", "dots", "full"]
"""What gradients compute again in each block: nothing; all but matrix products with weights and convolutions; all but
the block's input. Each needs less memory than the one before, and more time."""

ModuleClass = TypeVar("ModuleClass", bound=type[nn.Module])


def rematerialized(block: ModuleClass, kind: Remat, *, is_scanned: bool) -> ModuleClass:
    """A class of blocks whose gradients keep the chosen activations alone; parameters and results stay as they are.

    Reference:
        Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, section 3.
    """
    if kind not in get_args(Remat):
        raise UsageError(f"expected remat to be one of {', '.join(get_args(Remat))}, got {kind!r}: choose one")
    if kind == "none":
        return block
    policy: Callable[..., bool] | None = _is_product if kind == "dots" else None
    # The compiler cannot merge the two computations of a scanned block; elsewhere it must be told to leave both.
    transformed = nn.remat(block, prevent_cse=not is_scanned, policy=policy)
    transformed.__name__ = block.__name__  # by which Flax names its parameters
    return transformed


def _is_product(primitive: Primitive, *avals: Any, **params: Any) -> bool:
    """Whether a value is kept: products with weights, whose size is linear in the batch, but not those of attention."""
    if primitive is conv_general_dilated_p:
        return True
    return bool(jax.checkpoint_policies.dots_with_no_batch_dims_saveable(primitive, *avals, **params))
