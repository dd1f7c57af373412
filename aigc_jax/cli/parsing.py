"""Parsing of a command's words, with an option for each setting of the run that the command names."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import re
import shlex
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from aigc_jax.cli.arguments import Adjusted, Configured
from aigc_jax.errors import UsageError, option, visible

ALIASES = {"lr": "learning-rate", "epochs": "steps", "cfg": "guidance", "n": "num"}
"""Names of other libraries for options, to suggest ours."""


def parse(cls: type, program: str, words: Sequence[str], *marks: Any, hint: str = "", help_text: str = "") -> Any:
    """Parse with tyro; its boxed error report becomes one line.

    ``hint`` is added where an option is unknown, ``help_text`` to the description.
    """
    report = io.StringIO()
    try:
        with contextlib.redirect_stderr(report):
            parsed, unknown = tyro.cli(
                cls,
                prog=program,
                args=list(words),
                config=marks,
                description=f"{cls.__doc__}\n\n{help_text}" if help_text else None,
                return_unknown_args=True,
            )
    except SystemExit as error:
        if not error.code:
            raise
        raise UsageError(f"{_sentence(report.getvalue())}; see {program} --help") from None
    if not unknown:
        return parsed
    if not unknown[0].startswith("-"):
        raise UsageError(f"got the word {unknown[0]!r} too many; see {program} --help")
    close = similar(unknown[0], option_names(parsed))
    text = f"no option {unknown[0]}" + (f" (did you mean {' or '.join(close)}?)" if close else "")
    raise UsageError(f"{text}{hint}; see {program} --help")


def parse_for_config(cls: type[Configured], program: str, config: type, words: Sequence[str], doc: str | None) -> Any:
    """Parse a command on a config, whose settings are options at the top level: --steps, not --config.steps."""
    # A setting is --name VALUE whatever its type; an option of a command that is on or off is a word alone.
    kind = Annotated[config, tyro.conf.arg(name=""), tyro.conf.FlagConversionOff]
    command = dataclasses.make_dataclass(
        cls.__name__,
        [("config", kind, dataclasses.field(default_factory=config, kw_only=True))],
        bases=(cls,),
        frozen=True,
        namespace={"__doc__": doc},
    )
    return parse(command, program, words)


def parse_for_run(cls: type[Adjusted], program: str, words: Sequence[str]) -> Any:
    """Parse a command on a run: each setting of the run's own sampler, or likelihood, is an option with its default."""
    is_help = not {"-h", "--help"}.isdisjoint(words)
    run, config_file = _named_run(cls, words)
    if run is None:
        text = f"The options of a run's own {cls.GROUP} settings: {program} RUN --help"
        if not is_help:
            raise UsageError(f"expected a run directory: {program} RUN; see {program} --help")
        return parse(cls, program, words, help_text=text)
    # JAX and more: not for a mistake or for help without a run.
    from aigc_jax.runs import run_settings
    from aigc_jax.train.parallel import find_devices

    if not is_help:
        find_devices()  # before any work: a backend that does not open is one line
    settings, program = run_settings(run, config_file, cls.GROUP), f"{program} {shlex.quote(visible(str(run)))}"
    if settings is None:
        return parse(cls, program, words, hint=f": this run has no {cls.GROUP} settings")
    return parse_with_settings(cls, program, words, settings)


def parse_with_settings(cls: type[Adjusted], program: str, words: Sequence[str], settings: Any) -> Any:
    """Parse a command with an option for each of given settings, which are the defaults."""
    names = [field.name for field in dataclasses.fields(settings)]
    own = {field.name for field in dataclasses.fields(cls)}
    is_flat = own.isdisjoint(names)
    # Without a clash of names --num-steps, as well as --sampling.num-steps, the spelling of aigc-jax train.
    prefix = "--" if is_flat else f"--{cls.GROUP}."
    given = "|".join(option(name)[2:] for name in names if name not in own)
    words = [re.sub(rf"^--({cls.GROUP}[.]|(?=({given})(=|$)))", prefix, word) for word in words]
    kind = Annotated[type(settings), tyro.conf.arg(name="" if is_flat else cls.GROUP)]
    command = dataclasses.make_dataclass(
        cls.__name__,
        [("overrides", kind, dataclasses.field(default=settings, kw_only=True))],
        bases=(cls,),
        frozen=True,
        namespace={"__doc__": cls.__doc__},
    )
    options = " ".join(prefix + option(name)[2:] for name in names)
    parsed = parse(command, program, words, hint=f": the {cls.GROUP} settings of this run are {options}")
    changed = {name: getattr(parsed.overrides, name) for name in names}
    changed = {name: value for name, value in changed.items() if value != getattr(settings, name)}
    return cls(**{**{name: getattr(parsed, name) for name in own}, "overrides": changed})


def _named_run(cls: type, words: Sequence[str]) -> tuple[Path | None, Path | None]:
    """RUN and --config among the words of a command, before its options are known."""
    hints = typing.get_type_hints(cls)
    run, config_file, name = None, None, ""
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            name = name.removeprefix("no-").replace("-", "_")
            config_file = value if name == "config" and value else config_file
            name = "" if value or hints.get(name) is bool else name
        elif name in hints:
            config_file = word if name == "config" else config_file
            name = name if typing.get_origin(hints[name]) is tuple else ""
        elif not name or (Path(word) / "config.json").is_file():  # else perhaps the value of an option of the run
            run = run or (None if word == "-h" else word)
    return Path(run) if run else None, Path(config_file) if config_file else None


def option_names(settings: Any, prefix: str = "") -> list[str]:
    """The options of parsed arguments, or of their class; those of groups too: ``--generator.width``."""
    found: list[str] = []
    hints = typing.get_type_hints(settings if isinstance(settings, type) else type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value, marks = getattr(settings, field.name, None), getattr(hints[field.name], "__metadata__", ())
        if dataclasses.is_dataclass(value):
            is_flat = any(getattr(mark, "name", None) == "" for mark in marks)
            found += option_names(value, prefix if is_flat else f"{prefix}{field.name}.")
        elif not {tyro.conf.Positional, tyro.conf.Suppress} & set(marks):
            found.append(option(prefix + field.name))
    return found


def similar(given: str, known: Sequence[str]) -> list[str]:
    """The known names that were perhaps meant, at most three."""
    name = given.removeprefix("--").partition("=")[0].replace("_", "-")
    name = ALIASES.get(name, name)
    same = [each for each in known if each.removeprefix("--").rpartition(".")[2] == name]
    return (same or difflib.get_close_matches(f"--{name}" if given.startswith("--") else name, known, 2, 0.75))[:3]


def _sentence(report: str) -> str:
    """The message of tyro's report, without its title and the help of the option."""
    lines = [line.strip("│┃| ") for line in re.sub(r"\x1b\[[0-9;]*m", "", report).splitlines()]
    # Title, rule, message, rule, help; in a terminal the title is part of the upper rule.
    parts = re.split(r"\n*[╭┏]?[─━-]+(?: .+ [─━-]+[╮┓])?\n", "\n".join(lines) + "\n")
    return re.sub(r"\s+", " ", parts[1]).strip().rstrip(".")
