"""Direct preference optimisation (DPO): a language model learns from pairs of answers, a chosen and a rejected one.

    params = {"decoder": the model, "reference": the model before, which no player owns}

One player, whose loss needs no model of rewards. It can fall while both answers become less likely: the nats of each
are logged.

Reference:
    Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", 2023.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from aigc_jax.algorithms.autoregressive import PLAYER, TokenModel, autoregressive
from aigc_jax.algorithms.networks import example_of
from aigc_jax.losses.preference import dpo_loss
from aigc_jax.losses.tokens import token_nll
from aigc_jax.players import init_state, make_step
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.types import (
    Algorithm,
    Batch,
    Condition,
    Key,
    Keys,
    Metrics,
    Player,
    PyTree,
    TrainState,
    UsageError,
    Variables,
)

REFERENCE = "reference"
"""The entry of the model before, in params."""


def preference(
    model: TokenModel,
    *,
    tx: optax.GradientTransformation,
    beta: float = 0.1,
    sampling: Decoding | None = None,
    ema_decay: float | Callable[[Array], Array] | None = None,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """DPO of an autoregressive model as an :class:`aigc_jax.types.Algorithm`.

    Args:
        model: the network and its sequences.
        tx: its optimiser.
        beta: > 0, see :func:`aigc_jax.losses.preference.dpo_loss`.
        sampling: how samples are drawn; None for the defaults.
        ema_decay: decay of the weight average that ``sample`` uses; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` int32 [B, 2, 2, length]: of the chosen and of the rejected answer, the
        tokens that the model reads, a prompt and the answer, and the targets, the next tokens of the answer and -1
        elsewhere. The reference is the model at the start. All else is as of
        :func:`aigc_jax.algorithms.autoregressive.autoregressive`; ``evaluate`` and
        ``detectors`` take its batches too, and of pairs look at the chosen texts.

    Raises:
        UsageError: beta is not positive; batches of another shape.
    """
    if not beta > 0:
        raise UsageError(f"expected beta > 0, got {beta}: 0.1 is usual")
    base = autoregressive(model, tx=tx, sampling=sampling)
    evaluate: Any = base.evaluate
    nll = base.detectors["nll"]

    def log_probs(weights: PyTree, pair: Int[Array, "batch 2 2 length"], keys: Keys | None) -> tuple[Array, Array]:
        """Of both answers, in nats [B]: sums over the targets."""
        nll = [
            token_nll(model.net.apply({"params": weights}, arm[:, 0], keys=keys)[0], arm[:, 1])  # pyright: ignore
            for arm in (pair[:, 0], pair[:, 1])
        ]
        return -nll[0].sum(axis=1), -nll[1].sum(axis=1)

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        pair = _pairs_of(batch, model.length)
        # Both answers with the same dropout: it is no reason to prefer one.
        keys = split_by_name(example_keys(key, batch["index"]), "dropout")["dropout"]
        chosen, rejected = log_probs(params[PLAYER], pair, keys)
        reference = log_probs(params[REFERENCE], pair, None)
        losses = dpo_loss(chosen, rejected, *reference, beta=beta)
        margin = beta * ((chosen - reference[0]) - (rejected - reference[1]))
        metrics = {
            "chosen_nats": -chosen,
            "rejected_nats": -rejected,
            "reward_margin": margin,
            "reward_accuracy": (margin > 0).astype(jnp.float32),
        }
        return losses, (model_state, metrics)

    def init(key: Key, batch: Batch) -> TrainState:
        params = model.net.init(key, _pairs_of(batch, model.length)[:, 0, 0])["params"]
        ema_names = () if ema_decay is None else (PLAYER,)
        return init_state(players, {PLAYER: params, REFERENCE: jax.tree.map(jnp.copy, params)}, {}, ema_names=ema_names)

    def evaluate_chosen(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        return evaluate(variables, {**batch, "example": _chosen(batch["example"])}, key)

    def score(variables: Variables, samples: Array, condition: Condition, keys: Keys) -> Array:
        return nll.score(variables, _chosen(samples), condition, keys)

    players = [Player(PLAYER, loss_fn, tx)]
    step = make_step(players, ema_decay=ema_decay, axis_name=axis_name, num_microbatches=num_microbatches)
    detectors = {"nll": nll._replace(score=score)}
    return base._replace(init=init, step=step, evaluate=evaluate_chosen, detectors=detectors)


def _pairs_of(batch: Batch, length: int) -> Array:
    pair = example_of(batch, jnp.signedinteger)
    if pair.shape[1:] != (2, 2, length):
        raise UsageError(
            f"expected pairs [B, 2, 2, {length}], got {list(pair.shape)}: chosen and rejected, tokens and targets"
        )
    return pair


def _chosen(tokens: Array) -> Int[Array, "batch length"]:
    """Of pairs the chosen texts, prompts included; other texts as they are."""
    return jnp.concatenate([tokens[:, 0, 0], tokens[:, 0, 1, -1:]], axis=1) if tokens.ndim == 4 else tokens
