"""Sampling of a GPT of random weights under a rule, as a table and by llguidance, compared with sampling without."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aigc_jax.algorithms.autoregressive import TokenModel, autoregressive
from aigc_jax.inference.constrained import with_host_rule, with_rule
from aigc_jax.nets.decoder import DecoderSettings, make_decoder
from aigc_jax.rng import example_keys
from aigc_jax.rules.lift import lift
from aigc_jax.rules.on_host import grammar_on_host
from aigc_jax.rules.regex import regex
from aigc_jax.rules.words import forbid
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.types import Experiment, Modality
from benchmarks.common import print_versions, time_rounds

WORDS = "knave villain rogue traitor slave bastard coward dog fool wretch cur devil ass thief liar rascal hag"
_GRAMMAR = (
    "start: TEXT\n"
    rf"TEXT: /(?s:.*)/ & ~/(?is:(.*[^a-z0-9_])?({'|'.join(WORDS.split())})(s|es)?([^a-z0-9_].*)?)/"
)
"""The ban as llguidance takes it."""

PATTERNS = (
    *("(a?b)+", "(a{0,2}b){1,2}", "a*b(a*b)*", "(ab|a)(bc|c)?", "(-?(0|[1-9][0-9]?),?){1,3}", "[^a]*", "(?i)aB*"),
    *(
        "(a|b)*a(a|b){3}",
        r"\w+\d?",
        r"[\s\d]*a",
        "(a|ab)(c|bcd)(d*)",
        "(a*)*b",
        "(?s:.)",
        r"[^\W\d]",
        "[^é漢]*(é|😀)+[β-ω]?",
    ),
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])",
    r'\{"name": "[^"\\]{1,20}", "age": (0|[1-9]\d{0,2})\}',
    r"[A-Z][A-Z ]+:\n([A-Z].*\n){1,4}",
    r"(\+\d{1,3} )?\(\d{3}\) \d{3}-\d{4}",
    r"[\w.]+@[\w-]+(\.[a-z]{2,4}){1,2}",
    r"https?://[a-z0-9.]+(/[\w./-]*)?",
    r"(#[0-9a-f]{6}|rgb\(\d{1,3}, \d{1,3}, \d{1,3}\))",
    r"-?\d+(\.\d{1,6})?([eE][+-]?\d{1,2})?",
    r"(?i)(yes|no|maybe)[.!]?",
    r"([A-Z][a-z]{1,12} ){2,5}[a-z]{1,12}\.",
    r"<p>[^<>]{0,200}</p>",
    r"(true|false|null)(, (true|false|null)){0,20}",
    *("[01]{64}", r"(\d{1,3}\.){3}\d{1,3}", "[a-z]{1,40}", "(ACGT|[ACGT]{3}){1,12}", ".{0,400}"),
    r"([^,\n]*,){5}[^,\n]*",
    r"(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (1[0-2]|[1-9]):[0-5]\d [ap]m",
    r"[+-]?([1-9]\d{0,2}(,\d{3})*|0)(\.\d\d)? (EUR|USD|CHF)",
    r"(- .{1,60}\n){1,5}",
    r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})",
    r"[a-z_]\w*\((\w+(, \w+)*)?\)",
    r"([0-9A-F]{2}:){5}[0-9A-F]{2}",
    r"(The|A) (very |quite )?[a-z]{3,8} (is|was) (not )?[a-z]{3,8}\.",
)
"""Rules as people write them, and small ones that are easy to get wrong."""


def run(args: argparse.Namespace) -> int:
    """Time a drawn token with and without a ban of words, by the size of the vocabulary.

    The same ban by llguidance is asked for on the host before each token: its masks alone take a part of that time.
    """
    print_versions(None, f"GPT of width {args.width}", args, batch_size=args.num_texts)
    begin = time.perf_counter()
    rule = forbid(WORDS.split())
    print(f"the rule: {rule.num_states} states over bytes in {time.perf_counter() - begin:.2f} s")
    names = ("tokens", "kinds", "lift s", "without", "with rule", "ratio", "CPU ratio", "on host", "ratio", "masks")
    print("ms a token\n" + "".join(f"{name:>10}" for name in names))
    for size in args.vocab_sizes:
        _row(args, rule, size)
    vocabulary, seconds = _vocabulary(257), list[tuple[float, int, str]]()
    for pattern in PATTERNS:
        begin = time.perf_counter()
        found = lift(regex(pattern), vocabulary)
        seconds.append((time.perf_counter() - begin, len(found.next), pattern))
    mean = statistics.mean(took for took, _, _ in seconds)
    print(f"{len(seconds)} regular expressions to tables over bytes: {mean:.3f} s on average, and of the slowest")
    for took, states, pattern in sorted(seconds, reverse=True)[:3]:
        print(f"{took:>8.2f} s {states:>6} states  {pattern}")
    return 0


def _row(args: argparse.Namespace, rule: Any, size: int) -> None:
    vocabulary, begin = _vocabulary(size), time.perf_counter()
    automaton = lift(rule, vocabulary)
    seconds = time.perf_counter() - begin
    settings = DecoderSettings(width=args.width, depth=6, head_width=64)
    net, length = make_decoder(settings, vocab_size=size, max_length=args.steps), args.steps
    algorithm = autoregressive(
        TokenModel(net, length, size - 1, size - 1), tx=optax.sgd(1.0), sampling=Decoding(length)
    )
    variables = algorithm.init(jax.random.key(0), {"example": jnp.zeros((1, length + 1), jnp.int32)}).variables
    experiment: Any = Experiment(algorithm, lambda: None, {}, Modality)  # pyright: ignore[reportArgumentType]
    ruled = with_rule(experiment, automaton, end=size - 1, length=length)
    on_host = grammar_on_host(_GRAMMAR, vocabulary, size - 1)
    asked = list[float]()

    def masks(rows: np.ndarray) -> np.ndarray:
        begin = time.perf_counter()
        found = on_host.masks(rows)
        asked.append(time.perf_counter() - begin)
        return found

    hosted = with_host_rule(experiment, on_host._replace(masks=masks))
    made = {"without": algorithm, "with": ruled.experiment.algorithm, "on host": hosted.experiment.algorithm}
    keys, draws = example_keys(jax.random.key(1), args.num_texts), {}
    for name, each in made.items():
        sample: Any = each.sample
        draws[name] = jax.jit(lambda variables, keys, sample=sample: sample(variables, keys, args.num_texts, None))
    rounds = {name: lambda draw=draw: jax.block_until_ready(draw(variables, keys)) for name, draw in draws.items()}
    times = time_rounds(rounds, args.steps, args.rounds)  # pyright: ignore[reportArgumentType]
    wall = {name: statistics.median(found.wall) for name, found in times.items()}
    cpu = statistics.median(times["with"].cpu) / statistics.median(times["without"].cpu)
    figures = [wall["without"], wall["with"], wall["with"] / wall["without"], cpu, wall["on host"]]
    figures += [wall["on host"] / wall["without"], 1000 * statistics.mean(asked)]
    print(f"{size:>10}{automaton.next.shape[1]:>10}{seconds:>10.2f}" + "".join(f"{value:>10.2f}" for value in figures))


def _vocabulary(size: int) -> list[bytes]:
    """All bytes, pieces of letters at random as of a byte pair encoding, and the boundary."""
    rng, found = np.random.default_rng(0), {bytes([byte]): None for byte in range(256)}
    letters = np.frombuffer(b"etaoinshrdlucmfwygpb ", np.uint8)
    while len(found) < size - 1:
        found[rng.choice(letters, rng.integers(2, 9)).tobytes()] = None
    return [*list(found)[: size - 1], b""]
