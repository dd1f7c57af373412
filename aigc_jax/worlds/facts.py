"""World of facts about people, "Alice Parker was born in Oslo.", of which a training set states some once or never.

A token is a word. Of each person there is one true answer to each question, drawn at random: what the training set does
not state, nothing tells. So of a trained model the probability of every possible statement, true or false, is known.

Reference:
    Kalai, Vempala, "Calibrated Language Models Must Hallucinate", 2024 (arbitrary facts).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Condition, UsageError, World
from aigc_jax.worlds.words import CITIES, FIRST_NAMES, INSTRUMENTS, LANGUAGES, LAST_NAMES, SUBJECTS

LENGTH = 5
"""Tokens of a statement after its first one: first name, last name, relation, value, boundary."""

PAD = -1

RELATIONS = {"was born in": CITIES, "speaks": LANGUAGES, "plays the": INSTRUMENTS, "studies": SUBJECTS}
"""``{relation: its possible values}``."""

VIOLATIONS = ("valid", "false fact", "unknown person", "unfinished", "malformed")
"""A person is a first and a last name, most pairs of which are nobody; unfinished is the beginning of a statement."""

_NUM_WORDS = 4


class KnownFacts(NamedTuple):
    """The true answers, and how often each person is spoken of; see :func:`draw_facts`.

    Attributes:
        persons: the numbers of each person's first and last name.
        answers: the number of the true value of each person and relation.
        popularity: the probability that a statement is of each person.
        num_values: number of possible values of a relation.
    """

    persons: Int[np.ndarray, "person 2"]
    answers: Int[np.ndarray, "person relation"]
    popularity: Float[np.ndarray, " person"]
    num_values: int

    @property
    def vocabulary(self) -> list[bytes]:
        """The bytes that each token spells; the boundary is one more, and spells nothing."""
        values = [value for of in RELATIONS.values() for value in of[: self.num_values]]
        texts = [*FIRST_NAMES, *(f" {name}" for name in LAST_NAMES), *(f" {relation}" for relation in RELATIONS)]
        return [text.encode() for text in (*texts, *(f" {value}." for value in values))]

    @property
    def boundary(self) -> int:
        """The token before and after a statement."""
        return len(FIRST_NAMES) + len(LAST_NAMES) + len(RELATIONS) * (1 + self.num_values)

    def name(self, person: int) -> str:
        """The name of a person."""
        first, last = self.persons[person]
        return f"{FIRST_NAMES[first]} {LAST_NAMES[last]}"

    def triples(self) -> list[tuple[str, str, str]]:
        """All true statements as (person, relation, value), person by person."""
        return [
            (self.name(person), relation, of[answer])
            for person, answers in enumerate(self.answers)
            for (relation, of), answer in zip(RELATIONS.items(), answers, strict=True)
        ]

    def questions(self) -> Int[np.ndarray, "question 4"]:
        """The beginning of a statement of each person and relation, up to its value: tokens, a boundary first."""
        num, num_relations = self.answers.shape
        relation = np.arange(num_relations) + len(FIRST_NAMES) + len(LAST_NAMES)
        persons = np.repeat(self.persons + np.array([0, len(FIRST_NAMES)]), num_relations, axis=0)
        parts = [np.full((num * num_relations, 1), self.boundary), persons, np.tile(relation, num)[:, None]]
        return np.concatenate(parts, axis=1).astype(np.int32)

    def values(self) -> Int[np.ndarray, "question value"]:
        """The tokens of the possible values of each question."""
        num, num_relations = self.answers.shape
        first = self.boundary - num_relations * self.num_values
        of_relation = first + np.arange(num_relations * self.num_values).reshape(num_relations, self.num_values)
        return np.tile(of_relation, (num, 1)).astype(np.int32)

    def statements(self) -> Int[np.ndarray, "question value length"]:
        """Every possible statement about a known person, true or false: tokens by question and value."""
        questions, values = self.questions(), self.values()
        found = np.full((*values.shape, LENGTH + 1), self.boundary, np.int32)
        found[:, :, :_NUM_WORDS] = questions[:, None]
        found[:, :, _NUM_WORDS] = values
        return found


@functools.cache
def draw_facts(*, num_persons: int = 1000, num_values: int = 50, exponent: float = 1.0, seed: int = 0) -> KnownFacts:
    """True facts, drawn at random: who there is, how popular, and the value of each of their four relations.

    Args:
        num_persons: number of persons, up to 2,500.
        num_values: possible values of a relation, 2 to 50, all of them as probable.
        exponent: of Zipf's distribution of persons: the r-th most popular has a share in proportion to r^-exponent; 0
            for equal shares.
        seed: of the draw.

    Raises:
        UsageError: a number out of range.

    >>> known = draw_facts(num_persons=3)
    >>> known.triples()[0]
    ('Adam Baker', 'was born in', 'Berlin')
    """
    names = len(FIRST_NAMES) * len(LAST_NAMES)
    if not 1 <= num_persons <= names or not 2 <= num_values <= len(CITIES) or not exponent >= 0:
        raise UsageError(
            f"expected 1 to {names} persons, 2 to {len(CITIES)} values and an exponent >= 0, got {num_persons}, "
            f"{num_values} and {exponent}: change them"
        )
    # Its stream is the same in all versions of NumPy, and a world must be.
    random = np.random.RandomState(seed)
    chosen = random.permutation(names)[:num_persons]
    answers = random.randint(num_values, size=(num_persons, len(RELATIONS)))
    weights = np.arange(1, num_persons + 1, dtype=np.float64) ** -exponent
    persons = np.stack([chosen // len(LAST_NAMES), chosen % len(LAST_NAMES)], axis=1)
    return KnownFacts(persons, answers, weights / weights.sum(), num_values)


def facts(known: KnownFacts | None = None, *, name: str = "world:facts") -> World:
    """World of statements about persons, of which each is true or false.

    Args:
        known: the true facts, from :func:`draw_facts`; None for its defaults.
        name: of the world.

    Returns:
        The world; its examples are int32 [N, 6], its modes the relations; ``statements`` lists all 200,000 about known
        persons, 4,000 of them true.

    >>> world = facts()
    >>> example = world.sample(jax.random.key(0), 1, None)
    >>> b"".join(world.vocabulary[token] for token in example[0, 1:-1])
    b'Irene Baker plays the oboe.'
    """
    known = draw_facts() if known is None else known
    num_relations = known.answers.shape[1]
    kinds, numbers = _kinds(known)
    person_of = np.full((len(FIRST_NAMES), len(LAST_NAMES)), -1, np.int32)
    person_of[tuple(known.persons.T)] = np.arange(len(known.persons))
    log_popularity = np.log(known.popularity).astype(np.float32)
    questions = known.questions().reshape(len(known.persons), num_relations, _NUM_WORDS)
    values = known.values()[:num_relations]

    def sample(key: Array, num_samples: int, condition: Condition) -> Array:
        keys = split_by_name(example_keys(key, num_samples), "person", "relation")
        person = jax.vmap(lambda key: jax.random.categorical(key, jnp.asarray(log_popularity)))(keys["person"])
        if condition is None:
            relation = jax.vmap(lambda key: jax.random.randint(key, (), 0, num_relations))(keys["relation"])
        else:
            relation = jnp.asarray(condition)
        value = jnp.asarray(values)[relation, jnp.asarray(known.answers)[person, relation]]
        end = jnp.full((num_samples, 1), known.boundary, jnp.int32)
        return jnp.concatenate([jnp.asarray(questions)[person, relation], value[:, None], end], axis=1)

    def read_words(examples: Array) -> _Words:
        return _read_words(jnp.asarray(examples), known.boundary, jnp.asarray(kinds), jnp.asarray(numbers))

    def violation(examples: Array) -> Int[Array, " num"]:
        words = read_words(examples)
        person = jnp.asarray(person_of)[words.first, words.last]
        is_true = jnp.asarray(known.answers)[person, words.relation] == words.value
        found = jnp.where(person < 0, VIOLATIONS.index("unknown person"), jnp.where(is_true, 0, 1))
        found = jnp.where(words.num < _NUM_WORDS, VIOLATIONS.index("unfinished"), found)
        return jnp.where(words.is_formed, found, VIOLATIONS.index("malformed")).astype(jnp.int32)

    def log_prob(examples: Array) -> Array:
        words = read_words(examples)
        person = jnp.asarray(person_of)[words.first, words.last]
        found = jnp.asarray(log_popularity)[person] - np.log(num_relations).astype(np.float32)
        return jnp.where(violation(examples) == 0, found, -jnp.inf)

    def read(examples: Array) -> dict[str, Int[Array, " num"]]:
        words, is_valid = read_words(examples), violation(examples) == 0
        return {"relation": jnp.where(is_valid, words.relation, -1)}

    return World(
        name,
        num_relations,
        [1 / num_relations] * num_relations,
        VIOLATIONS,
        sample=sample,
        violation=violation,
        mode=lambda examples: read_words(examples).relation,
        modality="tokens",
        log_prob=log_prob,
        attributes={"relation": tuple(RELATIONS)},
        mode_attributes={"relation": np.arange(num_relations, dtype=np.int32)},
        read=read,
        mode_names=tuple(RELATIONS),
        vocabulary=known.vocabulary,
        statements=known.statements,
    )


class _Words(NamedTuple):
    """The words of texts; numbers of words that are missing or of another kind are 0."""

    first: Int[Array, " num"]
    last: Int[Array, " num"]
    relation: Int[Array, " num"]
    value: Int[Array, " num"]
    num: Int[Array, " num"]
    is_formed: Array
    """Whether the text is a statement, or the beginning of one."""


def _kinds(known: KnownFacts) -> tuple[Int[np.ndarray, " vocab"], Int[np.ndarray, " vocab"]]:
    """The kind of each token: its place in a statement, values by relation; and its number within the kind."""
    sizes = [len(FIRST_NAMES), len(LAST_NAMES), len(RELATIONS), *[known.num_values] * len(RELATIONS), 1]
    kinds = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    return kinds, np.concatenate([np.arange(size) for size in sizes]).astype(np.int32)


def _read_words(
    tokens: Int[Array, "num length"], boundary: int, kinds: Int[Array, " vocab"], numbers: Int[Array, " vocab"]
) -> _Words:
    tokens = tokens.astype(jnp.int32)
    width = max(tokens.shape[1], LENGTH + 1)
    tokens = jnp.pad(tokens, ((0, 0), (0, width - tokens.shape[1])), constant_values=PAD)
    # A sample ends with padding alone, an example with a boundary.
    is_end = (tokens == boundary) | (tokens == PAD)
    count = jnp.argmax(jnp.concatenate([is_end[:, 1:], jnp.ones((len(tokens), 1), bool)], axis=1), axis=1)
    is_after = jnp.arange(width)[None] > 1 + count[:, None]
    ends_there = jnp.where(is_after, tokens == PAD, True).all(axis=1)
    words = jnp.maximum(tokens[:, 1 : 1 + _NUM_WORDS], 0)
    kind, number = kinds[words], numbers[words]
    place = jnp.arange(_NUM_WORDS)[None]
    relation = jnp.where((kind[:, 2] == 2) & (count > 2), number[:, 2], 0)
    wanted = jnp.concatenate([jnp.broadcast_to(place[:, :-1], (len(tokens), 3)), 3 + relation[:, None]], axis=1)
    is_formed = ((kind == wanted) | (place >= count[:, None])).all(axis=1)
    is_formed &= (tokens[:, 0] == boundary) & ends_there & (count <= _NUM_WORDS)
    first, last, value = (
        jnp.where((kind[:, at] == wanted[:, at]) & (count > at), number[:, at], 0) for at in (0, 1, 3)
    )
    return _Words(first, last, relation, value, count, is_formed)
