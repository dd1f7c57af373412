"""Decoding: sequences of tokens drawn one by one, in one compiled loop; and the processors of logits.

Token t of sample i is drawn with ``fold_in(keys[i], t)``, and its logits are those of row i alone: so sample i depends
neither on the other samples nor on how far prompts are padded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.types import Keys, PyTree, SequenceModel, UsageError

PAD = -1
"""The token after the end."""


class LogitsProcessor(NamedTuple):
    """A remedy of the shape logits -> logits, with a state for each sample; see :func:`chain`.

    Attributes:
        init: ``prompt int32 [B, P], padded -> state``, a tree with leading axis B.
        apply: ``(state, logits [B, V]) -> logits``; at least one token must stay possible, the others may get -inf.
        update: ``(state, token [B]) -> state`` after each draw; PAD for a sample that has ended.
    """

    init: Callable[[Array], PyTree]
    apply: Callable[[PyTree, Array], Array]
    update: Callable[[PyTree, Array], PyTree] = lambda state, token: state


def stateless(apply: Callable[[Array], Array]) -> LogitsProcessor:
    """A processor of the logits alone."""
    return LogitsProcessor(lambda prompt: (), lambda state, logits: apply(logits))


def chain(*processors: LogitsProcessor) -> LogitsProcessor:
    """Processors one after the other, as ``optax.chain`` does with transformations of gradients."""

    def apply(state: PyTree, logits: Array) -> Array:
        for processor, own in zip(processors, state, strict=True):
            logits = processor.apply(own, logits)
        return logits

    return LogitsProcessor(
        lambda prompt: tuple(processor.init(prompt) for processor in processors),
        apply,
        lambda state, token: tuple(
            processor.update(own, token) for processor, own in zip(processors, state, strict=True)
        ),
    )


def temperature(value: Float[Array, ""] | float) -> LogitsProcessor:
    """Logits divided by a temperature >= 0; 0 leaves the likeliest token alone, the lowest of equal ones.

    >>> temperature(0.0).apply((), jnp.array([[1.0, 3.0, 3.0]])).tolist()
    [[-inf, 0.0, -inf]]
    """

    def apply(logits: Array) -> Array:
        best = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=bool)
        greedy = jnp.where(best, 0.0, -jnp.inf)
        # Divided by 1 where the value is 0, whose quotient would be discarded, but is NaN.
        scaled = (logits - jnp.max(logits, axis=-1, keepdims=True)) / jnp.where(value == 0, 1.0, value)
        return jnp.where(value == 0, greedy, jnp.where(value == 1, logits, scaled))

    return stateless(apply)


def top_k(k: Int[Array, ""] | int) -> LogitsProcessor:
    """The k likeliest tokens, k >= 1, and those as likely as the last of them.

    Reference:
        Fan, Lewis, Dauphin, "Hierarchical Neural Story Generation", 2018, section 5.4.
    """

    def apply(logits: Array) -> Array:
        ordered = jnp.sort(logits, axis=-1, descending=True)
        least = jax.lax.dynamic_index_in_dim(ordered, jnp.clip(k, 1, logits.shape[-1]) - 1, axis=-1)
        return jnp.where(logits >= least, logits, -jnp.inf)

    return stateless(apply)


def top_p(p: Float[Array, ""] | float) -> LogitsProcessor:
    """The nucleus: the fewest likeliest tokens whose probabilities reach p in (0, 1], the likeliest one always.

    Reference:
        Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020, equation 2.

    >>> logits = jnp.log(jnp.array([[0.5, 0.3, 0.2]]))
    >>> jnp.isfinite(top_p(0.6).apply((), logits)).tolist()
    [[True, True, False]]
    """

    def apply(logits: Array) -> Array:
        ordered = jnp.sort(logits, axis=-1, descending=True)
        probs = jax.nn.softmax(ordered)
        # Kept while the tokens before do not reach p; so the first one is.
        is_kept = jnp.cumsum(probs, axis=-1) - probs < p
        least = jnp.min(jnp.where(is_kept, ordered, jnp.inf), axis=-1, keepdims=True)
        least = jnp.where(p >= 1, -jnp.inf, jnp.minimum(least, ordered[..., :1]))
        return jnp.where(logits >= least, logits, -jnp.inf)

    return stateless(apply)


def min_p(p: Float[Array, ""] | float) -> LogitsProcessor:
    """Tokens at least p times as likely as the likeliest, p in [0, 1].

    Reference:
        Nguyen et al., "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs", 2024, section 3.
    """

    def apply(logits: Array) -> Array:
        least = jnp.max(logits, axis=-1, keepdims=True) + jnp.log(jnp.asarray(p, jnp.float32))
        return jnp.where(logits >= least, logits, -jnp.inf)

    return stateless(apply)


def typical(p: Float[Array, ""] | float) -> LogitsProcessor:
    """The tokens whose information is nearest to the entropy, of probability p in (0, 1] together.

    Reference:
        Meister et al., "Locally Typical Sampling", 2023, equation 10.
    """

    def apply(logits: Array) -> Array:
        log_probs = jax.nn.log_softmax(logits)
        probs = jnp.exp(log_probs)
        entropy = -jnp.sum(jnp.where(probs > 0, probs * log_probs, 0.0), axis=-1, keepdims=True)
        distance = jnp.where(probs > 0, jnp.abs(-log_probs - entropy), jnp.inf)
        order = jnp.argsort(distance, axis=-1)
        ordered = jnp.take_along_axis(probs, order, axis=-1)
        is_kept = jnp.cumsum(ordered, axis=-1) - ordered < p
        rows = jnp.arange(len(logits))[:, None]
        kept = jnp.zeros(logits.shape, bool).at[rows, order].set(is_kept)
        return jnp.where(kept | (p >= 1), logits, -jnp.inf)

    return stateless(apply)


def penalties(
    vocab_size: int, *, repetition: Float[Array, ""] | float = 1.0, frequency: Float[Array, ""] | float = 0.0
) -> LogitsProcessor:
    """Lower logits of tokens that the sample or its prompt holds.

    ``repetition`` >= 1 divides positive logits and multiplies negative ones; ``frequency`` is subtracted for each
    occurrence.

    Reference:
        Keskar et al., "CTRL: A Conditional Transformer Language Model for Controllable Generation", 2019, section 4.1.
    """

    def init(prompt: Array) -> Array:
        # Of padding all zero; the first token is the start, which may be the end as well, and is no part of the text.
        return jax.nn.one_hot(prompt[:, 1:], vocab_size, dtype=jnp.float32).sum(axis=1)

    def apply(counts: Array, logits: Array) -> Array:
        lower = jnp.where(logits > 0, logits / repetition, logits * repetition)
        lower = jnp.where(counts > 0, lower - frequency * counts, logits)
        # A penalty forbids nothing: what was finite stays so.
        return jnp.where(jnp.isfinite(logits), jnp.maximum(lower, jnp.finfo(logits.dtype).min), logits)

    return LogitsProcessor(init, apply, lambda counts, token: counts + jax.nn.one_hot(token, vocab_size))


def min_length(num: Int[Array, ""] | int, end: int) -> LogitsProcessor:
    """No end before ``num`` tokens are drawn, unless it is the only token left."""

    def apply(step: Array, logits: Array) -> Array:
        is_end = jnp.arange(logits.shape[-1]) == end
        return _unless_empty(jnp.where(is_end[None] & (step < num)[:, None], -jnp.inf, logits), logits)

    return LogitsProcessor(lambda prompt: jnp.zeros(len(prompt), jnp.int32), apply, lambda step, token: step + 1)


def _unless_empty(kept: Array, logits: Array) -> Array:
    """The logits that are kept; where that is none, all."""
    return jnp.where(jnp.isneginf(kept).all(axis=-1, keepdims=True), logits, kept)


def no_repeat_ngram(size: int, length: int, end: int = -1) -> LogitsProcessor:
    """No n-gram of ``size`` >= 1 tokens twice in a sample of up to ``length`` tokens, its prompt included.

    The end stays possible; where no token is left, all are.

    Reference:
        Paulus, Xiong, Socher, "A Deep Reinforced Model for Abstractive Summarization", 2018, section 2.5 (of trigrams).
    """

    def init(prompt: Array) -> tuple[Array, Array]:
        tokens = jnp.pad(prompt, ((0, 0), (0, length)), constant_values=PAD)
        return tokens, jnp.sum(prompt >= 0, axis=1)

    def apply(state: tuple[Array, Array], logits: Array) -> Array:
        tokens, num = state
        places = jnp.arange(tokens.shape[1] - size + 1)
        # At each place, whether the n - 1 tokens there are the last ones; the token after them is then forbidden.
        is_same = jnp.ones((len(tokens), len(places)), bool)
        for i in range(size - 1):
            last = jnp.take_along_axis(tokens, jnp.maximum(num - size + 1 + i, 0)[:, None], axis=1)
            is_same &= tokens[:, i : i + len(places)] == last
        following = tokens[:, size - 1 :]
        is_same &= (places[None] + size - 1 < num[:, None]) & (num >= size - 1)[:, None]
        rows = jnp.arange(len(tokens))[:, None]
        forbidden = jnp.zeros(logits.shape, bool).at[rows, jnp.maximum(following, 0)].max(is_same)
        forbidden &= (jnp.arange(logits.shape[-1]) != end)[None]
        return _unless_empty(jnp.where(forbidden, -jnp.inf, logits), logits)

    def update(state: tuple[Array, Array], token: Array) -> tuple[Array, Array]:
        tokens, num = state
        tokens = tokens.at[jnp.arange(len(tokens)), num].set(token)
        return tokens, num + (token >= 0).astype(jnp.int32)

    return LogitsProcessor(init, apply, update)


def last_alone(prompt: Int[Array, "batch size"]) -> Int[Array, "batch size"]:
    """The last token of each prompt, without those before."""
    last = jnp.take_along_axis(prompt, jnp.sum(prompt >= 0, axis=1)[:, None] - 1, axis=1)
    return jnp.pad(last, ((0, 0), (0, prompt.shape[1] - 1)), constant_values=PAD)


def guided(
    model: SequenceModel, weight: Float[Array, ""] | float, without: Callable[[Array], Array] = last_alone
) -> SequenceModel:
    """Classifier-free guidance on logits: u + w (c - u), c with the prompt and u with ``without(prompt)``.

    Both are rows of one batch, next to each other. Weight 1 is the model itself.

    Reference:
        Sanchez et al., "Stay on topic with Classifier-Free Guidance", 2023, equation 7.
    """

    def mixed(logits: Array) -> Array:
        conditional, unconditional = logits[::2], logits[1::2]
        return jnp.where(weight == 1, conditional, unconditional + weight * (conditional - unconditional))

    def prefill(prompt: Array, size: int) -> tuple[Array, PyTree]:
        both = jnp.stack([prompt, without(prompt)], axis=1)
        logits, cache = model.prefill(both.reshape(-1, prompt.shape[1]), size)
        return mixed(logits), cache

    def extend(cache: PyTree, token: Array) -> tuple[Array, PyTree]:
        logits, cache = model.extend(cache, jnp.repeat(token, 2))
        return mixed(logits), cache

    def select(cache: PyTree, rows: Array) -> PyTree:
        return model.select(cache, jnp.stack([2 * rows, 2 * rows + 1], axis=1).ravel())

    return SequenceModel(prefill, extend, select)


def contrasted(
    base: SequenceModel, expert: SequenceModel, anti_expert: SequenceModel, alpha: Float[Array, ""] | float
) -> SequenceModel:
    """Experts at decoding: base + alpha (expert - anti-expert), on logits; all three read the same tokens.

    Reference:
        Liu et al., "DExperts: Decoding-Time Controlled Text Generation with Experts and Anti-Experts", 2021,
        equation 2.
    """
    models = (base, expert, anti_expert)

    def mixed(found: list[tuple[Array, PyTree]]) -> tuple[Array, PyTree]:
        own, pro, contra = (logits for logits, _ in found)
        return jnp.where(alpha == 0, own, own + alpha * (pro - contra)), tuple(cache for _, cache in found)

    return SequenceModel(
        lambda prompt, size: mixed([model.prefill(prompt, size) for model in models]),
        lambda caches, token: mixed([model.extend(own, token) for model, own in zip(models, caches, strict=True)]),
        lambda caches, rows: tuple(model.select(own, rows) for model, own in zip(models, caches, strict=True)),
    )


class Decoded(NamedTuple):
    """Sequences that were drawn."""

    tokens: Int[Array, "batch length"]  # the prompts and what follows; PAD after the end
    log_prob: Float[Array, " batch"]  # of the drawn tokens under the processed logits, in nats


def decode(
    model: SequenceModel,
    prompt: Int[Array, "batch size"],
    keys: Keys,
    *,
    length: int,
    end: int,
    processor: LogitsProcessor,
) -> Decoded:
    """Draw ``length`` tokens after each prompt, or fewer where it ends.

    Args:
        model: prefill and extension by one token.
        prompt: the first token (a boundary) and the prompt [B, P], padded by PAD; at least one token in each.
        keys: one key per sample [B].
        length: number of tokens to draw, >= 1.
        end: the token that ends a sample, and is no part of it; -1 for none.
        processor: of the logits, before each draw; see :func:`chain`.

    Returns:
        Tokens int32 [B, P + length], and the log-probabilities of the drawn ones.
    """
    batch, num_prompt = prompt.shape
    sizes = jnp.sum(prompt >= 0, axis=1)
    rows = jnp.arange(batch)
    logits, cache = model.prefill(prompt, num_prompt + length)
    tokens = jnp.pad(prompt, ((0, 0), (0, length)), constant_values=PAD)
    state = processor.init(prompt)

    def is_going_on(carry: tuple[Any, ...]) -> Array:
        step, is_done = carry[0], carry[1]
        return (step < length) & ~is_done.all()

    def draw(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        step, is_done, tokens, log_prob, logits, cache, state = carry
        processed = processor.apply(state, logits)
        own = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, step)
        token = jax.vmap(jax.random.categorical)(own, processed).astype(jnp.int32)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(processed), token[:, None], axis=-1)[:, 0]
        log_prob = log_prob + jnp.where(is_done, 0.0, chosen)
        is_done = is_done | (token == end)
        token = jnp.where(is_done, PAD, token)
        tokens = tokens.at[rows, sizes + step].set(token)
        logits, cache = model.extend(cache, jnp.maximum(token, 0))
        return step + 1, is_done, tokens, log_prob, logits, cache, processor.update(state, token)

    start = (jnp.int32(0), jnp.zeros(batch, bool), tokens, jnp.zeros(batch), logits, cache, state)
    _, _, tokens, log_prob, *_ = jax.lax.while_loop(is_going_on, draw, start)
    return Decoded(tokens, log_prob)


_MANY = 10**6


@dataclass(frozen=True)
class Decoding:
    """Settings of the sampling of sequences."""

    length: int = 256
    """Number of tokens to draw after the prompt."""
    temperature: float = 1.0
    """Divisor of the logits; 0 takes the likeliest token."""
    top_k: int | None = None
    """Draw among so many likeliest tokens; None for all."""
    top_p: float | None = None
    """Draw among the likeliest tokens of this probability together, in (0, 1]; None for all."""
    min_p: float | None = None
    """Leave out tokens that are less than so many times as likely as the likeliest, in [0, 1]; None for none."""
    typical: float | None = None
    """Draw among the tokens of typical information of this probability together, in (0, 1]; None for all."""
    repetition: float = 1.0
    """Divisor of the logits of tokens that occurred, >= 1; 1 for no penalty."""
    frequency: float = 0.0
    """Subtracted from the logit of a token for each time it occurred."""
    no_repeat_ngram: int = 0
    """No n-gram of so many tokens occurs twice; 0 allows all."""
    min_length: int = 0
    """Least number of tokens before the end."""
    guidance: float = 1.0
    """Weight of classifier-free guidance: by how much more a sample follows its prompt; 1 is the model itself."""
    num_beams: int = 1
    """Beam search among so many sequences: the likeliest that it finds, not a draw; 1 draws."""

    def processor(self, vocab_size: int, end: int) -> LogitsProcessor:
        """The processors of these settings, in the order least length, penalties, temperature, truncation."""
        self.check()
        found = []
        # First: what forbids repetition gives way where nothing else is left.
        if differs(self.min_length, 0):
            found.append(min_length(self.min_length, end))
        if differs(self.repetition, 1.0) or differs(self.frequency, 0.0):
            found.append(penalties(vocab_size, repetition=self.repetition, frequency=self.frequency))
        if self.no_repeat_ngram:
            found.append(no_repeat_ngram(self.no_repeat_ngram, self.length, end))
        found.append(temperature(self.temperature))
        given = {top_k: self.top_k, typical: self.typical, top_p: self.top_p, min_p: self.min_p}
        found += [make(value) for make, value in given.items() if value is not None]
        return chain(*found)

    def check(self) -> None:
        """Refuse numbers out of range; those that are traced are taken as they are."""
        at_least = {
            "length": 1,
            "top_k": 1,
            "temperature": 0,
            "min_p": 0,
            "repetition": 1,
            "no_repeat_ngram": 0,
            "min_length": 0,
            "frequency": -_MANY,
            "guidance": 0,
            "num_beams": 1,
        }
        for name, low in at_least.items():
            value = getattr(self, name)
            if isinstance(value, int | float) and not low <= value <= _MANY:
                words = f"expected {name} in {low} to {_MANY}, got {value}"
                raise UsageError(f"{words}: set --sampling.{name.replace('_', '-')} {max(low, 0)}")
        for name in ("top_p", "typical", "min_p"):
            value, is_low_in = getattr(self, name), name == "min_p"
            if isinstance(value, int | float) and not (0 < value <= 1 or (value == 0 and is_low_in)):
                raise UsageError(
                    f"expected {name} in {'[' if is_low_in else '('}0, 1], got {value}: set it to 0.9, say"
                )


def differs(value: Any, identity: float | int) -> bool:
    """Whether a setting may change logits: a traced one may."""
    return isinstance(value, jax.Array) or value != identity
