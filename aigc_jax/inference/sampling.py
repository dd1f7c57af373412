"""Functions of a trained model: samples and encodings.

Sampling is such that sample i depends on (weights, seed, i, condition) alone.

Samples are computed in blocks of a fixed size that begin at multiples of it. So the same compiled program
computes sample i whatever ``--num`` is, and the result is equal bit for bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Experiment, UsageError, Variables

BLOCK = 64

SampleBlocksFn = Callable[[int, np.ndarray | None, int], np.ndarray]
"""``(start, condition [num] or None, num) -> float32 [num, ...]``: samples start ... start + num - 1."""

CompiledSampler = Callable[[Variables, int], SampleBlocksFn]
"""``(variables, seed) -> sample_fn``: one program for all weights and seeds."""

ENCODE_BLOCK = 256
"""Examples that a network is evaluated on at once: fewer are padded, so that there is one program."""


def check_seed(seed: int) -> None:
    """Refuse a seed that no key can have.

    >>> check_seed(0)
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"expected 0 <= seed < 2**32, got {seed}: pass another --seed")


def make_sample_fn(
    experiment: Experiment, variables: Variables, seed: int, *, block_size: int = BLOCK, num_devices: int = 1
) -> SampleBlocksFn:
    """A function that draws any range of the endless sequence of samples of one seed.

    ``block_size`` samples are computed at once, on ``num_devices``; neither changes a sample but by rounding.
    """
    return compile_sampler(experiment, block_size=block_size, num_devices=num_devices)(variables, seed)


def compile_sampler(experiment: Experiment, *, block_size: int = BLOCK, num_devices: int = 1) -> CompiledSampler:
    """As :func:`make_sample_fn`, for several weights or seeds of one model, which share the compiled program."""
    block = jax.jit(make_block_fn(experiment, block_size))

    def spread(index: jax.Array, ids: jax.Array | None) -> Any:
        if num_devices == 1:
            return index, ids
        # Where the keys lie decides where the samples are computed.
        mesh = jax.make_mesh(
            (num_devices,), ("block",), axis_types=(AxisType.Auto,), devices=jax.local_devices()[:num_devices]
        )
        return jax.device_put((index, ids), NamedSharding(mesh, PartitionSpec("block")))

    def bind(variables: Variables, seed: int) -> SampleBlocksFn:
        key = sample_key(seed)
        return blockwise(lambda index, ids: block(variables, key, *spread(index, ids)), block_size)

    return bind


def make_block_fn(experiment: Experiment, block_size: int = BLOCK) -> Callable[..., jax.Array]:
    """``(variables, key, index [block_size], condition numbers or None) -> samples``: the program of all samples."""
    sample = experiment.algorithm.sample
    if sample is None:
        raise UsageError("this run holds a model that draws no samples (a classifier): name the run of a generator")

    def block(variables: Variables, key: jax.Array, index: jax.Array, ids: jax.Array | None) -> jax.Array:
        return sample(variables, example_keys(key, index), block_size, experiment.to_condition(ids))

    return block


def compile_sampler_family(
    experiment_of: Callable[[jax.Array], Experiment], variables: Variables, seed: int
) -> Callable[[float], SampleBlocksFn]:
    """Samplers that differ in one number, such as a guidance weight: one compiled program for all of its values."""

    @jax.jit
    def block(
        value: jax.Array, variables: Variables, key: jax.Array, index: jax.Array, ids: jax.Array | None
    ) -> jax.Array:
        experiment = experiment_of(value)
        sample = experiment.algorithm.sample
        if sample is None:
            raise UsageError("this model draws no samples: name a generator")
        return sample(variables, example_keys(key, index), BLOCK, experiment.to_condition(ids))

    key = sample_key(seed)
    return lambda value: blockwise(functools.partial(block, jnp.float32(value), variables, key))


def sample_key(seed: int) -> jax.Array:
    """The key of the samples of one seed; sample i has its ``fold_in`` with i."""
    check_seed(seed)
    return split_by_name(jax.random.key(seed), "sample")["sample"]


def blockwise(block_fn: Callable[[jax.Array, jax.Array | None], Any], block_size: int = BLOCK) -> Callable[..., Any]:
    """Any range of a sequence, of arrays or trees of them, computed in blocks that begin at multiples of their size.

    >>> blockwise(lambda index, condition: 10 * index, 4)(3, None, 3)
    array([30, 40, 50], dtype=int32)
    """

    def draw(start: int, condition: np.ndarray | None, num: int) -> Any:
        blocks = []
        for first in range(start - start % block_size, start + num, block_size):
            index = np.arange(first, first + block_size)
            given = None if condition is None else jnp.asarray(condition[np.clip(index - start, 0, num - 1)], jnp.int32)
            is_wanted = (index >= start) & (index < start + num)
            block = block_fn(jnp.asarray(index, jnp.int32), given)
            blocks.append(jax.tree.map(lambda values, wanted=is_wanted: np.asarray(values)[wanted], block))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)

    return draw


@runtime_checkable
class EncodeFn(Protocol):
    """Evaluates examples by a trained model: everything its ``evaluate`` gives for each."""

    def __call__(self, examples: np.ndarray, condition: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """``(examples [num, ...] as models see them, condition [num]) -> {name: [num, ...]}``."""
        ...


def make_encode_fn(experiment: Experiment, variables: Variables) -> EncodeFn:
    """A compiled function that evaluates examples by a trained model."""
    return compile_encoder(experiment)(variables)


def compile_encoder(experiment: Experiment) -> Callable[[Variables], EncodeFn]:
    """As :func:`make_encode_fn`, for several weights of one model, which share the compiled program."""
    evaluate_rows = experiment.algorithm.evaluate
    if evaluate_rows is None:
        raise UsageError("this model has nothing to evaluate on examples: pass --eval-every 0")
    compiled = jax.jit(lambda variables, batch: evaluate_rows(variables, experiment.to_batch(batch), jax.random.key(0)))

    def encode_block(variables: Variables, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        num = len(batch["example"])
        padded = {name: np.resize(values, (ENCODE_BLOCK, *values.shape[1:])) for name, values in batch.items()}
        return {name: np.asarray(value)[:num] for name, value in compiled(variables, padded).items()}

    def encode(
        variables: Variables, examples: np.ndarray, condition: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        batch = {"example": examples} if condition is None else {"example": examples, "condition": condition}
        parts = [slice(start, start + ENCODE_BLOCK) for start in range(0, len(examples), ENCODE_BLOCK)]
        blocks = [encode_block(variables, {name: of[part] for name, of in batch.items()}) for part in parts]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    return lambda variables: functools.partial(encode, variables)


EditImagesFn = Callable[..., np.ndarray]
"""``(images [num, H, W, C] in [-1, 1], condition [num] or None, seed, row) -> changed images``; a result per row."""


def make_edit_fn(
    experiment: Experiment, variables: Variables, *, keep: str | np.ndarray, strength: float
) -> EditImagesFn:
    """A compiled function that changes images; ``keep`` is the half, or a mask bool [H, W], of pixels that stay."""
    denoising = experiment.algorithm.denoising
    if denoising is None or denoising.is_in_latents:
        raise UsageError(
            "this run has no edit function: use a diffusion or flow-matching run of the examples themselves, such as "
            "flow_digits"
        )
    if experiment.modality.picture is None or len(experiment.example_shape) != 3:
        raise UsageError(f"edit changes images, this run makes {experiment.modality.name}s: name the run of images")
    height, width, _ = experiment.example_shape
    rows, columns = np.arange(height)[:, None], np.arange(width)
    halves = {
        "left": columns < width // 2,
        "right": columns >= width // 2,
        "top": rows < height // 2,
        "bottom": rows >= height // 2,
    }
    kept = halves.get(keep) if isinstance(keep, str) else keep
    mask = None if kept is None else jnp.asarray(np.broadcast_to(kept, (height, width))[None, :, :, None], jnp.float32)

    @jax.jit
    def compiled(variables: Variables, key: jax.Array, image: jax.Array, ids: jax.Array | None) -> jax.Array:
        keys, condition = example_keys(key, len(image)), experiment.to_condition(ids)
        denoise = denoising.denoiser(variables)
        return denoising.draw(denoise, keys, condition, start=image, mask=mask, strength=strength)[0]

    def edit_images(images: np.ndarray, condition: np.ndarray | None, seed: int, row: int = 0) -> np.ndarray:
        key = jax.random.fold_in(split_by_name(jax.random.key(seed), "edit")["edit"], row)
        given = None if condition is None else jnp.asarray(condition, jnp.int32)
        return np.asarray(compiled(variables, key, jnp.asarray(images), given))

    return edit_images
