"""Helpers that several commands share."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from aigc_jax.cli.arguments import Adjusted, Trained
from aigc_jax.data.export import file_name
from aigc_jax.data.files import parse_json, read_text, unreadable, visible
from aigc_jax.inference.sampling import make_sample_fn
from aigc_jax.runs import load_run, run_settings
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.run_dir import checkpoint_steps
from aigc_jax.types import Conditions, Experiment, UsageError, Variables


def default_out(arguments: Trained, command: str, options: Mapping[str, object], suffix: str = ".png") -> Path:
    """A file in the run's samples folder, with a name of its own for each way to draw it: they lie side by side."""
    steps = checkpoint_steps(arguments.run)
    checkpoint = str(steps[-1]) if arguments.checkpoint == "latest" and steps else arguments.checkpoint
    texts = {name: "-".join(map(str, v)) if isinstance(v, tuple) else str(v) for name, v in options.items()}
    how = "".join(f"_{name}{file_name(text)}" for name, text in texts.items())
    return arguments.run / "samples" / f"{command}_step{checkpoint}{how}{suffix}"


def named_class(condition: int | None, names: Sequence[str]) -> dict[str, str]:
    """A class as an option of :func:`default_out`."""
    return {} if condition is None else {"class": f"{condition}-{names[condition]}"}


def load(
    arguments: Trained, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Experiment, TrainConfig, Variables]:
    """The experiment, settings and weights of the run that a command names, with its own or other settings."""
    if isinstance(arguments, Adjusted):
        overrides = {arguments.GROUP: arguments.overrides}
    return load_run(
        arguments.run,
        checkpoint=arguments.checkpoint,
        config_file=arguments.config,
        data=arguments.data,
        data_dir=arguments.data_dir,
        overrides=overrides,
    )


def with_prompts(experiment: Experiment, prompts: Sequence[str]) -> Experiment:
    """An experiment whose conditions are prompts."""
    if experiment.modality.prompts is None:
        raise UsageError(f"got a prompt, but this run makes {experiment.modality.name}s: leave the option out")
    table = experiment.modality.prompts(prompts)
    sizes, limit = (table >= 0).sum(axis=1) - 1, experiment.example_shape[0] - 1
    if sizes.max() > limit:
        text = visible(prompts[int(sizes.argmax())][:20])
        raise UsageError(
            f"the prompt {text!r}... has {sizes.max()} tokens, and this model was trained on {limit} at once: shorten "
            f"it to {limit}, or train with --length {sizes.max()}"
        )
    return experiment._replace(conditions=Conditions(prompts, lambda ids: jnp.asarray(table)[ids]))


def load_to_answer(
    arguments: Trained, answers: Sequence[str], *, temperature: float
) -> tuple[Experiment, TrainConfig, Variables]:
    """A run of text with a sampler of answers, as long as the longest one and a little more."""
    if not hasattr(run_settings(arguments.run, arguments.config, "sampling"), "min_length"):
        raise UsageError(f"{visible(str(arguments.run))} is no run of text: name one of gpt_docs, say")
    # A token spells a byte or more; a few more of them show where an answer goes on.
    length = max(len(answer.encode()) for answer in answers) + 4
    return load(arguments, {"sampling": {"temperature": temperature, "length": length, "min_length": 0}})


def answerer(
    experiment: Experiment, variables: Variables, prompts: Sequence[str], seed: int
) -> Callable[[], list[str]]:
    """A function that gives the text that a model writes after each prompt: its first line, without space around it.

    It is compiled at its first call.
    """
    experiment = with_prompts(experiment, prompts)
    texts_of = experiment.modality.texts
    assert texts_of is not None
    draw = make_sample_fn(experiment, variables, seed)

    def answers() -> list[str]:
        drawn = draw(0, np.arange(len(prompts), dtype=np.int32), len(prompts))
        pairs = zip(texts_of(experiment.modality.store(drawn)), prompts, strict=True)
        return [text[len(prompt) :].strip(" ").partition("\n")[0].strip() for text, prompt in pairs]

    return answers


def read_rows(path: Path, name: str) -> list[dict[str, Any]]:
    r"""Rows of a .jsonl file, each an object with a text ``name``; of another file its lines are these texts.

    In a line ``\n`` is a line break and ``\\`` a backslash; see :func:`one_line`.
    """
    advice = f"write one {name} a line, or objects with an entry {name} in a .jsonl file"
    # Not by str.splitlines: JSON may hold other separators, as U+2028, within a text.
    content = read_text(path, advice=advice).removeprefix("\ufeff").split("\n")
    lines = [line.removesuffix("\r") for line in content if line.strip()]
    is_json = path.suffix == ".jsonl"
    try:
        rows = [parse_json(line) if is_json else {name: _of_line(line)} for line in lines]
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict) or not isinstance(row.get(name), str) or not row[name]:
                raise ValueError(f"line {number} has no entry {name}")
        if not rows:
            raise ValueError("it is empty")
    except ValueError as error:
        raise unreadable(path, error, advice) from error
    return rows


def one_line(text: str) -> str:
    """A text as a line of a file that :func:`read_rows` reads."""
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _of_line(line: str) -> str:
    return re.sub(r"\\([n\\])", lambda found: "\n" if found[1] == "n" else "\\", line)


def condition_number(experiment: Experiment, condition: str | None, option: str = "--condition") -> int | None:
    """The number of a condition that is given by its name or its number, as the option of a command.

    Names come first: of folders 1, 2 and 10, the class "10" has the number 2, and there is no class 0.
    """
    if condition is None:
        return None
    if experiment.conditions is None:
        raise UsageError(f"got {option} {condition}, but this model is unconditional: leave the option out")
    names = list(experiment.conditions.names)
    if condition in names:
        return names.index(condition)
    is_number = re.fullmatch("[0-9]{1,9}", condition) is not None and not all(name.isdigit() for name in names)
    if is_number and int(condition) < len(names):
        return int(condition)
    close = difflib.get_close_matches(condition, names, 1) or names[:1]
    shown = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    raise UsageError(
        f"expected a class for {option}, one of {shown}; got {condition!r}: pass {option} {shlex.quote(close[0])}"
    )


def ids_of(experiment: Experiment, condition: int | None, num: int) -> np.ndarray | None:
    """One condition for all samples, or the conditions in turn; None for an unconditional model."""
    return experiment.condition_ids(0, num) if condition is None else np.full(num, condition, np.int32)


def names_of(experiment: Experiment) -> Sequence[str]:
    """The names of the conditions; () for an unconditional model."""
    return () if experiment.conditions is None else experiment.conditions.names
