"""Batches from a data source: shuffle, shard, batch, normalise, prefetch, all on grain.

The order of the examples is one endless stream, each epoch a fresh permutation of all of them. Step t takes the t-th
``batch_size`` of it, process p the p-th equal slice of these. Every part is random access, so that the batch at step t
is a function of (seed, t) alone: a resumed run begins at its step without replaying the ones before, and another number
of processes sees the same global batches.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator

import grain
import numpy as np
from jaxtyping import Int

from aigc_jax.data.arrays import Arrays, as_source, take
from aigc_jax.data.images import IMAGE
from aigc_jax.types import DataSource, Modality, UsageError

# Epochs. Not grain's own endless repetition: its length, rounded up as a float, overflows for a batch of one.
_ENDLESS = 2**31

_PREFETCHED = 4  # batches


def batches(
    source: DataSource | Arrays,
    *,
    batch_size: int,
    seed: int,
    modality: Modality = IMAGE,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
) -> grain.DatasetIterator[dict[str, np.ndarray]]:
    """Endless training batches.

    Args:
        source: the examples: a data source, or arrays, ``(images, labels)`` or a mapping from ``image`` and ``label``.
        batch_size: examples in the global batch, over all processes.
        seed: the order; any integer.
        modality: the kind of the examples.
        start_step: the step whose batch comes first, >= 0.
        process_index: this process, as ``jax.process_index()``.
        process_count: processes that share the global batch, as ``jax.process_count()``.
        num_threads: threads that prepare batches ahead; 0 prepares none ahead.

    Returns:
        An iterator of ``{"example": [B, ...], "condition": int32 [B]}`` with B = batch_size / process_count; no
        ``condition`` where the source has no labels. Conditions are numbers here: an algorithm that takes prompts or
        embeddings is given ``experiment.to_batch(batch)``. ``get_state`` and ``set_state`` save and restore the
        position, counted from ``start_step``; ``close`` ends its threads.

    Raises:
        UsageError: ``batch_size`` exceeds the number of examples, or is not divisible by ``process_count``; or arrays
            are no examples of the modality.

    >>> from aigc_jax.data.digits import digits
    >>> batch = next(batches(digits().train, batch_size=64, seed=0))
    >>> batch["example"].shape, batch["example"].dtype, batch["condition"].shape
    ((64, 28, 28, 1), dtype('float32'), (64,))
    """
    source = as_source(source, modality)
    check_batch_size(len(source), batch_size, process_count)
    # grain shuffles epoch e by seed + e: without the checksum, a run's second epoch were its neighbour's first.
    order = grain.MapDataset.range(len(source)).shuffle(zlib.crc32(str(seed).encode())).repeat(_ENDLESS)
    shards = order.batch(batch_size // process_count)
    mine = shards[start_step * process_count + process_index :: process_count]
    loaded = mine.map(functools.partial(load, source, modality=modality))
    return iter(loaded.to_iter_dataset(grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=_PREFETCHED)))


def epoch(source: DataSource, batch_size: int, modality: Modality = IMAGE) -> Iterator[dict[str, np.ndarray]]:
    """All examples once, in order, for evaluation; the last batch may be smaller.

    >>> from aigc_jax.data.digits import digits
    >>> [len(batch["condition"]) for batch in epoch(digits().held_out, 400)]
    [400, 400, 200]
    """
    for start in range(0, len(source), batch_size):
        yield load(source, np.arange(start, min(start + batch_size, len(source))), modality)


def load(source: DataSource, indices: Int[np.ndarray, " batch"], modality: Modality = IMAGE) -> dict[str, np.ndarray]:
    """One batch of chosen examples: ``example`` as models see it and, where the source has labels, ``condition``."""
    fields = take(source, indices)
    if modality.name not in fields:
        raise UsageError(
            f"expected examples called {modality.name!r}, the data have {', '.join(fields)}: choose others"
        )
    batch = {"example": modality.load(fields[modality.name])}
    return {**batch, "condition": fields["label"]} if "label" in fields else batch


def check_batch_size(num_examples: int, batch_size: int, process_count: int = 1) -> None:
    """Refuse a global batch that the data cannot fill, or that the processes cannot share evenly."""
    if batch_size < 1 or batch_size > num_examples:
        raise UsageError(
            f"the batch size must be in 1 ... {num_examples}, the number of training examples, got {batch_size}: "
            f"pass --batch-size {min(64, num_examples)}"
        )
    if batch_size % process_count:
        raise UsageError(
            f"the batch size must be a multiple of the number of processes, got {batch_size} for {process_count}: "
            f"pass --batch-size {-(-batch_size // process_count) * process_count}"
        )
