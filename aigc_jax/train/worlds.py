"""Worlds as data: examples to train on and examples held out, drawn once and always the same."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.files import write_text
from aigc_jax.data.images import IMAGE
from aigc_jax.data.points import POINT
from aigc_jax.data.prepare import Row
from aigc_jax.data.text import text_modality
from aigc_jax.data.tokenizer import Tokenizer, bytes_tokenizer, words_tokenizer
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Data, DataSource, Modality, World
from aigc_jax.worlds.catalog import FACTS, open_world

NUM_POINTS = (50_000, 10_000)
"""Points of a world to train on and held out."""

NUM_IMAGES = (5_000, 1_000)
"""The same of images."""

NUM_TEXTS = (20_000, 2_000)
"""The same of texts."""


REVIEWS = "world:reviews"
"""The world of reviews, which :func:`write_reviews` writes with dates."""

_BLOCK = 1000
"""Examples that are drawn at a time."""


def example_shape(world: World) -> tuple[int, ...]:
    """The shape of a world's examples: (height, width, channels) of images, (dimensions,) of points."""
    return jax.eval_shape(lambda: world.sample(jax.random.key(0), 1, None)).shape[1:]


def modality_of(world: World) -> Modality:
    """The kind of a world's examples."""
    kinds = {IMAGE.name: lambda: IMAGE, POINT.name: lambda: POINT, "tokens": lambda: text_modality(tokenizer_of(world))}
    return kinds[world.modality]()


def tokenizer_of(world: World) -> Tokenizer:
    """The tokenizer of a world of text."""
    return words_tokenizer(world.vocabulary) if world.vocabulary else bytes_tokenizer()


def mode_names(world: World) -> Sequence[str]:
    """The names of a world's modes."""
    return world.mode_names or [f"mode {index}" for index in range(world.num_modes)]


def world_data(world: World, *, is_labelled: bool, num_train: int | None = None) -> Callable[[], Data]:
    """A function that draws a world's data at its first call: the same examples in every process and for every seed.

    ``num_train`` examples to train on, the first of those that a larger number would have; None for the default.
    """

    @functools.cache
    def open_data() -> Data:
        keys = split_by_name(jax.random.key(0), "train", "held_out")
        names = mode_names(world) if is_labelled else []
        default, num_held_out = _num_examples(world.modality)
        sizes = {"train": num_train or default, "held_out": num_held_out}
        draw = jax.jit(lambda keys: _labelled(world, keys))
        train, held_out = (
            _source(world, draw, keys[part], num, is_labelled=is_labelled) for part, num in sizes.items()
        )
        # The name alone: values that another device draws differ in their last digits.
        checksum = world.name if num_train is None else f"{world.name}, {num_train} examples"
        return Data(world.name, train, held_out, names, checksum=checksum)

    return open_data


def list_worlds() -> list[Row]:
    """The worlds by name, for ``aigc-jax data list``."""
    rows = []
    for name, (num_modes, modality, shape, description) in FACTS.items():
        shown = {IMAGE.name: " x ".join(map(str, shape)), POINT.name: f"{shape[0]}-D"}.get(modality, "text")
        examples = "train {}, held out {}".format(*_num_examples(modality))
        rows.append(Row(f"world:{name}", str(num_modes), shown, examples, f"drawn when needed: {description}"))
    return rows


def write_reviews(path: Path, *, num_per_month: int = 400) -> str:
    """Write reviews of a year as lines of JSON with text, label, domain and date; a line that says where they are.

    Half of them are negative, of the bank from September on 80 %. They are drawn with keys of their own, and not those
    to train on.
    """
    world, keys = open_world(REVIEWS), split_by_name(jax.random.key(0), "export")["export"]
    modality, num = modality_of(world), 12 * num_per_month
    draw = jax.jit(lambda keys, ids: world.sample(keys, len(ids), ids))
    of_key = example_keys(keys, num)
    sides = [np.asarray(draw(of_key, np.full(num, label, np.int32))) for label in (0, 1)]
    # Both reviews of a key are of one domain: their keys draw all but the sentiment.
    domains = np.asarray(world.read(jnp.asarray(sides[0]))["domain"]) if world.read is not None else np.zeros(num, int)
    random, lines = np.random.default_rng(0), list[str]()
    for at, domain in enumerate(domains):
        month, day = at // num_per_month, at % num_per_month * 28 // num_per_month
        name = world.attributes["domain"][domain]
        label = int(random.uniform() > (0.8 if name == "bank" and month >= 8 else 0.5))
        text = modality.texts(sides[label][at : at + 1])[0] if modality.texts is not None else ""
        row = {"text": text, "label": world.mode_names[label], "domain": name}
        lines.append(json.dumps({**row, "date": f"2025-{month + 1:02}-{day + 1:02}"}))
    write_text(path, "\n".join(lines) + "\n")
    return f"{len(lines)} reviews are in {path}"


def _num_examples(modality: str) -> tuple[int, int]:
    return {IMAGE.name: NUM_IMAGES, POINT.name: NUM_POINTS, "tokens": NUM_TEXTS}[modality]


def _labelled(world: World, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    examples = world.sample(keys, _BLOCK, None)
    return examples, world.mode(examples)


def _source(
    world: World,
    draw: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    key: jax.Array,
    num: int,
    *,
    is_labelled: bool,
) -> DataSource:
    keys = example_keys(key, -(-num // _BLOCK) * _BLOCK)  # whole blocks: one program draws them all
    blocks = [draw(keys[start : start + _BLOCK]) for start in range(0, len(keys), _BLOCK)]
    examples = [np.asarray(examples) for examples, _ in blocks]
    labels = np.concatenate([np.asarray(modes) for _, modes in blocks])[:num] if is_labelled else None
    modality = modality_of(world)
    values = np.concatenate([modality.store(block) for block in examples])[:num]
    return ArraySource(values, labels, name=modality.name)
