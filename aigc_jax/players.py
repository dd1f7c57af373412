"""Training step of a game of players: the only place that takes a training gradient.

A VAE, a diffusion model and an autoregressive model are games of one player, a GAN of two. In every game each player in
turn differentiates its loss in its own parameters, averages the gradient over micro-batches and devices, and moves by
its optimiser; then the weight averages follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from aigc_jax.rng import as_key
from aigc_jax.tree import ema, global_norm, mean_over_axis, to_varying
from aigc_jax.types import Batch, Key, LossFn, Metrics, Player, PyTree, StepFn, TrainState, UsageError, Weighted

WEIGHT = "weight"
"""The metric of the mean weight of weighted losses, see :class:`aigc_jax.types.Weighted`."""


def init_state(
    players: Sequence[Player], params: PyTree, model_state: PyTree, *, ema_names: Sequence[str] = ()
) -> TrainState:
    """The state before the first step.

    Args:
        players: the players of the game.
        params: ``{player: parameters}``.
        model_state: ``{player: batch statistics, spectral vectors}``, {} for none.
        ema_names: players whose weights are averaged over time; the averages are copies, so that the state can be
            donated.

    >>> player = Player("model", lambda params, state, batch, key: (batch["x"], (state, {})), optax.sgd(0.1))
    >>> int(init_state([player], {"model": jnp.ones(3)}, {}).step)
    0
    """
    opt_state = {player.name: player.tx.init(params[player.name]) for player in players}
    ema_params = {name: jax.tree.map(jnp.copy, params[name]) for name in ema_names}
    ema_model_state = {name: jax.tree.map(jnp.copy, model_state[name]) for name in ema_names if name in model_state}
    return TrainState(jnp.int32(0), params, opt_state, model_state, ema_params, ema_model_state)


def make_step(
    players: Sequence[Player],
    *,
    ema_decay: float | Callable[[Array], Array] | None = None,
    axis_name: str | None = None,
    num_microbatches: int = 1,
) -> StepFn:
    """Build the training step of a game.

    Args:
        players: who moves, in this order. The batch is split into max(num_updates) minibatches; update k of each player
            uses minibatch k, so that a critic never sees an example twice.
        ema_decay: decay of the averages in ``state.ema_params``, a number in [0, 1] or a schedule of the number of
            steps made; None leaves them as they are.
        axis_name: the device axis under pmap or shard_map; None under plain jit and jit over a mesh.
        num_microbatches: evaluate each gradient in this many equal pieces and average them: the same step with less
            memory (batch statistics are then those of a micro-batch).

    Returns:
        ``(state, batch, key) -> (state, metrics)``; metrics are named ``player/metric`` and include each
        player's ``loss`` and ``grad_norm``.

    Raises:
        UsageError: two players share a name, a name is reserved, a count is below 1, or a decay is not in [0, 1]. The
            step itself raises it when the batch cannot be split evenly.

    >>> def loss_fn(params, model_state, batch, key):
    ...     return jnp.square(params["model"] - batch["x"]), (model_state, {})
    >>> players = [Player("model", loss_fn, optax.sgd(0.5))]
    >>> state = init_state(players, {"model": jnp.float32(0)}, {})
    >>> state, metrics = make_step(players)(state, {"x": jnp.array([1.0, 3.0])}, jax.random.key(0))
    >>> float(state.params["model"]), float(metrics["model/loss"])
    (2.0, 5.0)
    """
    _check(players, num_microbatches)
    if isinstance(ema_decay, float | int) and not 0 <= ema_decay <= 1:
        raise UsageError(f"ema_decay must lie in [0, 1], got {ema_decay}: 0.999 averages over about a thousand steps")
    num_minibatches = max(player.num_updates for player in players)

    def step(state: TrainState, batch: Batch, key: Key) -> tuple[TrainState, Metrics]:
        minibatches = _split_batch(_with_index(batch, axis_name), num_minibatches, "updates")
        params, opt_state, model_state = dict(state.params), dict(state.opt_state), state.model_state
        metrics: Metrics = {}
        for number, player in enumerate(players):
            reports = []
            for k in range(player.num_updates):
                minibatch = jax.tree.map(lambda leaf, k=k: leaf[:, k], minibatches)
                update_key = jax.random.fold_in(jax.random.fold_in(key, number), k)
                grads, model_state, report = _gradient(
                    player,
                    params,
                    {**model_state, "step": state.step},
                    minibatch,
                    update_key,
                    axis_name=axis_name,
                    num_microbatches=num_microbatches,
                )
                updates, opt_state[player.name] = player.tx.update(grads, opt_state[player.name], params[player.name])
                params[player.name] = optax.apply_updates(params[player.name], updates)
                reports.append(report)
            mean = jax.tree.map(lambda *values: sum(values) / len(values), *reports)
            metrics |= {f"{player.name}/{name}": value for name, value in mean.items()}
        decay = ema_decay(state.step) if callable(ema_decay) else ema_decay
        averages = state.ema_params, state.ema_model_state
        if decay is not None:
            averages = tuple(
                {name: ema(average, new[name], decay) for name, average in old.items()}
                for old, new in zip(averages, (params, model_state), strict=True)
            )
        return TrainState(state.step + 1, params, opt_state, model_state, *averages), metrics

    return lambda state, batch, key: _with_automatic_sharding(step, state, batch, as_key(key))


def single_player(
    name: str,
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    init_fn: Callable[[Key, Batch], PyTree],
    *,
    ema_decay: float | Callable[[Array], Array] | None,
    num_microbatches: int,
    axis_name: str | None,
) -> tuple[Callable[[Key, Batch], TrainState], StepFn]:
    """``init`` and ``step`` of a method of one player without model state; ``init_fn`` gives its parameters."""
    players, ema_names = [Player(name, loss_fn, tx)], () if ema_decay is None else (name,)
    step = make_step(players, ema_decay=ema_decay, axis_name=axis_name, num_microbatches=num_microbatches)
    return lambda key, batch: init_state(players, {name: init_fn(key, batch)}, {}, ema_names=ema_names), step


def _with_automatic_sharding(step: StepFn, state: TrainState, batch: Batch, key: Key) -> tuple[TrainState, Metrics]:
    """Make a step with shardings that the compiler chooses, also on arrays of an explicit mesh, JAX's default.

    Otherwise every reshape and every look-up of a user's network would have to name the sharding of its result.
    """
    shardings = [jax.typeof(leaf).sharding for leaf in jax.tree.leaves(batch)]
    explicit = [each for each in shardings if jax.sharding.AxisType.Explicit in each.mesh.axis_types]
    if not explicit:
        return step(state, batch, key)
    replicated = explicit[0].update(spec=type(explicit[0].spec)())
    out = jax.tree.map(lambda leaf: replicated if (own := jax.typeof(leaf).sharding).mesh.empty else own, state)
    spread: Any = jax.sharding.auto_axes(step, out_sharding=(out, replicated))
    return spread(state, batch, key)


def _gradient(
    player: Player,
    params: PyTree,
    model_state: PyTree,
    batch: Batch,
    key: Key,
    *,
    axis_name: str | None,
    num_microbatches: int,
) -> tuple[PyTree, PyTree, Metrics]:
    """One player's gradient, the new model state and the metrics: means over micro-batches and devices."""
    params, model_state = to_varying((params, model_state), axis_name)
    step = model_state["step"]

    def mean_loss(own: PyTree, model_state: PyTree, batch: Batch) -> tuple[Array, tuple[PyTree, Metrics]]:
        found, (model_state, metrics) = player.loss_fn({**params, player.name: own}, model_state, batch, key)
        if not isinstance(found, Weighted):
            return jnp.mean(found), (model_state, {"loss": found, **metrics})
        # Divided by the mean weight of all pieces and devices below, once it is known.
        losses = found.loss * found.weight
        return jnp.mean(losses), (model_state, {"loss": losses, WEIGHT: found.weight, **metrics})

    def accumulate(carry: tuple[PyTree, PyTree], batch: Batch) -> tuple[tuple[PyTree, PyTree], Metrics]:
        total, model_state = carry
        (_, (model_state, metrics)), grads = jax.value_and_grad(mean_loss, has_aux=True)(
            params[player.name], {**model_state, "step": step}, batch
        )
        # A state that the loss averaged over devices (or set to a constant) is typed replicated; scan wants one type.
        model_state = to_varying({k: v for k, v in model_state.items() if k != "step"}, axis_name)
        carry = jax.tree.map(jnp.add, total, grads), model_state
        return carry, jax.tree.map(jnp.mean, metrics)

    pieces = _split_batch(batch, num_microbatches, "micro-batches")
    carry = jax.tree.map(jnp.zeros_like, params[player.name]), {k: v for k, v in model_state.items() if k != "step"}
    if num_microbatches == 1:
        carry, metrics = accumulate(carry, jax.tree.map(lambda leaf: leaf[:, 0], pieces))
    else:
        carry, metrics = jax.lax.scan(accumulate, carry, jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), pieces))
        metrics = jax.tree.map(jnp.mean, metrics)
    total, model_state = carry
    grads = jax.tree.map(lambda leaf: leaf / num_microbatches, total)
    grads, model_state, metrics = mean_over_axis((grads, model_state, metrics), axis_name)
    if WEIGHT in metrics:
        grads, metrics["loss"] = jax.tree.map(lambda leaf: leaf / metrics[WEIGHT], (grads, metrics["loss"]))
    return grads, model_state, {**metrics, "grad_norm": global_norm(grads)}


def _with_index(batch: Batch, axis_name: str | None) -> Batch:
    """Add each example's index in the global batch; devices hold consecutive slices of it."""
    size = jax.tree.leaves(batch)[0].shape[0]
    start = jnp.int32(0) if axis_name is None else jax.lax.axis_index(axis_name) * size
    return {**batch, "index": start + jnp.arange(size, dtype=jnp.int32)}


def _split_batch(batch: Batch, num: int, what: str) -> Batch:
    """[B, ...] -> [B / num, num, ...]: example i is in minibatch i % num, on any number of devices."""
    size = jax.tree.leaves(batch)[0].shape[0]
    if size % num:
        raise UsageError(
            f"{num} {what} need a batch that divides evenly, got {size} examples a device: "
            f"use a batch size that is a multiple of {num} times the number of devices"
        )
    return jax.tree.map(lambda leaf: leaf.reshape(size // num, num, *leaf.shape[1:]), batch)


def _check(players: Sequence[Player], num_microbatches: int) -> None:
    names = [player.name for player in players]
    if len(set(names)) != len(names) or not names or "step" in names:
        raise UsageError(f"players need distinct names other than 'step', got {names}: rename one")
    if min(player.num_updates for player in players) < 1 or num_microbatches < 1:
        raise UsageError(
            f"num_updates and num_microbatches must be at least 1, got "
            f"{[player.num_updates for player in players]} and {num_microbatches}: use 1"
        )
