"""The command line: parses, runs one command, and turns errors into one line and an exit status.

Exit status: 0 done, 1 a gate failed or the training diverged, 2 a mistake in usage, 128 + N stopped by signal N.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from aigc_jax.data.files import visible
from aigc_jax.train.nan_guard import NonFiniteError
from aigc_jax.types import UsageError

USAGE = """\
usage: aigc-jax COMMAND ...

  train CONFIG      train a shipped experiment (gan_digits) or one in a .py file like it
  sample RUN        draw samples from a run directory: a .png grid or an .npz file
  edit RUN          change held-out images: in-painting, image-to-image
  evaluate RUN      measure how far a run can be relied on, and write its report
  compare RUN RUN   put the reports of evaluated runs side by side, with paired differences
  likelihood RUN    how likely a run finds held-out examples: nats, bits/dim
  latents RUN       what an autoencoder makes of held-out images
  data list         which data there is           data prepare tfds:NAME   download and write it
  info              versions, devices and the shipped experiments

aigc-jax COMMAND --help tells the options; aigc-jax train CONFIG --help those of an experiment.
"""

COMMANDS = {
    "sample": ("sample", "Sample", "sample"),
    "edit": ("edit", "Edit", "edit"),
    "evaluate": ("evaluate", "Evaluate", "evaluate_run"),
    "compare": ("compare", "Compare", "compare_runs"),
    "likelihood": ("likelihood", "Likelihood", "likelihood"),
    "latents": ("latents", "Latents", "latents"),
    "data prepare": ("data", "Prepare", "prepare_data"),
    "data list": ("data", "List", "list_all_data"),
    "info": ("info", "Info", "info"),
}
"""Of each command its file in this folder, its arguments and its function; imported only when it is called."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``aigc-jax``; None for those of the process.

    Returns:
        The exit status.

    >>> main(["data", "lost"])
    2
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be valid in the terminal's encoding
    try:
        return _dispatch(words)
    except UsageError as error:
        print(f"aigc-jax: {visible(str(error))}", file=sys.stderr)
        return 2
    except NonFiniteError as error:
        print(f"aigc-jax: {visible(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("aigc-jax: interrupted", file=sys.stderr)
        return 130


def _dispatch(words: list[str]) -> int:
    command, rest = (words[0], words[1:]) if words else ("--help", [])
    if command in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if words else 2
    if command == "train":
        return _train(rest)
    if command == "data":
        command, rest = f"data {rest[0] if rest else ''}".strip(), rest[1:]
    if command not in COMMANDS:
        raise UsageError(f"expected one of train, {', '.join(COMMANDS)}; got {command!r}: see aigc-jax --help")
    module_name, arguments, function = COMMANDS[command]
    module = importlib.import_module(f"aigc_jax.cli.{module_name}")
    return getattr(module, function)(_parse(getattr(module, arguments), f"aigc-jax {command}", rest))


def _train(words: list[str]) -> int:
    from aigc_jax.cli.train import train_config
    from aigc_jax.runs import config_names, load_config

    if not words or words[0].startswith("-"):
        names = ", ".join(config_names())
        if words and words[0] in ("-h", "--help"):
            print(
                f"usage: aigc-jax train CONFIG [--workdir DIR] [overrides]\n\nCONFIG: {names}, or a .py file like them"
            )
            return 0
        raise UsageError(f"expected a config first: aigc-jax train CONFIG, with CONFIG one of {names} or a .py file")
    name, rest = words[0], words[1:]
    module = load_config(name)
    # The experiment's own fields come to the top level beside --workdir: --steps 2000, not --config.steps 2000.
    command = dataclasses.make_dataclass(
        "Train",
        [
            ("config", Annotated[module.Config, tyro.conf.arg(name="")], dataclasses.field(default=module.Config())),
            ("workdir", Annotated[Path | None, tyro.conf.arg(help=_WORKDIR)], dataclasses.field(default=None)),
        ],
        frozen=True,
        namespace={"__doc__": module.__doc__},
    )
    # A setting is --name VALUE whatever its type; an option of the other commands that is on or off is a word alone.
    arguments = _parse(command, f"aigc-jax train {name}", rest, tyro.conf.FlagConversionOff)
    resume_command = shlex.join(["aigc-jax", "train", *words])
    return train_config(module, name, arguments.config, workdir=arguments.workdir, resume_command=resume_command)


_WORKDIR = "The run directory; None for runs/CONFIG. A run that it already holds goes on."


def _parse(cls: type, program: str, words: Sequence[str], *marks: Any) -> Any:
    """Parse with tyro; its boxed error report becomes one line."""
    report = io.StringIO()
    try:
        with contextlib.redirect_stderr(report):
            return tyro.cli(cls, prog=program, args=list(words), config=marks)
    except SystemExit as error:
        if not error.code:
            raise
        text = re.sub(r"\x1b\[[0-9;]*m", "", report.getvalue())
        text = re.sub(r"[─━╭╮╰╯│┃]+", " ", text)
        text = re.sub(r"\s+", " ", text).strip()
        text = re.sub(r"For full helptext, .*$", "", text).strip()
        raise UsageError(f"{text}; see {program} --help") from None


if __name__ == "__main__":
    sys.exit(main())
