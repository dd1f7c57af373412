"""Checkpoints of former versions, in which each block of a transformer had parameters of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from aigc_jax.types import PyTree

BLOCK = "TransformerBlock_"
"""The former names of blocks, with their number; now they are one entry ``blocks`` with an axis of blocks in front."""


def has_separate_blocks(paths: Iterable[str]) -> bool:
    """Whether a saved state, whose arrays have these paths, has the former layout.

    >>> has_separate_blocks(["params/denoiser/TransformerBlock_0/out/bias"])
    True
    """
    return any(f"/{BLOCK}0/" in path for path in paths)


def with_separate_blocks(shapes: PyTree) -> PyTree:
    """The shapes of a state, of its optimiser too, in the former layout."""

    def separate(entries: dict[str, Any]) -> dict[str, Any]:
        blocks = entries["blocks"]
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), blocks)
        rest = {name: value for name, value in entries.items() if name != "blocks"}
        return rest | {f"{BLOCK}{number}": one for number in range(jax.tree.leaves(blocks)[0].shape[0])}

    return _map_entries(separate, "blocks", shapes)


def with_stacked_blocks(state: PyTree) -> PyTree:
    """A state of the former layout, of numpy arrays, in that of today."""

    def stack(entries: dict[str, Any]) -> dict[str, Any]:
        blocks = {name: value for name, value in entries.items() if name.startswith(BLOCK)}
        in_order = [blocks[f"{BLOCK}{number}"] for number in range(len(blocks))]
        rest = {name: value for name, value in entries.items() if name not in blocks}
        return rest | {"blocks": jax.tree.map(lambda *leaves: np.stack(leaves), *in_order)}

    return _map_entries(stack, f"{BLOCK}0", state)


def _map_entries(change: Callable[[dict[str, Any]], dict[str, Any]], name: str, tree: PyTree) -> PyTree:
    """Change every dictionary of a tree that has an entry of a name."""

    def has_entry(node: Any) -> bool:
        return isinstance(node, dict) and name in node

    return jax.tree.map(lambda node: change(node) if has_entry(node) else node, tree, is_leaf=has_entry)
