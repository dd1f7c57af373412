"""The rules of ``aigc-jax sample``: options to one automaton, and samples under it."""

from __future__ import annotations

import functools
import math
import os.path
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aigc_jax.cli.arguments import Sample
from aigc_jax.cli.common import read_rows
from aigc_jax.data.files import parse_json, read_text, unreadable, visible
from aigc_jax.data.tokenizer import Tokenizer, read_tokenizer
from aigc_jax.inference.constrained import Ruled, Weights, pair_look_ahead, with_host_rule, with_rule
from aigc_jax.rules.bytes import first_violation, intersection
from aigc_jax.rules.grammar import grammar
from aigc_jax.rules.lift import lift, need_after
from aigc_jax.rules.on_host import grammar_on_host, schema_on_host
from aigc_jax.rules.regex import regex
from aigc_jax.rules.schema import limits, schema
from aigc_jax.rules.statements import statements
from aigc_jax.rules.words import forbid, require
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Experiment, UsageError, Variables
from aigc_jax.types.rules import NEVER, Automaton, HostRule, TokenAutomaton

_NEUTRAL = Decoding()

_MAX_CHARACTERS = 2**20
"""Size limit of a schema or grammar."""

OnHost = Callable[[Sequence[bytes], int], HostRule]
"""``(vocabulary, end) -> rule``."""


def rule_of(arguments: Sample) -> Automaton | OnHost | None:
    """The rule of all options together; None without one."""
    if arguments.on_host:
        return _on_host(arguments)
    if arguments.exact < 1:
        raise UsageError(f"expected --exact 1 or more, got {arguments.exact}: 16 is usual")
    if arguments.advice is not None and not 0 < arguments.advice < math.inf:
        raise UsageError(f"expected --advice above 0, got {arguments.advice:g}: 4 nats is usual")
    if arguments.depth is not None and arguments.schema is None and arguments.grammar is None:
        raise UsageError("got --depth without --schema or --grammar: add one of them")
    parts = _parts(arguments)
    if not parts:
        if arguments.exact > 1 or arguments.look_ahead or arguments.advice is not None:
            option = "--exact" if arguments.exact > 1 else "--look-ahead" if arguments.look_ahead else "--advice"
            raise UsageError(
                f"got {option} without a rule: add --regex, --schema, --grammar, --forbid, --require or --statements"
            )
        return None
    return functools.reduce(intersection, parts)


def _parts(arguments: Sample) -> list[Automaton]:
    """The rule of each option."""
    found = list[Automaton]()
    if arguments.regex is not None:
        found.append(regex(arguments.regex))
    if arguments.schema is not None:
        definition = _read_schema(arguments.schema)
        found.append(schema(definition, depth=arguments.depth))
        if bounds := limits(definition, depth=arguments.depth):
            print(f"the schema leaves open, and so has: {'; '.join(bounds)}")
    if arguments.grammar is not None:
        found.append(grammar(_read(arguments.grammar, "a grammar"), depth=arguments.depth))
    if arguments.forbid is not None:
        found.append(forbid(_words(arguments.forbid)))
    if arguments.require is not None:
        found.append(require(_words(arguments.require)))
    if arguments.statements is not None:
        found.append(statements(row["text"] for row in read_rows(arguments.statements, "text")))
    return found


def _on_host(arguments: Sample) -> OnHost:
    """One schema or grammar, to any depth."""
    given = {**names_of_rule(arguments), "rule": arguments.rule, "guard": arguments.guard}
    one = ("schema", "grammar", "on_host")
    others = [name for name, value in given.items() if value is not None and name not in one]
    if others:
        option = "--" + others[0].replace("_", "-")
        raise UsageError(f"got --on-host and {option}, which it does not know: leave one of them out")
    if (arguments.schema is None) == (arguments.grammar is None):
        raise UsageError("expected --on-host with one of --schema and --grammar: pass one")
    if arguments.schema is not None:
        return functools.partial(schema_on_host, _read_schema(arguments.schema))
    assert arguments.grammar is not None
    return functools.partial(grammar_on_host, _read(arguments.grammar, "a grammar"))


def names_of_rule(arguments: Sample) -> dict[str, object]:
    """How files of samples under a rule are named."""
    given = {
        "regex": arguments.regex,
        "schema": arguments.schema and arguments.schema.stem,
        "grammar": arguments.grammar and arguments.grammar.stem,
        "depth": arguments.depth,
        "on_host": arguments.on_host or None,
        "forbid": arguments.forbid,
        "require": arguments.require,
        "statements": arguments.statements and arguments.statements.stem,
        "exact": arguments.exact if arguments.exact > 1 else None,
        "look_ahead": arguments.look_ahead or None,
        "advice": arguments.advice,
    }
    return {name: value for name, value in given.items() if value is not None}


def ruled(
    arguments: Sample,
    rule: Automaton | OnHost,
    experiment: Experiment,
    config: TrainConfig,
    variables: Variables,
    prompts: Sequence[str],
) -> Ruled:
    """The experiment under a rule, which the prompts do not break and which leaves room to end."""
    sampling, definition = getattr(config, "sampling", None), getattr(config, "vocabulary", None)
    if not isinstance(sampling, Decoding) or not definition:
        raise UsageError(f"got a rule of text, but this run makes {experiment.modality.name}: leave the option out")
    tokenizer = read_tokenizer(definition)
    if not isinstance(rule, Automaton):
        found = rule(tokenizer.vocabulary, tokenizer.boundary)
        for prompt in prompts:
            _check_on_host(prompt, found, tokenizer)
        return with_host_rule(experiment, found)
    automaton = lift(rule, tokenizer.vocabulary)
    if automaton.length >= NEVER:
        raise UsageError(f"the tokens of this run ({tokenizer.name}) spell no text of the rule: change the rule")
    _check_prompts(prompts or [""], rule, automaton, tokenizer, sampling.length)
    if arguments.exact > 1:
        _check_exact(sampling)
    how: Any = {"end": tokenizer.boundary, "length": sampling.length, "temperature": sampling.temperature}
    ahead = None
    if arguments.look_ahead:
        ahead = pair_look_ahead(experiment, variables, automaton, start=tokenizer.start, **how)
    how["penalty"] = math.inf if arguments.advice is None else arguments.advice
    return with_rule(experiment, automaton, num_candidates=arguments.exact, look_ahead=ahead, **how)


def weights_line(found: Weights) -> str:
    """One line on the importance weights of samples."""
    return (
        f"of the candidates of a sample {found.effective:.1f} count (effective sample size); the mask costs "
        f"{found.cost:.2f} nats a sample, the rule {max(-found.log_probability, 0.0):.2f}"
    )


def whole_line(rule: HostRule, samples: Sequence[np.ndarray]) -> str:
    """One line on how many samples of a rule on the host are whole texts; the first token of each is none of them."""
    num = sum(rule.is_whole(row[1:][row[1:] >= 0]) for row in samples)
    return f"{num} of {len(samples)} texts are whole, the others are beginnings: --length, or --depth, finishes more"


def _words(given: str) -> list[str]:
    """Words separated by commas, or those of a file."""
    # Of a long list `Path.is_file` fails: it is no name of a file.
    if Path(given).suffix in (".txt", ".jsonl") or os.path.isfile(given):
        return [row["word"] for row in read_rows(Path(given), "word")]
    return given.split(",")


def _read_schema(path: Path) -> Any:
    content = _read(path, "a JSON schema")
    try:
        return parse_json(content)
    except ValueError as error:
        raise unreadable(path, error, "name a file with a JSON schema") from error


def _read(path: Path, kind: str) -> str:
    advice = f"name a file with {kind}"
    content = read_text(path, advice=advice)
    if len(content) > _MAX_CHARACTERS:
        raise unreadable(path, ValueError(f"more than {_MAX_CHARACTERS >> 20} million characters"), advice)
    return content


def _check_prompts(
    prompts: Sequence[str], rule: Automaton, automaton: TokenAutomaton, tokenizer: Tokenizer, length: int
) -> None:
    for prompt in prompts:
        # Half a character, as of a broken argument, is none of UTF-8: the rule breaks there.
        place = first_violation(rule, prompt.encode(errors="surrogatepass"))
        if place is not None:
            at = len(prompt.encode(errors="surrogatepass")[:place].decode(errors="ignore"))
            raise UsageError(
                f"the prompt breaks the rule at character {at + 1}, {visible(prompt[at : at + 1])!r}: change either"
            )
        need = need_after(automaton, tokenizer.encode(prompt))
        if need >= NEVER:
            raise UsageError(f"no text of the rule goes on from the prompt {visible(prompt[:40])!r}: change either")
        if need > length:
            raise UsageError(f"the rule needs {need} tokens, got --length {length}: set --length {need} or more")


def _check_on_host(prompt: str, rule: HostRule, tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(prompt)
    for place, token in enumerate(tokens):
        if not rule.masks(tokens[None, :place])[0, token]:
            at = len(tokenizer.decode(tokens[:place]))
            raise UsageError(f"the prompt breaks the rule after {at} characters: change either")


def _check_exact(sampling: Decoding) -> None:
    """Weights are those of the model itself, at a temperature."""
    for name in ("top_k", "top_p", "min_p", "typical", "repetition", "frequency", "no_repeat_ngram", "min_length"):
        if getattr(sampling, name) != getattr(_NEUTRAL, name):
            option = "--" + name.replace("_", "-")
            raise UsageError(f"got --exact and {option}, which changes the distribution: leave {option} out")
    if sampling.num_beams > 1 or sampling.guidance != 1.0:
        raise UsageError("got --exact with beams or guidance, which change the distribution: leave them out")
