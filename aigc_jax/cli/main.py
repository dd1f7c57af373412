"""The command line: parses, runs one command, and turns errors into one line and an exit status.

Exit status: 0 done, 1 a gate failed or the training diverged, 2 a mistake in usage or a file that cannot be read or
written, 70 any other error (AIGC_JAX_TRACEBACK=1 prints its traceback), 75 another process of the training died or is
stuck (started again, it goes on), 128 + N stopped by signal N.
"""

from __future__ import annotations

# The standard library alone: all else is imported where an interrupt or an error of it ends in one line.
import contextlib
import difflib
import functools
import importlib
import io
import os
import shlex
import signal
import sys
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

USAGE = """\
usage: aigc-jax COMMAND ...

  train CONFIG      train a shipped experiment (gan_digits) or one in a .py file like it
  launch local -- train CONFIG      likewise, with several processes on this machine; clusters: scripts/cluster
  profile CONFIG    where the time of training goes: step, data, compilation, operations, memory; a trace
  compile CONFIG    compile for a TPU that is not there: does it fit, memory, collectives, operations
  sample RUN        draw samples from a run directory: a .png grid or an .npz file
  calibrate RUN     make a guard: a filter that certifies how few of the samples that pass are unreliable
  edit RUN          change held-out images: in-painting, image-to-image
  evaluate RUN      measure how far a run can be relied on, and write its report
  evaluate --samples FILE|FOLDER --reference DATA     likewise, for samples of any origin
  compare RUN RUN   put the reports of evaluated runs side by side, with paired differences
  prompt RUN --templates FILE --cases FILE      how often each prompt template leads to the right answer, with intervals
  ask RUN --questions FILE      right, wrong and missing answers of a model of text, with remedies and detectors
  graph FILE        a knowledge graph: what it holds and what follows; its statements and questions as text
  likelihood RUN    how likely a run finds held-out examples: nats, bits/dim
  classify RUN      classes of texts: shares by group over time, certified, with alerts
  latents RUN       reconstructions, interpolations and traversals of an autoencoder
  verify RUN        whether its samples are the same here, bit for bit, or why they are not
  import CONFIG     a run made of weights in a file: published ones of PyTorch, or of aigc-jax export
  export RUN        its weights as .safetensors, or its sampler as StableHLO, for other programs
  data list         which data there is           data prepare NAME   download or draw it, and write it
  info              versions, devices and the shipped experiments
  completion SHELL  a script that completes commands and options in bash or zsh: source <(aigc-jax completion bash)

aigc-jax COMMAND --help lists the options, aigc-jax train CONFIG --help those of an experiment, and
aigc-jax sample RUN --help those of a run's sampler. aigc-jax --version prints the version.
"""

COMMANDS = {
    "sample": ("sample", "Sample", "sample"),
    "calibrate": ("calibrate", "Calibrate", "calibrate"),
    "edit": ("edit", "Edit", "edit"),
    "evaluate": ("evaluate", "Evaluate", "evaluate_run"),
    "evaluate --samples": ("evaluate_samples", "EvaluateSamples", "evaluate_given_samples"),
    "compare": ("compare", "Compare", "compare_runs"),
    "prompt": ("prompt", "Prompt", "prompt"),
    "likelihood": ("likelihood", "Likelihood", "likelihood"),
    "ask": ("ask", "Ask", "ask"),
    "graph": ("graph", "Graph", "graph"),
    "classify": ("classify", "Classify", "classify_texts"),
    "latents": ("latents", "Latents", "latents"),
    "verify": ("verify", "Verify", "verify"),
    "export": ("export", "Export", "export"),
    "data prepare": ("data", "Prepare", "prepare_data"),
    "data list": ("data", "List", "list_all_data"),
    "info": ("info", "Info", "info"),
    "completion": ("completion", "Completion", "completion"),
}
"""Of each command its file in this folder, its class in arguments.py and its function; imported when it is called."""

CONFIGURED = {
    "train": ("train", "Train", "train_config", "[--workdir DIR]"),
    "import": ("import_weights", "Import", "import_weights", "--weights FILE.safetensors [--workdir DIR]"),
    "compile": ("compile", "Compile", "compile_config", "--topology v5e:2x4 [--sampler]"),
    "profile": ("profile", "Profile", "profile_config", "[--num-steps 20] [--out DIR]"),
}
"""Of each command on a config the same, and its own options; the settings of the config are options too."""

WITHOUT_DEVICES = ("data prepare", "data list", "graph", "completion")
"""Commands that compute nothing."""

MAX_CACHE_BYTES = 2**30
"""Size limit of the compiled programs on disk; those used least recently are removed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be valid in the terminal's encoding
    try:
        with _imports_end_at_once(is_process=argv is None):
            command = _prepare(words)
        status = command()
    except KeyboardInterrupt:
        print("aigc-jax: interrupted", file=sys.stderr)
        status = 130
    except Exception as error:  # the last resort: any error is one line
        status = _report(error)
    if argv is None and status:
        _end_process(status)
    return status


@contextlib.contextmanager
def _imports_end_at_once(*, is_process: bool) -> Iterator[None]:
    """Let Ctrl-C end the process while it imports: as an exception, libraries swallow it or turn it into their own."""
    is_set = is_process and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_set:
        signal.signal(signal.SIGINT, _end_interrupted)
        sys.unraisablehook = functools.partial(_interrupt_again, sys.unraisablehook)
    yield
    if is_set:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_interrupted(*_: object) -> None:
    os.write(2, b"aigc-jax: interrupted\n")  # sys.stderr may be redirected, to read what a parser prints
    _end_process(130)


def _interrupt_again(hook: Callable[[Any], object], unraisable: Any) -> None:
    """Send Ctrl-C again where a callback of the garbage collector, as JAX's, has dropped its exception."""
    if unraisable.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        hook(unraisable)


def _report(error: Exception) -> int:
    """Print an error in one line; return the exit status."""
    from aigc_jax.errors import UsageError, visible

    if os.environ.get("AIGC_JAX_TRACEBACK"):
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):  # who reads our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    status, text = 2, str(error)
    if not isinstance(error, UsageError):
        from aigc_jax.train.cluster import LostPeerError
        from aigc_jax.train.nan_guard import NonFiniteError

        status = 1 if isinstance(error, NonFiniteError) else 75 if isinstance(error, LostPeerError) else 70
    if status == 70:
        text = f"{type(error).__name__}: {text or 'no message'} (in {_place(error)}); "
        text += "set AIGC_JAX_TRACEBACK=1 to see the traceback"
    print(f"aigc-jax: {visible(text)}", file=sys.stderr)
    return status


def _place(error: Exception) -> str:
    """File and line at fault: of a config file of the user where it takes part, else of this library."""
    frames = traceback.extract_tb(error.__traceback__)
    installed = (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), "<frozen")
    ours = [frame for frame in frames if not frame.filename.startswith(installed)]
    library = str(Path(__file__).parents[1])
    own = [frame for frame in ours if not frame.filename.startswith(library)]
    frame = (own or ours or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _end_process(status: int) -> None:
    """End at once: a computation under way in another thread would crash while the interpreter is taken down."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)


def _prepare(words: list[str]) -> Callable[[], int]:
    """Import and parse a command; the result runs it."""
    command, rest = (words[0], words[1:]) if words else ("--help", [])
    if command == "help" and rest:
        return _prepare([*rest, "--help"])
    if command in ("-h", "--help", "help"):
        print(USAGE, end="")
        return lambda: 0 if words else 2
    if command in ("-V", "--version"):
        from aigc_jax import __version__

        print(f"aigc-jax {__version__}")
        return lambda: 0
    if command in CONFIGURED:
        return _prepare_configured(command, rest)
    if command == "data":
        if rest and rest[0] in ("-h", "--help"):
            print("".join(line for line in USAGE.splitlines(keepends=True) if line.startswith("  data")), end="")
            return lambda: 0
        command, rest = f"data {rest[0] if rest else ''}".strip(), rest[1:]
    if command == "launch":
        return _prepare_launch(rest)
    if command == "evaluate" and any(word.partition("=")[0] == "--samples" for word in rest):
        command = "evaluate --samples"
    from aigc_jax.errors import UsageError

    if command not in COMMANDS:
        known = [*CONFIGURED, "launch", *COMMANDS]
        close = difflib.get_close_matches(command, known, 1)
        did_you_mean = f" (did you mean {close[0]}?)" if close else ""
        raise UsageError(f"expected one of {', '.join(known)}; got {command!r}{did_you_mean}: see aigc-jax --help")
    from aigc_jax.cli.arguments import Adjusted
    from aigc_jax.cli.parsing import parse, parse_for_run

    module_name, kind, function = COMMANDS[command]
    cls = getattr(importlib.import_module("aigc_jax.cli.arguments"), kind)
    # Help and mistakes end here, before anything large is imported.
    parsed = (parse_for_run if issubclass(cls, Adjusted) else parse)(cls, f"aigc-jax {command}", rest)
    module = importlib.import_module(f"aigc_jax.cli.{module_name}")
    if command not in WITHOUT_DEVICES:
        from aigc_jax.train.parallel import find_devices

        use_compilation_cache()
        find_devices()  # before any work: a backend that does not open is one line
    return functools.partial(getattr(module, function), parsed)


def _prepare_launch(words: list[str]) -> Callable[[], int]:
    """Parse ``launch local [options] -- train CONFIG ...``; what is launched parses the rest."""
    from aigc_jax.cli.arguments import LaunchLocal
    from aigc_jax.cli.parsing import parse
    from aigc_jax.errors import UsageError

    if words[:1] not in (["local"], ["-h"], ["--help"]):
        raise UsageError("expected aigc-jax launch local -- train CONFIG; for clusters: scripts/cluster")
    own, rest = words[words[0] == "local" :], []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    arguments = parse(LaunchLocal, "aigc-jax launch local", own)
    from aigc_jax.cli.launch import launch_local

    return functools.partial(launch_local, arguments, rest)


def use_compilation_cache() -> None:
    """Keep compiled programs on disk for later commands.

    JAX's own variables have the last word: JAX_COMPILATION_CACHE_DIR names another folder (or the tests' own),
    JAX_ENABLE_COMPILATION_CACHE=0 turns the cache off.
    """
    import jax

    from aigc_jax.data.files import cache_dir

    # An entry that cannot be read or written is compiled anew.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]: made at run time
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "programs"))
        jax.config.update("jax_compilation_cache_max_size", MAX_CACHE_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _prepare_configured(command: str, words: list[str]) -> Callable[[], int]:
    """Parse a command on a config."""
    from aigc_jax.configs import config_names
    from aigc_jax.errors import UsageError

    usage, (file, kind, function, options) = f"aigc-jax {command} CONFIG", CONFIGURED[command]
    if not words or words[0].startswith("-"):
        names = ", ".join(config_names())
        if words and words[0] in ("-h", "--help"):
            print(f"usage: {usage} {options} [overrides]\n\nCONFIG: {names}, or a .py file like them")
            return lambda: 0
        raise UsageError(f"expected a config first: {usage}, with CONFIG one of {names} or a .py file")
    from aigc_jax.cli.parsing import parse_for_config
    from aigc_jax.runs import load_config

    name, rest = words[0], words[1:]
    module, cls = load_config(name), getattr(importlib.import_module("aigc_jax.cli.arguments"), kind)
    arguments = parse_for_config(cls, f"aigc-jax {command} {name}", module.Config, rest, module.__doc__)
    use_compilation_cache()
    run = getattr(importlib.import_module(f"aigc_jax.cli.{file}"), function)
    return functools.partial(run, module, name, arguments, shlex.join(["aigc-jax", command, *words]))


if __name__ == "__main__":
    sys.exit(main())
