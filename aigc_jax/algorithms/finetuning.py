"""Fine-tuning through adapters: the network is an entry of ``params`` that no player owns, so it stays as it is.

    params = {"base": the network, "adapter": what is trained}

One player, the adapter; its loss is that of the method, of the merged weights.

Reference:
    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022; Lester, Al-Rfou, Constant, "The Power of
    Scale for Parameter-Efficient Prompt Tuning", 2021.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import optax
from jaxtyping import Array

from aigc_jax.nets.adapters import Adapter
from aigc_jax.players import init_state, make_step
from aigc_jax.rng import split_by_name
from aigc_jax.types import (
    Algorithm,
    Batch,
    Key,
    LossFn,
    Metrics,
    Player,
    PyTree,
    TrainState,
    Variables,
    Weighted,
)

BASE = "base"
"""The entry of the frozen network in params."""
ADAPTER = "adapter"
"""The one player's name in params and model_state."""


def finetuned(
    algorithm: Algorithm,
    player: str,
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    init_fn: Callable[[Key, Batch], PyTree],
    adapter: Adapter,
    *,
    ema_decay: float | Callable[[Array], Array] | None,
    num_microbatches: int,
    axis_name: str | None,
) -> Algorithm:
    """A method of one player with an adapter in its place.

    Args:
        algorithm: the method, for its functions of trained weights.
        player: its player's name.
        loss_fn: its loss.
        tx: the optimiser of the adapter.
        init_fn: the weights of the network; :mod:`aigc_jax.train.initial` replaces them by trained ones.
        adapter: what is trained.
        ema_decay: see :func:`aigc_jax.players.make_step`, as are the others.
        num_microbatches: likewise.
        axis_name: likewise.
    """

    def merged(variables: Variables) -> Variables:
        params = variables["params"]
        return {**variables, "params": {player: adapter.merge(params[BASE], params[ADAPTER])}}

    def adapted_loss(
        params: PyTree, model_state: PyTree, batch: Batch, key: Key
    ) -> tuple[Array | Weighted, tuple[PyTree, Metrics]]:
        return loss_fn(merged({"params": params})["params"], model_state, batch, key)

    def init(key: Key, batch: Batch) -> TrainState:
        keys = split_by_name(key, BASE, ADAPTER)
        base, new = adapter.split(keys[ADAPTER], init_fn(keys[BASE], batch))
        params = {BASE: base, ADAPTER: new}
        return init_state(players, params, {}, ema_names=() if ema_decay is None else (ADAPTER,))

    def of_merged(fn: Callable[..., Any]) -> Callable[..., Any]:
        return functools.wraps(fn)(lambda variables, *given: fn(merged(variables), *given))

    sequences = algorithm.sequences
    players = [Player(ADAPTER, adapted_loss, tx)]
    step = make_step(players, ema_decay=ema_decay, axis_name=axis_name, num_microbatches=num_microbatches)
    return algorithm._replace(
        init=init,
        step=step,
        sample=algorithm.sample and of_merged(algorithm.sample),
        evaluate=algorithm.evaluate and of_merged(algorithm.evaluate),
        logits=algorithm.logits and of_merged(algorithm.logits),
        sequences=sequences and sequences._replace(model=of_merged(sequences.model)),
        merged=merged if adapter.is_plain else None,
        detectors={name: each._replace(score=of_merged(each.score)) for name, each in algorithm.detectors.items()},
    )
