"""Diffusion of tokens, by the absorbing or the uniform categorical process: sequences, or images of a few grey levels.

One player, whose loss is the negative variational bound in continuous time, in nats per example.

Reference:
    Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces" (D3PM), 2021; Campbell et al., "A
    Continuous Time Framework for Discrete Denoising Models", 2022; for the absorbing process Sahoo et al., "Simple and
    Effective Masked Diffusion Language Models" (MDLM), 2024, and Shi et al., "Simplified and Generalized Masked
    Diffusion for Discrete Data", 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from aigc_jax.algorithms.detecting import elbo_detector
from aigc_jax.algorithms.networks import as_condition, condition_of, example_of, hide_at_random, init_network
from aigc_jax.players import single_player
from aigc_jax.processes.discrete import CategoricalProcess
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.samplers.discrete import TokenSampling, ancestral, draw_limit, token_times
from aigc_jax.samplers.guidance import classifier_free
from aigc_jax.types import (
    NUM_BYTES,
    NUM_TOKENS,
    Algorithm,
    Batch,
    Condition,
    Key,
    Keys,
    Metrics,
    PyTree,
    SampleFn,
    UsageError,
    Variables,
)

PLAYER = "denoiser"
"""The one player's name in params and model_state."""

MARGIN = 1e-5
"""Least distance of times from 0 and 1, where float32 has lost 1 - keep, or keep."""


class TokenDenoiser(NamedTuple):
    """A network, and its use as a denoiser of tokens.

    Args:
        net: Linen module ``(x [B, ..., C * S], noise_label [B], condition, *, keys) -> [B, ..., C * V]``: one-hot
            states in, logits of x_0 out; ``keys`` are those of the dropout, None for none.
        process: the noise process; its vocabulary is that of the tokens.
        shape: of one example, [..., C]: (height, width, channels) of an image, (length,) of a sequence.
        num_classes: number of classes, 0 for an unconditional model; class ``num_classes`` stands for no condition.
        num_bytes: bytes that each token spells, int [V], for bits per byte; None for tokens that are no text.
    """

    net: nn.Module
    process: CategoricalProcess
    shape: tuple[int, ...]
    num_classes: int = 0
    num_bytes: np.ndarray | None = None

    def condition(self, batch: Batch) -> Condition:
        """The condition of each example of a batch, None for an unconditional model."""
        return condition_of(batch, self.num_classes)

    def init(self, key: Key, batch: Batch) -> PyTree:
        """Initial parameters; only the shapes of the batch matter."""
        if batch["example"].shape[1:] != self.shape:
            got = batch["example"].shape[1:]
            raise UsageError(f"this model takes tokens of shape {self.shape}, got {got}: change either")
        tokens = example_of(batch, jnp.integer)
        x = jnp.zeros((*tokens.shape[:-1], self.shape[-1] * self.process.num_states))
        return init_network(
            "denoiser",
            self.net,
            key,
            x,
            jnp.zeros(x.shape[0]),
            self.condition(batch),
            expected=(*x.shape[:-1], self.shape[-1] * self.process.vocab_size),
            meaning="logits of each token",
            keys=None,
        )["params"]

    def logits(
        self, params: PyTree, x_t: Array, t: Float[Array, " batch"], condition: Condition, keys: Keys | None = None
    ) -> Float[Array, "batch ... vocab"]:
        """The network's logits of x_0, before :meth:`CategoricalProcess.mask_impossible_logits`."""
        one_hot = jax.nn.one_hot(x_t, self.process.num_states)
        x = one_hot.reshape(*x_t.shape[:-1], -1)
        output = jnp.asarray(self.net.apply({"params": params}, x, t, condition, keys=keys))
        return output.reshape(*x_t.shape, self.process.vocab_size)

    def bound_rate(self, params: PyTree, x_0: Array, t: Array, condition: Condition, keys: dict[str, Keys]) -> Array:
        """The bound at one time of each example: nats [B]; its mean over t is the bound."""
        t = jnp.clip(t, MARGIN, 1.0 - MARGIN)
        x_t = self.process.corrupt(x_0, keys["noise"], t)
        log_probs = self.process.mask_impossible_logits(
            self.logits(params, x_t, t, condition, keys.get("dropout")), x_t, t
        )
        return self.process.bound_rate(log_probs, x_0, x_t, t)


def discrete_diffusion(
    denoiser: TokenDenoiser,
    *,
    tx: optax.GradientTransformation,
    sampling: TokenSampling | None = None,
    num_times: int = 64,
    condition_dropout: float = 0.1,
    ema_decay: float | Callable[[Array], Array] | None = 0.999,
    num_microbatches: int = 1,
    axis_name: str | None = None,
) -> Algorithm:
    """Diffusion of tokens as an :class:`aigc_jax.types.Algorithm`.

    Args:
        denoiser: the network and its process.
        tx: its optimiser.
        sampling: how many steps, and how much guidance; None for the defaults.
        num_times: times of the bound in ``evaluate``, one in each of so many equal parts of [0, 1].
        condition_dropout: probability in [0, 1) that a condition is hidden, for classifier-free guidance.
        ema_decay: decay of the weight average that ``sample`` uses; None for none.
        num_microbatches: see :func:`aigc_jax.players.make_step`.
        axis_name: the device axis under pmap or shard_map, None under jit.

    Returns:
        The algorithm. Batches hold ``example`` int32 [B, ...] in 0 ... V - 1 and, for a conditional model,
        ``condition`` int32 [B]. ``evaluate`` gives an unbiased estimate of a bound from above: ``nll`` in nats and
        ``bits_per_dim``, per token; ``num_tokens`` and, of text, ``num_bytes``.

    Raises:
        UsageError: a number out of range, or guidance of a model without condition.

    >>> from aigc_jax.nets.unet import UNet
    >>> from aigc_jax.processes.discrete import absorbing
    >>> net = UNet(8, (1,), 1, (), head_width=0, out_channels=2)
    >>> algorithm = discrete_diffusion(
    ...     TokenDenoiser(net, absorbing(2), (4, 4, 1)), tx=optax.sgd(1e-3), sampling=TokenSampling(3), num_times=2
    ... )
    >>> batch = {"example": jnp.zeros((6, 4, 4, 1), jnp.int32)}
    >>> state = jax.jit(algorithm.init)(jax.random.key(0), batch)
    >>> state, metrics = jax.jit(algorithm.step)(state, batch, jax.random.key(1))
    >>> jax.eval_shape(lambda variables: algorithm.sample(variables, jax.random.key(2), 5, None), state.variables).shape
    (5, 4, 4, 1)
    """
    sampling = TokenSampling() if sampling is None else sampling
    _check(denoiser, sampling, num_times, condition_dropout)
    num_dims, evaluate = math.prod(denoiser.shape), _make_evaluate_fn(denoiser, num_times)

    def loss_fn(params: PyTree, model_state: PyTree, batch: Batch, key: Key) -> tuple[Array, tuple[PyTree, Metrics]]:
        keys = split_by_name(example_keys(key, batch["index"]), "noise", "condition", "dropout")
        condition = denoiser.condition(batch)
        condition = hide_at_random(condition, keys["condition"], condition_dropout, denoiser.num_classes)
        t = spread_times(split_by_name(key, "time")["time"], batch["index"])
        losses = denoiser.bound_rate(params[PLAYER], example_of(batch, jnp.integer), t, condition, keys)
        return losses, (model_state, {"bits_per_dim": losses / (num_dims * math.log(2.0))})

    init, step = single_player(
        PLAYER, loss_fn, tx, denoiser.init, ema_decay=ema_decay, num_microbatches=num_microbatches, axis_name=axis_name
    )
    return Algorithm(
        init,
        step,
        sample=_make_sample_fn(denoiser, sampling),
        evaluate=evaluate,
        detectors={"elbo": elbo_detector(evaluate, denoiser.num_classes, null=denoiser.num_classes)},
    )


def spread_times(key: Key, index: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Random times, each uniform in [0, 1), that together leave no large gap: less noise in the mean of a batch.

    Steps of the golden ratio around a circle, from a random start: an example's time depends on its index in the global
    batch alone, not on the batch size, as equal steps would.

    Reference:
        Kingma et al., "Variational Diffusion Models", 2021, appendix I.1, whose sampler takes equal steps.
    """
    # 2^32 over the golden ratio, in integers that wrap around: exact for every index.
    position = index.astype(jnp.uint32) * jnp.uint32(2654435769) + jax.random.bits(key, (), jnp.uint32)
    return (position >> 8).astype(jnp.float32) / 2.0**24


def _make_sample_fn(denoiser: TokenDenoiser, sampling: TokenSampling) -> SampleFn:
    solve, times = ancestral(denoiser.process), token_times(sampling.num_steps)
    # On logits u + w (c - u) is the distribution p(x_0 | c)^w p(x_0)^(1 - w), normalised.
    guide = classifier_free(sampling.guidance, null=denoiser.num_classes)

    def sample(variables: Variables, key: Array, num_samples: int, condition: Condition = None) -> Array:
        condition = as_condition(condition, num_samples, denoiser.num_classes, num_values=denoiser.num_classes + 1)
        params = variables["params"][PLAYER]

        def denoise(x_t: Array, t: Array, condition: Condition) -> Array:
            return denoiser.logits(params, x_t, t, condition)

        keys = split_by_name(example_keys(key, num_samples), "limit", "solver")
        x = draw_limit(denoiser.process, keys["limit"], denoiser.shape)
        return solve(guide(denoise), x, jnp.asarray(times), keys["solver"], condition)

    return sample


def _make_evaluate_fn(denoiser: TokenDenoiser, num_times: int) -> Callable[[Variables, Batch, Array], dict[str, Array]]:
    num_dims = math.prod(denoiser.shape)

    def evaluate(variables: Variables, batch: Batch, key: Array) -> dict[str, Array]:
        x_0, condition = example_of(batch, jnp.integer), denoiser.condition(batch)
        keys = example_keys(key, x_0.shape[0])

        def add(total: Array, number: Array) -> tuple[Array, None]:
            now = split_by_name(jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number), "time", "noise")
            t = (number.astype(jnp.float32) + jax.vmap(jax.random.uniform)(now["time"])) / num_times
            rate = denoiser.bound_rate(variables["params"][PLAYER], x_0, t, condition, {"noise": now["noise"]})
            return total + rate / num_times, None

        nll, _ = jax.lax.scan(add, jnp.zeros(x_0.shape[0]), jnp.arange(num_times))
        num_tokens = jnp.full(nll.shape, num_dims, jnp.int32)
        rows = {"nll": nll, "bits_per_dim": nll / (num_dims * math.log(2.0)), NUM_TOKENS: num_tokens}
        if denoiser.num_bytes is None:
            return rows
        return {**rows, NUM_BYTES: jnp.asarray(denoiser.num_bytes)[x_0].sum(axis=tuple(range(1, x_0.ndim)))}

    return evaluate


def _check(denoiser: TokenDenoiser, sampling: TokenSampling, num_times: int, condition_dropout: float) -> None:
    token_times(sampling.num_steps)
    if num_times < 1:
        raise UsageError(f"expected at least one time for the bound, got {num_times}: 64 is usual")
    if not 0.0 <= condition_dropout < 1.0:
        raise UsageError(f"expected condition_dropout in [0, 1), got {condition_dropout}: 0.1 is usual")
    if not math.isfinite(sampling.guidance) or sampling.guidance < 0.0:
        raise UsageError(f"expected guidance >= 0, got {sampling.guidance}: 1 is the conditional model itself")
    if sampling.guidance != 1.0 and not denoiser.num_classes:
        raise UsageError(f"got guidance {sampling.guidance}, but this model is unconditional: leave guidance at 1")
