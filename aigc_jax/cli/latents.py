"""The command ``aigc-jax latents``: reconstructions, interpolations and traversals of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from aigc_jax.cli.arguments import Latents
from aigc_jax.cli.common import condition_number, load
from aigc_jax.cli.edit import read_exact
from aigc_jax.data.images import make_grid, to_uint8, write_png
from aigc_jax.data.pipeline import load as load_batch
from aigc_jax.inference.latents import LatentFns, make_latent_fns
from aigc_jax.inference.sampling import check_seed
from aigc_jax.types import UsageError

NUM_COLUMNS = 10
"""Images in a row."""

Images = Float32[np.ndarray, "num height width channels"]
Picture = UInt8[np.ndarray, "height width 3"]


class Encoded(NamedTuple):
    """Examples and their latents."""

    images: Images  # in [-1, 1]
    labels: np.ndarray | None  # their classes; None for an unconditional model
    latents: np.ndarray  # float32 [num, ...]


def latents(arguments: Latents) -> int:
    """Draw reconstructions, interpolations and traversals of a run; print error and spread."""
    check_seed(arguments.seed)
    if arguments.num_examples < 2 * NUM_COLUMNS:
        raise UsageError(
            f"expected {2 * NUM_COLUMNS} examples or more, got {arguments.num_examples}: raise --num-examples"
        )
    experiment, _, variables = load(arguments)
    fns = make_latent_fns(experiment, variables)
    source = experiment.open_data().held_out
    order = np.random.default_rng(arguments.seed).permutation(len(source))[: arguments.num_examples]
    if len(order) < 2 * NUM_COLUMNS:
        raise UsageError(f"expected {2 * NUM_COLUMNS} held-out images or more, the data has {len(order)}: take more")
    if experiment.modality.picture is None:
        raise UsageError(f"latents draws images, this run makes {experiment.modality.name}s: name the run of images")
    batch = load_batch(source, order, experiment.modality)
    labels = batch["condition"] if experiment.conditions is not None else None
    images = batch["example"]
    if (arguments.condition is not None) != (arguments.image is not None and labels is not None):
        raise UsageError("expected --condition for the --image of a conditional model alone: add it, or leave it out")
    if arguments.image is not None:
        own = experiment.modality.load(read_exact(arguments.image, experiment.example_shape)[None])
        images = np.concatenate([own, images])
        number = condition_number(experiment, arguments.condition)
        labels = labels if labels is None or number is None else np.insert(labels, 0, number)
    encoded = Encoded(images, labels, fns.encode(images, labels))
    folder = arguments.run / "samples"
    pictures = {
        "reconstruction": reconstruction(fns, encoded),
        "interpolation": interpolation(fns, encoded),
        "traversal": traversal(fns, encoded),
    }
    for name, picture in pictures.items():
        write_png(folder / f"{name}.png", picture)
    errors = np.square(fns.decode(encoded.latents, labels) - images)[-len(order) :]  # of held-out images alone
    error, shape = np.mean(errors), " x ".join(map(str, encoded.latents.shape[1:]))
    print(f"mean squared error of {len(order)} held-out images, pixels in [-1, 1]: {error:.4f}")
    print(f"latents {shape}: mean {encoded.latents.mean():.3f}, standard deviation {encoded.latents.std():.3f}")
    print(f"wrote {', '.join(f'{name}.png' for name in pictures)} to {folder}")
    return 0


def reconstruction(fns: LatentFns, encoded: Encoded) -> Picture:
    """Rows of up to fifty originals, each above the row of their reconstructions."""
    num = min(len(encoded.images), 50) // NUM_COLUMNS * NUM_COLUMNS
    decoded = fns.decode(encoded.latents[:num], _part(encoded.labels, slice(num)))
    shape = (-1, NUM_COLUMNS, *decoded.shape[1:])
    rows = np.stack([encoded.images[:num].reshape(shape), decoded.reshape(shape)], axis=1)
    labels = ["example", "model"] * (num // NUM_COLUMNS)
    return make_grid(to_uint8(rows.reshape(-1, *decoded.shape[1:])), NUM_COLUMNS, row_labels=labels)


def interpolation(fns: LatentFns, encoded: Encoded) -> Picture:
    """From one image on the left to another on the right, on the straight line between their latents."""
    starts, ends = _pairs(encoded.labels, len(encoded.images))
    weights = np.linspace(0, 1, NUM_COLUMNS - 2, dtype=np.float32)
    steps = weights.reshape(1, -1, *(1,) * (encoded.latents.ndim - 1))
    line = encoded.latents[starts][:, None] * (1 - steps) + encoded.latents[ends][:, None] * steps
    labels = None if encoded.labels is None else np.repeat(encoded.labels[starts], len(weights))
    between = fns.decode(line.reshape(-1, *encoded.latents.shape[1:]), labels)
    between = between.reshape(len(starts), len(weights), *between.shape[1:])
    rows = np.concatenate([encoded.images[starts][:, None], between, encoded.images[ends][:, None]], axis=1)
    return make_grid(to_uint8(rows.reshape(-1, *rows.shape[2:])), NUM_COLUMNS)


def traversal(fns: LatentFns, encoded: Encoded) -> Picture:
    """The first image, its latent moved along one direction a row, from -3 to 3 standard deviations.

    Directions are the coordinates of largest variance of a vector, and the principal components of a map, whose single
    coordinates say little.
    """
    flat = encoded.latents.reshape(len(encoded.latents), -1)
    names, directions = _directions(flat, is_vector=encoded.latents.ndim == 2)
    center, spread = flat.mean(axis=0), ((flat - flat.mean(axis=0)) @ directions.T).std(axis=0)
    stops = np.linspace(-3, 3, NUM_COLUMNS, dtype=np.float32)
    here = (flat[0] - center) @ directions.T
    moves = (spread[:, None] * stops - here[:, None])[..., None] * directions[:, None]
    moved = (flat[0] + moves).reshape(-1, *encoded.latents.shape[1:]).astype(np.float32)
    labels = None if encoded.labels is None else np.repeat(encoded.labels[:1], len(moved))
    return make_grid(to_uint8(fns.decode(moved, labels)), NUM_COLUMNS, row_labels=names)


def _directions(flat: np.ndarray, *, is_vector: bool) -> tuple[Sequence[str], np.ndarray]:
    """Up to ten unit vectors [num, Z], those of largest variance first."""
    if is_vector:
        order = np.argsort(-flat.var(axis=0), kind="stable")[:10]
        return [f"z{index}" for index in order], np.eye(flat.shape[1], dtype=np.float32)[order]
    _, _, components = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    return [f"pc{number}" for number in range(1, len(components[:10]) + 1)], components[:10]


def _pairs(labels: np.ndarray | None, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Up to ten pairs of examples: of one class each where there are classes."""
    if labels is None:
        index = np.arange(num // 2)[:10]
        return 2 * index, 2 * index + 1
    found = [np.flatnonzero(labels == label)[:2] for label in sorted(set(labels.tolist()))]
    pairs = np.array([pair for pair in found if len(pair) == 2][:10])
    if not len(pairs):
        raise UsageError("expected two examples of some class, got one at most of each: raise --num-examples")
    return pairs[:, 0], pairs[:, 1]


def _part(labels: np.ndarray | None, which: slice) -> np.ndarray | None:
    return None if labels is None else labels[which]
