"""Sampling of a GPT of random weights under a rule, compared with sampling without it; and how long rules compile."""

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
from aigc_jax.inference.constrained import with_rule
from aigc_jax.nets.decoder import DecoderSettings, make_decoder
from aigc_jax.rng import example_keys
from aigc_jax.rules.lift import lift
from aigc_jax.rules.words import forbid
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.types import Experiment, Modality
from benchmarks.common import print_versions, time_rounds

WORDS = "knave villain rogue traitor slave bastard coward dog fool wretch cur devil ass thief liar rascal hag"


def run(args: argparse.Namespace) -> int:
    """Time a drawn token with and without a ban of words, by the size of the vocabulary."""
    print_versions(None, f"GPT of width {args.width}", args, batch_size=args.num_texts)
    begin = time.perf_counter()
    rule = forbid(WORDS.split())
    print(f"the rule: {rule.num_states} states over bytes in {time.perf_counter() - begin:.2f} s")
    print(f"{'tokens':>8}{'kinds':>8}{'lift s':>8}{'ms a token':>12}{'with rule':>12}{'ratio':>8}{'CPU ratio':>11}")
    for size in args.vocab_sizes:
        _row(args, rule, size)
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
    ruled = with_rule(Experiment(algorithm, lambda: None, {}, Modality), automaton, end=size - 1, length=length)  # pyright: ignore
    keys, draws = example_keys(jax.random.key(1), args.num_texts), {}
    for name, made in (("without", algorithm), ("with", ruled.experiment.algorithm)):
        sample: Any = made.sample
        draws[name] = jax.jit(lambda variables, keys, sample=sample: sample(variables, keys, args.num_texts, None))
    rounds = {name: lambda draw=draw: jax.block_until_ready(draw(variables, keys)) for name, draw in draws.items()}
    times = time_rounds(rounds, args.steps, args.rounds)  # pyright: ignore[reportArgumentType]
    wall = {name: statistics.median(found.wall) for name, found in times.items()}
    cpu = statistics.median(times["with"].cpu) / statistics.median(times["without"].cpu)
    figures = f"{wall['without']:>12.2f}{wall['with']:>12.2f}{wall['with'] / wall['without']:>8.2f}{cpu:>11.2f}"
    print(f"{size:>8}{automaton.next.shape[1]:>8}{seconds:>8.2f}{figures}")


def _vocabulary(size: int) -> list[bytes]:
    """All bytes, pieces of letters at random as of a byte pair encoding, and the boundary."""
    rng, found = np.random.default_rng(0), {bytes([byte]): None for byte in range(256)}
    letters = np.frombuffer(b"etaoinshrdlucmfwygpb ", np.uint8)
    while len(found) < size - 1:
        found[rng.choice(letters, rng.integers(2, 9)).tobytes()] = None
    return [*list(found)[: size - 1], b""]
