"""From a config and an algorithm to an experiment on labelled images, on text, or on points of a world."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp

from aigc_jax.data.arrays import random_subset, reserve_for_judges
from aigc_jax.data.files import visible
from aigc_jax.data.images import IMAGE
from aigc_jax.data.labelled import labelled_data, open_documents, open_labelled_texts
from aigc_jax.data.points import POINT
from aigc_jax.data.sources import open_data
from aigc_jax.data.text import NAME as TEXT
from aigc_jax.data.text import text_data, text_modality
from aigc_jax.data.tokenizer import Tokenizer, make_tokenizer, read_tokenizer
from aigc_jax.train.config import ImageConfig, LabelledTextConfig, TextConfig, TrainConfig, WorldTextConfig
from aigc_jax.train.run_dir import read_run
from aigc_jax.train.worlds import example_shape, tokenizer_of, world_data
from aigc_jax.types import Algorithm, Conditions, Data, Experiment, Modality, UsageError, World
from aigc_jax.worlds.catalog import open_world

TextConfigT = TypeVar("TextConfigT", bound=TextConfig)

MAX_CLASSES = 1_000_000
"""More are a mistake, and their names alone would fill the memory."""


IMAGE_JUDGES = ("classifier_digits", "mixer_digits")
"""Configs of the classifiers that judge images: the first gives features too, the second a second opinion."""


TEXT_JUDGES = ("text_classifier", "text_transformer")
"""The same of text."""


def image_experiment(
    config: ImageConfig, algorithm: Algorithm, *, modality: Modality = IMAGE, updates_per_step: int = 1
) -> Experiment:
    """An experiment on labelled images.

    Args:
        config: names the data and its shape; of ``world:NAME``, the world then judges the samples.
        algorithm: what is trained on it.
        modality: how the algorithm sees the images.
        updates_per_step: the most active player's updates per step (n_critic); each gets its own
            ``config.batch_size`` examples.

    Returns:
        The experiment; its data is opened only when needed.

    Raises:
        UsageError: there is no such world, or its images or modes are not what the model expects.
    """
    num_examples = config.batch_size * updates_per_step
    if config.data.startswith("world:"):
        world = open_world(config.data)
        _check_images(world, config)
        return _of_world(world, algorithm, modality, config.num_classes, num_examples)
    return Experiment(
        algorithm=algorithm,
        open_data=lambda: reserve_for_judges(
            open_data(
                config.data,
                data_dir=config.data_dir,
                image_shape=config.image_shape,
                num_classes=config.num_classes,
                skip_broken=config.skip_broken,
                max_broken=config.max_broken,
            ),
            config.judge_split,
        ),
        batch_spec=_spec(modality, config.image_shape, config.num_classes, num_examples),
        modality=modality,
        conditions=_conditions(config.num_classes),
        judges=IMAGE_JUDGES,
    )


def open_tokenizer(config: TextConfig) -> Tokenizer:
    """The tokenizer of a run, or before there is one, that of the training text."""
    if config.vocabulary:
        return read_tokenizer(config.vocabulary)
    if isinstance(config, WorldTextConfig):
        return _tokenizer_of(config)
    return make_tokenizer(config.tokenizer, _documents(config))


def open_num_classes(config: LabelledTextConfig) -> int:
    """The number of classes of a run, or before there is one, that of the data."""
    if config.num_classes is not None:
        return config.num_classes
    if config.data.startswith("world:"):
        return open_world(config.data).num_modes
    return len(open_labelled_texts(config.data, config.data_dir).class_names)


def labelled_text_experiment(config: LabelledTextConfig, algorithm: Algorithm, tokenizer: Tokenizer) -> Experiment:
    """An experiment on whole texts with a class each.

    Args:
        config: names the texts, the most tokens of one, and the number of classes, see :func:`open_num_classes`.
        algorithm: what is trained on them.
        tokenizer: from :func:`open_tokenizer`.

    Returns:
        The experiment, its conditions the classes; its texts are opened only when needed. Of ``world:reviews``, the
        world judges samples; of other texts two classifiers do.

    Raises:
        UsageError: there is no such world of text, or its tokens are others.
    """
    num_classes = open_num_classes(config)
    if config.data.startswith("world:"):
        world = open_world(config.data)
        found = example_shape(world)
        if world.modality != TEXT or found != (config.length + 1,) or tokenizer.name != "bytes":
            raise UsageError(
                f"{world.name} holds {world.modality} of shape {' '.join(map(str, found))}, the model expects text of "
                f"{config.length} {tokenizer.name}: pass --data world:reviews --tokenizer bytes --length 96"
            )
        experiment = _of_world(world, algorithm, text_modality(tokenizer), num_classes, config.batch_size)
        return experiment._replace(open_data=lambda: _labelled_subset(experiment.open_data(), config))

    def open_checked() -> Data:
        data = labelled_data(open_labelled_texts(config.data, config.data_dir), tokenizer, config.length)
        if len(data.class_names) != num_classes:
            raise UsageError(
                f"{data.name} has {len(data.class_names)} classes, the model expects {num_classes}: pass "
                f"--num-classes {len(data.class_names)}"
            )
        return _labelled_subset(data, config)

    modality = text_modality(tokenizer)
    return Experiment(
        algorithm=algorithm,
        open_data=open_checked,
        batch_spec=_spec(modality, (config.length + 1,), num_classes, config.batch_size),
        modality=modality,
        conditions=_conditions(num_classes),
        judges=TEXT_JUDGES,
    )


def with_tokenizer(config: TextConfigT) -> TextConfigT:
    """The settings of a new run with its tokenizer: that of the run whose weights it begins with, or a new one.

    Raises:
        UsageError: the initial run is none of text, or another tokenizer than its own is asked for.
    """
    if config.initial is None:
        return dataclasses.replace(config, vocabulary=open_tokenizer(config).definition)
    values, run = read_run(Path(config.initial)).values, visible(config.initial)
    name, vocabulary = values.get("tokenizer"), values.get("vocabulary")
    if not isinstance(name, str) or not isinstance(vocabulary, str) or not vocabulary:
        raise UsageError(f"{run} is no run of text, whose tokenizer could be taken over: name another --initial")
    if config.tokenizer not in (name, type(config)().tokenizer):
        raise UsageError(
            f"the weights of {run} are of tokens {visible(name)}, got --tokenizer {config.tokenizer}: leave it out, or "
            "train without --initial"
        )
    return dataclasses.replace(config, tokenizer=name, vocabulary=vocabulary)


def world_text_experiment(config: WorldTextConfig, algorithm: Algorithm, tokenizer: Tokenizer) -> Experiment:
    """An experiment on whole texts of a world, which then judges samples.

    Args:
        config: names the world, the most tokens of a text, and how many texts are drawn to train on.
        algorithm: what is trained on them.
        tokenizer: from :func:`open_tokenizer`.

    Returns:
        The experiment, unconditional; its texts are drawn only when needed, always the same ones.

    Raises:
        UsageError: there is no such world of text, or its tokens are others.
    """
    world = _world_of_text(config)
    length = example_shape(world)[0] - 1
    if tokenizer.vocabulary != tokenizer_of(world).vocabulary:
        raise UsageError(f"the weights of --initial are of other tokens than {world.name}: name a run of the same data")
    if config.length != length:
        raise UsageError(
            f"texts of {world.name} have {length} tokens, the model expects {config.length}: pass --length {length}"
        )
    experiment = _of_world(world, algorithm, text_modality(tokenizer), None, config.batch_size)
    return experiment._replace(open_data=world_data(world, is_labelled=False, num_train=config.num_train))


def world_length(config: WorldTextConfig) -> int:
    """The number of tokens of a text of a config's world after its first one."""
    return example_shape(_world_of_text(config))[0] - 1


def text_experiment(config: TextConfig, algorithm: Algorithm, tokenizer: Tokenizer) -> Experiment:
    """An experiment on windows of text.

    Args:
        config: names the text and the length of a window.
        algorithm: what is trained on it.
        tokenizer: from :func:`open_tokenizer`.

    Returns:
        The experiment, unconditional; its text is opened only when needed.
    """
    return Experiment(
        algorithm=algorithm,
        open_data=lambda: text_data(open_documents(config.data, config.data_dir), tokenizer, config.length),
        batch_spec={"example": jax.ShapeDtypeStruct((config.batch_size, config.length + 1), jnp.int32)},
        modality=text_modality(tokenizer),
    )


def point_experiment(
    config: TrainConfig, world: World, algorithm: Algorithm, *, num_classes: int | None = None
) -> Experiment:
    """An experiment on points of a world, which then judges the samples.

    Args:
        config: names the size of a batch.
        world: where the examples come from.
        algorithm: what is trained on them.
        num_classes: the number of modes for a model that is conditioned on the mode, None for one that is not.

    Returns:
        The experiment; examples are drawn only when needed, always the same ones.

    Raises:
        UsageError: the world is one of images, or ``num_classes`` is not the number of its modes.
    """
    if world.modality != POINT.name:
        raise UsageError(f"{world.name} holds {world.modality}s, and this model makes points: pass --data world:ring8")
    if num_classes not in (None, world.num_modes):
        raise UsageError(
            f"{world.name} has {world.num_modes} modes to condition on, got {num_classes}: "
            f"pass --num-classes {world.num_modes} or None"
        )
    return _of_world(world, algorithm, POINT, num_classes, config.batch_size)


def _world_of_text(config: WorldTextConfig) -> World:
    world = open_world(config.data)
    if world.modality != TEXT:
        raise UsageError(f"{world.name} holds {world.modality}s, and this model makes text: pass --data world:facts")
    return world


def _tokenizer_of(config: WorldTextConfig) -> Tokenizer:
    """The tokenizer of a config's world; no other one is offered."""
    tokenizer = tokenizer_of(_world_of_text(config))
    if config.tokenizer not in ("words", tokenizer.name):
        raise UsageError(
            f"texts of {config.data} are {tokenizer.name}, got --tokenizer {config.tokenizer}: leave the option out"
        )
    return tokenizer


def _documents(config: TextConfig) -> Sequence[str]:
    """The training text that a tokenizer is made of."""
    if config.data.startswith("world:") and isinstance(config, LabelledTextConfig):
        if config.tokenizer != "bytes":
            raise UsageError(
                f"texts of {config.data} are bytes, got --tokenizer {config.tokenizer}: leave the option out"
            )
        return ["the bytes", "are known"]
    if isinstance(config, LabelledTextConfig):
        return open_labelled_texts(config.data, config.data_dir).train.texts
    return open_documents(config.data, config.data_dir).train


def _labelled_subset(data: Data, config: LabelledTextConfig) -> Data:
    """The data with as many training texts as are to be labelled."""
    return data if config.num_labels is None else random_subset(data, config.num_labels, config.seed)


def _check_images(world: World, config: ImageConfig) -> None:
    """Refuse a world whose examples the model does not expect; the error names all options to pass."""
    if world.modality != IMAGE.name:
        raise UsageError(f"{world.name} holds {world.modality}s, and this model makes images: pass --data world:shapes")
    shape = example_shape(world)
    if shape == tuple(config.image_shape) and config.num_classes in (None, world.num_modes):
        return
    found, expected = (" ".join(map(str, sizes)) for sizes in (shape, config.image_shape))
    raise UsageError(
        f"{world.name} holds images of shape {found} in {world.num_modes} modes, the model expects {expected} in "
        f"{config.num_classes or 'no'} classes: pass --image-shape {found} --num-classes {world.num_modes} (or None)"
    )


def _conditions(num_classes: int | None) -> Conditions | None:
    """The classes by their numbers; the record of a run's data knows their names."""
    if num_classes is None:
        return None
    if num_classes > MAX_CLASSES:
        raise UsageError(
            f"expected at most {MAX_CLASSES} classes, got {num_classes}: set --num-classes to the number "
            "of classes of the data"
        )
    return Conditions([str(number) for number in range(num_classes)])


def _spec(
    modality: Modality, shape: tuple[int, ...], num_classes: int | None, num_examples: int
) -> dict[str, jax.ShapeDtypeStruct]:
    spec = {"example": jax.ShapeDtypeStruct((num_examples, *shape), modality.dtype)}
    if num_classes is not None:
        spec["condition"] = jax.ShapeDtypeStruct((num_examples,), jnp.int32)
    return spec


def _of_world(
    world: World, algorithm: Algorithm, modality: Modality, num_classes: int | None, num_examples: int
) -> Experiment:
    return Experiment(
        algorithm=algorithm,
        open_data=world_data(world, is_labelled=num_classes is not None),
        batch_spec=_spec(modality, example_shape(world), num_classes, num_examples),
        modality=modality,
        conditions=_conditions(num_classes),
        world=world,
    )
