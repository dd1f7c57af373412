"""Losses of sequences of tokens; padding (-1) counts for nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.types import UsageError, Weighted


def token_nll(
    logits: Float[Array, "batch length vocab"], targets: Int[Array, "batch length"]
) -> Float[Array, "batch length"]:
    """The negative log-likelihood of each target in nats, 0 of padding.

    >>> token_nll(jnp.zeros((1, 2, 4)), jnp.array([[3, -1]]))[0].round(3).tolist()  # log 4
    [1.38..., 0.0]
    """
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    chosen = jnp.take_along_axis(log_probs, jnp.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    return jnp.where(targets >= 0, -chosen, 0.0)


def next_token_loss(
    logits: Float[Array, "batch length vocab"],
    targets: Int[Array, "batch length"],
    *,
    label_smoothing: float = 0.0,
    z_weight: float = 0.0,
) -> Weighted:
    """Cross-entropy of the next token: of each sequence the mean over its tokens, which weigh alike over the batch.

    ``label_smoothing`` gives a share of each target to all tokens alike. ``z_weight`` pulls the normaliser to 1 by
    z_weight (log sum_v exp logits_v)^2, so that logits do not drift.

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, section 7; Chowdhery et al.,
        "PaLM", 2022, section 5 (z-loss, with weight 1e-4).

    >>> found = next_token_loss(jnp.zeros((2, 3, 4)), jnp.array([[0, 1, 2], [3, -1, -1]]))
    >>> found.loss.round(3).tolist(), found.weight.tolist()
    ([1.38..., 1.38...], [3.0, 1.0])
    """
    if not 0 <= label_smoothing < 1 or z_weight < 0:
        raise UsageError(
            f"expected label_smoothing in [0, 1) and z_weight >= 0, got {label_smoothing} and {z_weight}: use 0"
        )
    logits = logits.astype(jnp.float32)
    losses = token_nll(logits, targets)
    if label_smoothing:
        uniform = -jax.nn.log_softmax(logits).mean(axis=-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    if z_weight:
        losses = losses + z_weight * jnp.square(jax.nn.logsumexp(logits, axis=-1))
    is_target = (targets >= 0).astype(jnp.float32)
    num = is_target.sum(axis=-1)
    return Weighted((losses * is_target).sum(axis=-1) / jnp.maximum(num, 1.0), num)


def bag_of_words_loss(
    logits: Float[Array, "batch vocab"], tokens: Int[Array, "batch length"]
) -> Float[Array, " batch"]:
    """Binary cross-entropy of which tokens a text holds, whatever their order: nats per text, mean over the vocabulary.

    >>> bag_of_words_loss(jnp.zeros((1, 4)), jnp.array([[2, 2, -1]])).round(3).tolist()  # log 2
    [0.693...]
    """
    held = (
        jnp.zeros(logits.shape, jnp.float32)
        .at[jnp.arange(len(tokens))[:, None], jnp.maximum(tokens, 0)]
        .max((tokens >= 0).astype(jnp.float32))
    )
    logits = logits.astype(jnp.float32)
    return (jax.nn.softplus(logits) - held * logits).mean(axis=-1)


def soft_f1_loss(probs: Float[Array, "batch class"], labels: Float[Array, "batch class"]) -> Float[Array, " batch"]:
    """1 - F1 of each example with expected counts: 2 TP / (2 TP + FP + FN), so that it has a gradient.

    Reference:
        Bénédict et al., "sigmoidF1: A Smooth F1 Score Surrogate Loss for Multilabel Classification", 2022.

    >>> soft_f1_loss(jnp.array([[1.0, 0.5]]), jnp.array([[1.0, 0.0]])).round(3)
    Array([0.2], dtype=float32)
    """
    both = (probs * labels).sum(axis=-1)
    return 1.0 - (2.0 * both + 1e-8) / (probs.sum(axis=-1) + labels.sum(axis=-1) + 1e-8)
