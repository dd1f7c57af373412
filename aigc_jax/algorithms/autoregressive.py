"""Autoregressive models: each token given those before it; the likelihood is exact, and sampling draws one by one.

One player, whose loss is the cross-entropy of the next token.

Reference:
    Bengio et al., "A Neural Probabilistic Language Model", 2003, equation 1; Vaswani et al., "Attention Is All You
    Need", 2017; Radford et al., "Language Models are Unsupervised Multitask Learners" (GPT-2), 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from aigc_jax.algorithms.finetuning import finetuned
from aigc_jax.algorithms.networks import as_condition, condition_of, example_of, hide_at_random
from aigc_jax.guards.last_word import LastWord, disagreement, last_word_nll, redrawn_words, semantic_entropy
from aigc_jax.losses.tokens import next_token_loss, token_nll
from aigc_jax.nets.adapters import Adapter
from aigc_jax.nets.decoder import Cache, Decoder
from aigc_jax.players import single_player
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.samplers.beam import beam_search
from aigc_jax.samplers.decoding import Decoding, decode, differs, guided, last_alone
from aigc_jax.types import (
    NUM_BYTES,
    NUM_TOKENS,
    Algorithm,
    Batch,
    Condition,
    Detector,
    DrawSequencesFn,
    Key,
    Metrics,
    PyTree,
    SequenceModel,
    Sequences,
    UsageError,
    Variables,
    Weighted,
)

PLAYER = "decoder"
"""The one player's name in params and model_state."""


class TokenModel(NamedTuple):
    """A network, and its use as a distribution of sequences of tokens.

    Args:
        net: the decoder. Where it has classes, they take the place of the start token.
        length: tokens of a training sequence after its first one, which is context alone.
        start: the token before a sample without a prompt.
        end: the token that ends a sample; -1 for none.
        num_bytes: bytes that each token spells, int [V], for bits per byte; None for tokens that are no text.
        word_starts: whether each token begins a word, bool [V], for detectors of wrong last words; None for none.

    Reference:
        Keskar et al., "CTRL: A Conditional Transformer Language Model for Controllable Generation", 2019, section 3.1
        (a control code as the first token).
    """

    net: Decoder
    length: int
    start: int
    end: int = -1
    num_bytes: np.ndarray | None = None
    word_starts: np.ndarray | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 for an unconditional model."""
        return self.net.num_classes

    def classed(self, tokens: Int[Array, "batch length"], condition: Condition) -> Int[Array, "batch length"]:
        """Tokens whose first one is that of their class [B], or of no class; of an unconditional model as they are."""
        if not self.num_classes:
            return tokens
        condition = jnp.full(len(tokens), self.num_classes) if condition is None else condition
        return tokens.at[:, 0].set(self.net.vocab_size + jnp.asarray(condition, jnp.int32))

    def logits(
        self, params: PyTree, tokens: Int[Array, "batch length"], condition: Condition, keys: Array | None = None
    ) -> Array:
        """Logits [B, L - 1, V] of all tokens but the first, for classes [B]."""
        tokens = self.classed(tokens, condition)
        return self.net.apply({"params": params}, tokens[:, :-1], keys=keys)[0]  # pyright: ignore[reportIndexIssue]

    def sequence_model(self, params: PyTree) -> SequenceModel:
        """The model with a cache, for :func:`aigc_jax.samplers.decoding.decode`."""

        def apply(tokens: Array, cache: Cache, *, is_start: bool) -> tuple[Array, Cache]:
            logits, cache = self.net.apply({"params": params}, tokens, cache=cache, is_start=is_start)  # pyright: ignore
            return logits, cache

        def prefill(prompt: Array, size: int) -> tuple[Array, Cache]:
            logits, cache = apply(prompt, self.net.init_cache(len(prompt), size), is_start=True)
            sizes = jnp.sum(prompt >= 0, axis=1)
            # What padding wrote is overwritten by the tokens to come, and until then hidden by their mask.
            cache = cache._replace(length=sizes + self.net.num_prompt_tokens)
            return jnp.take_along_axis(logits, (sizes - 1)[:, None, None], axis=1)[:, 0], cache

        def extend(cache: Cache, token: Array) -> tuple[Array, Cache]:
            logits, cache = apply(token[:, None], cache, is_start=False)
            return logits[:, 0], cache

        return SequenceModel(prefill, extend)


def autoregressive(
    model: TokenModel,
    *,
    tx: optax.GradientTransformation,
    sampling: Decoding | None = None,
    adapter: Adapter | None = None,
    label_smoothing: float = 0.0,
    z_weight: float = 0.0,
    condition_dropout: float = 0.1,
    ema_decay: float | Callable[[Array], Array] | None = None,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """An autoregressive model of tokens as an :class:`aigc_jax.types.Algorithm`.

    Args:
        model: the network and its sequences.
        tx: its optimiser.
        sampling: how samples are drawn; None for the defaults.
        adapter: what is trained in place of the network, see :mod:`aigc_jax.algorithms.finetuning`; None for all.
        label_smoothing: share in [0, 1) of each target that all tokens get.
        z_weight: weight of the z-loss, see :func:`aigc_jax.losses.tokens.next_token_loss`.
        condition_dropout: probability in [0, 1) that a class is hidden in training, for classifier-free guidance.
        ema_decay: decay of the weight average that ``sample`` uses; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` int32 [B, length + 1], padded by -1, whose first token is no target, and
        of a model of classes ``condition`` int32 [B]. All targets of a batch weigh alike, however many each sequence
        has. ``evaluate`` gives ``nll`` in nats, ``num_tokens`` and, of text, ``num_bytes``, for each sequence of
        whatever length. ``sample`` takes prompts int32 [B, P] as of :attr:`aigc_jax.types.Modality.prompts`; or else no
        condition, and of a model of classes int32 [B], where the number of classes stands for none. It returns int32
        [B, P + number drawn], padded: the start token, the prompt and what follows. ``detectors`` has the mean ``nll``
        of a token and, where it is known which ones begin words, those of :mod:`aigc_jax.guards.last_word`.

    Raises:
        UsageError: a number out of range; sequences of another length.

    >>> import jax
    >>> from aigc_jax.nets.decoder import DecoderSettings, make_decoder
    >>> net = make_decoder(DecoderSettings(width=8, depth=1, head_width=4), vocab_size=5, max_length=6)
    >>> algorithm = autoregressive(TokenModel(net, 6, start=4, end=4), tx=optax.sgd(1e-3), sampling=Decoding(3))
    >>> batch = {"example": jnp.zeros((2, 7), jnp.int32)}
    >>> state = jax.jit(algorithm.init)(jax.random.key(0), batch)
    >>> state, metrics = jax.jit(algorithm.step)(state, batch, jax.random.key(1))
    >>> bool(metrics["decoder/loss"] < 2.0)  # near log 5
    True
    >>> algorithm.sample(state.variables, jax.random.key(2), 2, None).shape
    (2, 4)
    """
    sampling = Decoding() if sampling is None else sampling
    if not 0.0 <= condition_dropout < 1.0:
        raise UsageError(f"expected condition_dropout in [0, 1), got {condition_dropout}: 0.1 is usual")

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Weighted, tuple[PyTree, Metrics]]:
        tokens = _tokens_of(batch)
        keys = split_by_name(example_keys(key, batch["index"]), "dropout", "condition")
        condition = condition_of(batch, model.num_classes)
        condition = hide_at_random(condition, keys["condition"], condition_dropout, model.num_classes)
        logits = model.logits(params[PLAYER], tokens, condition, keys["dropout"])
        loss = next_token_loss(logits, tokens[:, 1:], label_smoothing=label_smoothing, z_weight=z_weight)
        return loss, (model_state, {})

    def logits_fn(variables: Variables, tokens: Array, condition: Condition) -> Array:
        # A prompt is part of the tokens.
        return model.logits(variables["params"][PLAYER], tokens, condition if model.num_classes else None)

    def nll_of(variables: Variables, tokens: Array, condition: Condition) -> Array:
        return token_nll(logits_fn(variables, tokens, condition), tokens[:, 1:])

    def evaluate(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        del key
        targets = _tokens_of(batch)[:, 1:]
        nll = nll_of(variables, batch["example"], condition_of(batch, model.num_classes))
        rows = {"nll": nll.sum(axis=1), NUM_TOKENS: jnp.sum(targets >= 0, axis=1)}
        if model.num_bytes is not None:
            sizes = jnp.asarray(model.num_bytes)[jnp.maximum(targets, 0)]
            rows[NUM_BYTES] = jnp.sum(jnp.where(targets >= 0, sizes, 0), axis=1)
        return rows

    draw = _sampler(model, sampling)

    def sample(variables: Variables, key: Array, num_samples: int, condition: Condition) -> Array:
        return draw(model_of(variables), example_keys(key, num_samples), condition)

    def model_of(variables: Variables) -> SequenceModel:
        return model.sequence_model(variables["params"][PLAYER])

    def init_fn(key: Key, batch: Batch) -> PyTree:
        tokens = _tokens_of(batch)
        if tokens.shape[1] != model.length + 1:
            raise UsageError(
                f"this model takes tokens [B, {model.length + 1}], got {list(tokens.shape)}: change its length, or "
                "that of the data"
            )
        return model.net.init(key, tokens[:, :-1])["params"]

    options: Any = {"ema_decay": ema_decay, "num_microbatches": num_microbatches, "axis_name": axis_name}
    init, step = single_player(PLAYER, loss_fn, tx, init_fn, **options)
    sequences = Sequences(model_of, draw)
    algorithm = Algorithm(init, step, sample, evaluate, sequences=sequences, logits=logits_fn)
    algorithm = algorithm._replace(detectors=_detectors(model, model_of, nll_of))
    return algorithm if adapter is None else finetuned(algorithm, PLAYER, loss_fn, tx, init_fn, adapter, **options)


def _detectors(
    model: TokenModel,
    model_of: Callable[[Variables], SequenceModel],
    nll_of: Callable[[Variables, Array, Condition], Array],
) -> dict[str, Detector]:
    """Detectors of improbable texts, and of wrong last words where it is known which tokens begin words."""

    def mean_nll(variables: Variables, samples: Array, condition: Condition, keys: Array) -> Array:
        del keys
        num = jnp.sum(samples[:, 1:] >= 0, axis=1).astype(jnp.float32)
        return nll_of(variables, samples, condition).sum(axis=1) / jnp.maximum(num, 1.0)

    detectors = {"nll": Detector(mean_nll, is_typical_best=True)}
    if model.word_starts is None:
        return detectors
    settings = LastWord(model.word_starts, model.end)

    def last_nll(variables: Variables, samples: Array, condition: Condition, keys: Array) -> Array:
        del keys
        return last_word_nll(nll_of(variables, samples, condition), samples, settings)

    def redrawn(variables: Variables, samples: Array, condition: Condition, keys: Array) -> tuple[Array, Array]:
        sequences = model_of(variables)
        sequences = _classed(model, sequences, condition) if model.num_classes else sequences
        return redrawn_words(sequences, samples, keys, settings)

    return {
        **detectors,
        "last_word_nll": Detector(last_nll),
        "semantic_entropy": Detector(lambda *given: semantic_entropy(redrawn(*given)[0])),
        "self_consistency": Detector(lambda *given: disagreement(*redrawn(*given))),
    }


def _sampler(model: TokenModel, sampling: Decoding) -> DrawSequencesFn:
    """The sampler of settings, for this model of sequences or another one of the same tokens."""
    processor = sampling.processor(model.net.vocab_size, model.end)

    def draw(
        sequences: SequenceModel,
        keys: Array,
        condition: Condition,
        rule: Callable[[SequenceModel], SequenceModel] | None = None,
    ) -> Array:
        num = len(keys)
        labels, prompts = None, condition
        if model.num_classes and (condition is None or jnp.ndim(condition) < 2):
            labels = as_condition(condition, num, model.num_classes, num_values=model.num_classes + 1)
            prompts = None
        prompt = jnp.full((num, 1), model.start, jnp.int32) if prompts is None else jnp.asarray(prompts)
        if prompt.ndim != 2 or len(prompt) != num:
            raise UsageError(
                f"expected a prompt for each of {num} samples, int32 [{num}, P], got {list(prompt.shape)}: "
                "make them by Modality.prompts"
            )
        if differs(sampling.guidance, 1.0):
            without = (lambda prompt: model.classed(prompt, None)) if model.num_classes else last_alone
            sequences = guided(sequences, sampling.guidance, without)
        if model.num_classes:
            sequences = _classed(model, sequences, labels)
        if rule is not None:
            sequences = rule(sequences)
        if sampling.num_beams > 1:
            return beam_search(
                sequences,
                prompt,
                length=sampling.length,
                end=model.end,
                num_beams=sampling.num_beams,
                processor=processor,
            ).tokens
        keys = split_by_name(keys, "token")["token"]
        return decode(sequences, prompt, keys, length=sampling.length, end=model.end, processor=processor).tokens

    return draw


def _classed(model: TokenModel, sequences: SequenceModel, condition: Condition) -> SequenceModel:
    """The sequences of classes [B]: samples and processors see the start token in the place of the class."""
    return sequences._replace(prefill=lambda prompt, size: sequences.prefill(model.classed(prompt, condition), size))


def _tokens_of(batch: Batch) -> Array:
    tokens = example_of(batch, jnp.signedinteger)
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise UsageError(f"expected tokens [B, 2 or more], got {list(tokens.shape)}: give each a first token")
    return tokens
