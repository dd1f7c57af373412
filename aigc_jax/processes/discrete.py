"""Categorical noise: a token is kept with probability keep(t), else it is one drawn from a limit distribution.

    q(x_t | x_0) = keep(t) [x_t = x_0] + (1 - keep(t)) limit(x_t)

A process is these two: with all of the limit on one extra state, the mask, it is the absorbing process; with a flat
limit, the uniform one. Everything else follows: the posterior, and the integrand of the variational bound.

Reference:
    Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces" (D3PM), 2021, section 3 and appendix
    A.2; in continuous time Campbell et al., "A Continuous Time Framework for Discrete Denoising Models", 2022.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aigc_jax.processes.gaussian import ScheduleFn, expand
from aigc_jax.types import Keys, UsageError


class CategoricalProcess(NamedTuple):
    """A categorical noise process. Data are tokens 0 ... V - 1; there may be more states."""

    keep: ScheduleFn  # probability that a token is still itself at t, from 1 at t = 0 to 0 at t = 1
    limit: np.ndarray  # distribution of tokens that are not kept, float32 [S]
    vocab_size: int  # V <= S

    @property
    def num_states(self) -> int:
        """S, the number of values that x_t takes."""
        return len(self.limit)

    def corrupt(self, x_0: Int[Array, "batch *shape"], keys: Keys, t: Float[Array, " batch"]) -> Array:
        """Draw x_t, at a time for each example [B], as states int32 [B, ...]."""

        def draw(x_0: Array, key: Array, keep: Array) -> Array:
            kept, replaced = jax.random.split(key)
            noise = draw_states(replaced, jnp.broadcast_to(self.limit, (*x_0.shape, self.num_states)))
            return jnp.where(jax.random.uniform(kept, x_0.shape) < keep, x_0, noise)

        return jax.vmap(draw)(x_0, keys, self.keep(t))

    def marginal(self, x_0: Int[Array, "batch *shape"], t: Float[Array, " batch"]) -> Array:
        """The distribution q(x_t | x_0): float32 [B, ..., S].

        Reference:
            Austin et al. 2021, equation 3, with the product of matrices in closed form.
        """
        keep = expand(self.keep(t), x_0)[..., None]
        return keep * jax.nn.one_hot(x_0, self.num_states) + (1.0 - keep) * jnp.broadcast_to(
            self.limit, (1,) * x_0.ndim + self.limit.shape
        )

    def likelihood(self, x_t: Int[Array, "batch *shape"], t: Float[Array, " batch"]) -> Array:
        """q(x_t | x_0) as a function of x_0, for every token: float32 [B, ..., V]."""
        keep = expand(self.keep(t), x_t)[..., None]
        return keep * jax.nn.one_hot(x_t, self.vocab_size) + (1.0 - keep) * self._limit_at(x_t)[..., None]

    def mask_impossible_logits(
        self, logits: Float[Array, "batch *shape vocab"], x_t: Int[Array, "batch *shape"], t: Float[Array, " batch"]
    ) -> Array:
        """Normalised log probabilities of x_0 [B, ..., V], -inf for tokens that cannot have become x_t.

        Where the limit is a mask, a token that is not masked is known: the network need not learn it. There must be
        noise at t or x_t must be a token.

        Reference:
            Sahoo et al., "Simple and Effective Masked Diffusion Language Models" (MDLM), 2024, section 3.2.3.
        """
        return jax.nn.log_softmax(logits, where=self.likelihood(x_t, t) > 0)

    def reverse(self, log_probs: Float[Array, "batch *shape vocab"], x_t: Array, s: Array, t: Array) -> Array:
        """The distribution of x_s given x_t, s < t [B, ..., S]: the mean of q(x_s | x_t, x_0) over the predicted x_0.

        For a certain x_0 it is the posterior itself; for the exact p(x_0 | x_t) it is the exact p(x_s | x_t), token by
        token. ``log_probs`` are those of :meth:`mask_impossible_logits`.

        Reference:
            Austin et al. 2021, equations 3 and 4.
        """
        keep_s, keep_t = (expand(self.keep(time), x_t)[..., None] for time in (s, t))
        since = keep_t / keep_s  # kept from s to t
        limit = jnp.broadcast_to(self.limit, (1,) * x_t.ndim + self.limit.shape)
        likelihood = self.likelihood(x_t, t)
        is_possible = likelihood > 0
        weight = self._padded(jnp.where(is_possible, jnp.exp(log_probs) / jnp.where(is_possible, likelihood, 1.0), 0.0))
        stays = since * jax.nn.one_hot(x_t, self.num_states) + (1.0 - since) * self._limit_at(x_t)[..., None]
        return stays * (keep_s * weight + (1.0 - keep_s) * limit * jnp.sum(weight, axis=-1, keepdims=True))

    def bound_rate(
        self, log_probs: Float[Array, "batch *shape vocab"], x_0: Array, x_t: Array, t: Float[Array, " batch"]
    ) -> Float[Array, " batch"]:
        """Integrand of the variational bound, -log p(x_0) <= integral over [0, 1] of its mean over x_t, in nats [B].

        The divergence between two jump processes that run backwards: the true one, given x_0, jumps from x_t to y at a
        rate r(y), the model at the mean r'(y) of that rate over its p(x_0 | x_t); the divergence per unit of time is
        the sum over y of r' - r + r log(r / r'). With the exact p(x_0 | x_t) the bound is exact. Where the limit is a
        mask it is the cross-entropy of the masked tokens, times -keep' / (1 - keep). ``log_probs`` are those of
        :meth:`mask_impossible_logits`, and 0 < t < 1.

        Reference:
            Campbell et al. 2022, proposition 2, with the constant that makes it a bound; for the mask, Sahoo et al.
            2024, equation 10, and Shi et al., "Simplified and Generalized Masked Diffusion", 2024, section 3.
        """
        keep = self.keep(t)
        log_keep, log_lost = (expand(_log(value), x_t)[..., None] for value in (keep, 1.0 - keep))
        limit_at = self._limit_at(x_t)
        can_jump = limit_at > 0  # a state of no limit was never jumped to, so that it is not jumped from backwards
        likelihood = jnp.where(can_jump[..., None], self.likelihood(x_t, t), 1.0)
        log_weight = jnp.where(can_jump[..., None], log_probs - jnp.log(likelihood), 0.0)
        log_noise = log_lost + jnp.broadcast_to(_log(jnp.asarray(self.limit)), (1,) * x_t.ndim + self.limit.shape)
        # Rates over the common factor -keep'/keep limit(x_t): q(y | x_0) / q(x_t | x_0), and its mean over the belief.
        believed = jnp.logaddexp(
            log_keep + self._padded(log_weight, -jnp.inf),
            log_noise + jax.nn.logsumexp(log_weight, axis=-1, keepdims=True),
        )
        known = jnp.take_along_axis(likelihood, x_0[..., None], axis=-1)
        true = _log(self.marginal(x_0, t)) - jnp.log(known)
        is_elsewhere = ~jax.nn.one_hot(x_t, self.num_states, dtype=bool) & can_jump[..., None]
        divergence = jnp.sum(jnp.where(is_elsewhere, _divergence(true, believed), 0.0), axis=-1)
        slope = -jax.jvp(self.keep, (t,), (jnp.ones_like(t),))[1]
        return slope / keep * jnp.sum(limit_at * divergence, axis=tuple(range(1, x_t.ndim)))

    def _limit_at(self, x_t: Array) -> Array:
        return jnp.asarray(self.limit)[x_t]

    def _padded(self, values: Array, fill: float = 0.0) -> Array:
        """[..., V] -> [..., S], filled for the states that are no tokens."""
        widths = [(0, 0)] * (values.ndim - 1) + [(0, self.num_states - self.vocab_size)]
        return jnp.pad(values, widths, constant_values=fill)


def linear(t: Float[Array, "..."]) -> Array:
    """Tokens are lost evenly: keep(t) = 1 - t, the limit of D3PM's absorbing schedule beta_t = 1 / (T - t + 1)."""
    return 1.0 - t


def cosine(t: Float[Array, "..."]) -> Array:
    """Tokens are lost slowly at first: keep(t) = 1 - cos(pi / 2 (1 - t)).

    Reference:
        Shi et al. 2024, table 1.
    """
    # 1 - cos(2 a) = 2 sin(a)^2, which does not cancel near t = 1.
    return 2.0 * jnp.square(jnp.sin(jnp.pi / 4.0 * (1.0 - t)))


def absorbing(vocab_size: int, keep: ScheduleFn = linear) -> CategoricalProcess:
    """Tokens become a mask, state ``vocab_size``.

    Args:
        vocab_size: V >= 2, the number of tokens; there are V + 1 states.
        keep: the schedule, :func:`linear` or :func:`cosine`.

    Reference:
        Austin et al. 2021, appendix A.2.2.

    >>> absorbing(2).marginal(jnp.array([1]), jnp.array([0.25]))
    Array([[0.  , 0.75, 0.25]], dtype=float32)
    """
    _check(vocab_size)
    return CategoricalProcess(keep, np.eye(vocab_size + 1, dtype=np.float32)[vocab_size], vocab_size)


def uniform(vocab_size: int, keep: ScheduleFn = linear) -> CategoricalProcess:
    """Tokens become random ones.

    Args:
        vocab_size: V >= 2, the number of tokens and of states.
        keep: the schedule, :func:`linear` or :func:`cosine`.

    Reference:
        Austin et al. 2021, appendix A.2.1.

    >>> uniform(2).marginal(jnp.array([1]), jnp.array([0.5]))
    Array([[0.25, 0.75]], dtype=float32)
    """
    _check(vocab_size)
    return CategoricalProcess(keep, np.full(vocab_size, 1.0 / vocab_size, np.float32), vocab_size)


def draw_states(key: Array, probs: Float[Array, "*shape states"]) -> Array:
    """Draw a state int32 [...] from each distribution [..., S], normalised or not."""
    return jax.random.categorical(key, _log(probs)).astype(jnp.int32)


def _divergence(true: Array, believed: Array) -> Array:
    """The term r' - r + r log(r / r') of two rates given by their logs: never negative, 0 where they agree."""
    is_possible = true > -jnp.inf
    log_ratio = jnp.where(is_possible, true - believed, 0.0)
    # As r (exp(-d) - 1 + d); near d = 0 that cancels, so by its series.
    is_near = jnp.abs(log_ratio) < 0.03
    near = jnp.square(log_ratio) * (0.5 - log_ratio / 6.0 + jnp.square(log_ratio) / 24.0)
    far = jnp.expm1(-jnp.where(is_near, 1.0, log_ratio)) + log_ratio
    return jnp.where(is_possible, jnp.exp(true) * jnp.where(is_near, near, far), jnp.exp(believed))


def _log(value: Array) -> Array:
    """The logarithm, -inf at 0 with a slope of 0 there instead of infinity."""
    return jnp.where(value > 0, jnp.log(jnp.where(value > 0, value, 1.0)), -jnp.inf)


def _check(vocab_size: int) -> None:
    if vocab_size < 2:
        raise UsageError(f"expected at least 2 values of a token, got {vocab_size}: pass --num-levels 2 or more")
