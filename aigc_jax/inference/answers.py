"""Probabilities that a model of text gives to answers in their usual tokens, by teacher forcing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aigc_jax.progress import Progress
from aigc_jax.types import Experiment, UsageError, Variables

BLOCK = 128


class Scored(NamedTuple):
    """Answers as a model of text sees them.

    Attributes:
        log_prob: natural log of the probability of each whole answer after its prompt, and of its end; where a text has
            several spellings in tokens, as with byte pairs, that of the usual one, a lower bound.
        mean_log_prob: of one of its tokens, the end included.
        logits: of the first token of each answer: a linear function of the last hidden state.
    """

    log_prob: Float[np.ndarray, " num"]
    mean_log_prob: Float[np.ndarray, " num"]
    logits: Float[np.ndarray, "num vocab"]


def score_answers(
    experiment: Experiment,
    variables: Variables,
    prompts: Sequence[str],
    answers: Sequence[str],
    vocabulary: Sequence[bytes],
    *,
    title: str = "answers",
) -> Scored:
    """The probability of each answer to its prompt, which a space separates unless the prompt ends with space.

    An answer ends with its line, or with the text.

    Args:
        experiment: a model of text.
        variables: its weights.
        prompts: of the answers, one each.
        answers: of one line each.
        vocabulary: the bytes of each token, of which the last one is the boundary between texts.
        title: of the progress bar.

    Raises:
        UsageError: the model gives no probabilities of tokens.
    """
    logits_fn, prompts_of = experiment.algorithm.logits, experiment.modality.prompts
    if logits_fn is None or prompts_of is None:
        raise UsageError("this run gives no probabilities of the next token: name one of gpt_docs, say")
    spaced = [prompt if prompt[-1:].isspace() else prompt + " " for prompt in prompts]
    tokens = prompts_of([prompt + answer for prompt, answer in zip(spaced, answers, strict=True)])
    # A space begins the first token of an answer, if tokens are pairs of bytes.
    sizes = (prompts_of([prompt.rstrip(" ") for prompt in spaced]) >= 0).sum(axis=1)
    tokens = np.pad(tokens, ((0, 0), (0, 1)), constant_values=-1)
    ends = jnp.asarray([not spelled or spelled.startswith(b"\n") for spelled in vocabulary])

    @jax.jit
    def block(
        variables: Variables, tokens: Int[Array, "num length"], sizes: Int[Array, " num"]
    ) -> tuple[Array, Array, Array]:
        found = logits_fn(variables, tokens, None)
        log_probs = jax.nn.log_softmax(found)
        end = jax.nn.logsumexp(jnp.where(ends, log_probs, -jnp.inf), axis=-1)
        targets = tokens[:, 1:]
        own = jnp.take_along_axis(log_probs, jnp.maximum(targets, 0)[..., None], axis=-1)[..., 0]
        length = jnp.sum(tokens >= 0, axis=1)[:, None]
        place = jnp.arange(1, tokens.shape[1])[None]
        per_token = jnp.where(place < length, own, jnp.where(place == length, end, 0.0))
        is_answer = place >= sizes[:, None]
        total = jnp.sum(jnp.where(is_answer, per_token, 0.0), axis=1)
        first = jnp.take_along_axis(found, (sizes - 1)[:, None, None], axis=1)[:, 0]
        return total, total / jnp.maximum(length[:, 0] + 1 - sizes, 1), first

    parts = []
    with Progress(len(answers), title, "answer") as bar:
        for start in range(0, len(answers), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(answers)))
            full = np.resize(rows, BLOCK)
            found = block(variables, tokens[full], sizes[full].astype(np.int32))
            parts.append([np.asarray(each, np.float64)[: len(rows)] for each in found])
            bar.update(len(rows))
    return Scored(*(np.concatenate(each) for each in zip(*parts, strict=True)))
