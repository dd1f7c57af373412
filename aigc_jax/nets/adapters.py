"""Adapters: a few new weights that change a network whose own weights stay as they are.

An adapter is a pair of pure functions of parameters, so that training, sampling and export share one ``merge``; the
network knows of it no more than of other weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aigc_jax.types import Key, PyTree, UsageError


class Adapter(NamedTuple):
    """A way to change frozen weights by new ones.

    Attributes:
        split: ``(key, parameters) -> (base, adapter)``, the weights of a network without the adapter, and new ones.
        merge: ``(base, adapter) -> parameters`` with which the network is applied.
        is_plain: whether these are parameters of the network without an adapter too, and can take its place.
    """

    split: Callable[[Key, PyTree], tuple[PyTree, PyTree]]
    merge: Callable[[PyTree, PyTree], PyTree]
    is_plain: bool


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adaptation."""

    rank: int = 8
    """Rank of the change of each matrix."""
    alpha: float = 16.0
    """The change is weighted by alpha / rank."""
    pattern: str = "(query|value)/kernel$"
    """Regular expression of the paths of matrices that change, such as blocks/query/kernel."""


def lora(settings: LoraSettings) -> Adapter:
    """Low-rank adaptation: W + (alpha / r) A B of matrices W [..., in, out], A at random and B zero.

    Matrices of all blocks of a scan are one array [depth, in, out]: each has a change of its own.

    Reference:
        Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022, equation 3.

    >>> base = {"query": {"kernel": jnp.ones((2, 3))}}
    >>> _, new = lora(LoraSettings(rank=1)).split(jax.random.key(0), base)
    >>> jax.tree.map(jnp.shape, new)
    {'query': {'kernel': {'A': (2, 1), 'B': (1, 3)}}}
    """
    if settings.rank < 1:
        raise UsageError(f"expected a rank >= 1, got {settings.rank}: 8 is usual")
    try:
        pattern = re.compile(settings.pattern)
    except re.error as error:
        raise UsageError(
            f"expected a pattern of paths, got {settings.pattern!r} ({error}): mend --lora.pattern"
        ) from None

    def split(key: Key, base: PyTree) -> tuple[PyTree, PyTree]:
        found: dict[str, Any] = {}
        leaves = jax.tree.leaves_with_path(base)
        paths = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
        chosen = [path for path, leaf in paths.items() if pattern.search(path) and leaf.ndim > 1]
        if not chosen:
            raise UsageError(
                f"no matrix has a path like {settings.pattern!r}: set --lora.pattern to match some of "
                f"{', '.join(path for path, leaf in paths.items() if leaf.ndim > 1)}"
            )
        for number, path in enumerate(chosen):
            *lead, num_in, num_out = paths[path].shape
            a = jax.random.normal(jax.random.fold_in(key, number), (*lead, num_in, settings.rank)) * num_in**-0.5
            entries, (*parents, name) = found, path.split("/")
            for parent in parents:
                entries = entries.setdefault(parent, {})
            entries[name] = {"A": a, "B": jnp.zeros((*lead, settings.rank, num_out))}
        return base, found

    def merge(base: PyTree, adapter: PyTree) -> PyTree:
        if not isinstance(base, dict):
            # In float32, however the network computes: a change is much smaller than its weight.
            change = jnp.matmul(adapter["A"], adapter["B"], precision="highest")
            return base + (settings.alpha / settings.rank) * change
        return {name: merge(entry, adapter[name]) if name in adapter else entry for name, entry in base.items()}

    return Adapter(split, merge, is_plain=True)


PROMPT = "prompt"
"""The entry of a decoder's parameters for the embeddings of a soft prompt."""


def soft_prompt(num_tokens: int) -> Adapter:
    """Embeddings [n, D] that all tokens see, of a decoder with as many ``num_prompt_tokens``.

    Reference:
        Lester, Al-Rfou, Constant, "The Power of Scale for Parameter-Efficient Prompt Tuning", 2021, section 2.
    """
    if num_tokens < 1:
        raise UsageError(f"expected a soft prompt of at least one token, got {num_tokens}: 20 is usual")

    def split(key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        del key
        return {name: entry for name, entry in params.items() if name != PROMPT}, {PROMPT: params[PROMPT]}

    return Adapter(split, lambda base, adapter: {**base, **adapter}, is_plain=False)


def with_head(adapter: Adapter, name: str) -> Adapter:
    """An adapter that trains one entry of the network as a whole besides, such as the new head of a classifier.

    >>> adapter = with_head(lora(LoraSettings(rank=1)), "out")
    >>> params = {"query": {"kernel": jnp.ones((2, 3))}, "out": {"kernel": jnp.ones((3, 2))}}
    >>> base, new = adapter.split(jax.random.key(0), params)
    >>> list(base), list(new)
    (['query'], ['query', 'out'])
    """

    def split(key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        base, new = adapter.split(key, {each: entry for each, entry in params.items() if each != name})
        return base, {**new, name: params[name]}

    def merge(base: PyTree, new: PyTree) -> PyTree:
        return {**adapter.merge(base, {each: entry for each, entry in new.items() if each != name}), name: new[name]}

    return Adapter(split, merge, adapter.is_plain)
