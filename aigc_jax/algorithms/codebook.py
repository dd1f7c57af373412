"""The codebook of a vector-quantised autoencoder: averages over time, the same on every device."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.tree import mean_over_axis
from aigc_jax.types import Key, UsageError

Vectors = Float[Array, "num_vectors dim"]


class Codebook(NamedTuple):
    """The codes, and the averages from which they are computed.

    Shares instead of the paper's counts: they depend neither on the batch size nor on the number of devices.
    """

    codes: Float[Array, "num_codes dim"]  # e = sums / usage
    usage: Float[Array, " num_codes"]  # average share of all positions with each code
    sums: Float[Array, "num_codes dim"]  # average over all positions of the vectors with each code
    frequencies: Float[Array, "position num_codes"]  # average share of examples with each code at each position


def new_codebook(num_codes: int, dim: int, num_positions: int) -> Codebook:
    """An unused codebook: all its codes are dead."""
    if num_codes < 2:
        raise UsageError(f"a codebook needs two codes or more, got {num_codes}: use 512")
    codes = jnp.zeros((num_codes, dim))
    frequencies = jnp.full((num_positions, num_codes), 1.0 / num_codes, jnp.float32)
    return Codebook(codes, jnp.zeros(num_codes), jnp.zeros_like(codes), frequencies)


def nearest(vectors: Vectors, codes: Float[Array, "num_codes dim"]) -> Int[Array, " num_vectors"]:
    """The nearest code of each vector, int32 [N]; the first of those equally near.

    Reference:
        van den Oord et al. 2017, equation 1.
    """
    # Centred, and in full precision on every accelerator: codes far from 0 would lose all digits of their distances.
    centre = jnp.mean(codes, axis=0, keepdims=True)
    vectors, codes = vectors - centre, codes - centre
    products = jnp.einsum("nd,md->nm", vectors, codes, precision=jax.lax.Precision.HIGHEST)
    distances = jnp.sum(jnp.square(codes), axis=1)[None] - 2.0 * products  # but for the vector's own length
    return jnp.argmin(distances, axis=1).astype(jnp.int32)


def draw_vectors(
    vectors: Float[Array, "batch position dim"],
    key: Key,
    index: Int[Array, " batch"],
    num: int,
    *,
    axis_name: str | None = None,
) -> Vectors:
    """Vectors [num, D] of random positions of random examples of the whole batch, the same on every device.

    ``key`` is the same on every device, ``index`` is each example's index in the global batch.
    """
    keys = split_by_name(key, "example", "position")
    # Each example bids for each code under its own key: the winner does not depend on how examples are spread.
    bids = jax.vmap(lambda key: jax.random.uniform(key, (num,)))(example_keys(keys["example"], index))
    position = jax.random.randint(keys["position"], (num,), 0, vectors.shape[1])
    winner, bid = jnp.argmax(bids, axis=0), jnp.max(bids, axis=0)
    mine = vectors[winner, position]
    if axis_name is None:
        return mine
    is_highest = bid == jax.lax.pmax(bid, axis_name)
    first = jax.lax.pmin(jnp.where(is_highest, index[winner], jnp.iinfo(index.dtype).max), axis_name)
    is_mine = is_highest & (index[winner] == first)  # of two equal bids, the earlier example's
    return jax.lax.psum(jnp.where(is_mine[:, None], mine, 0.0), axis_name)


def restart(book: Codebook, is_dead: Bool[Array, " num_codes"], vectors: Vectors) -> Codebook:
    """Replace dead codes by ``vectors`` [M, D], each with an even share of use.

    Reference:
        Dhariwal et al., "Jukebox: A Generative Model for Music", 2020, section 3.2.
    """
    share, column = 1.0 / len(is_dead), is_dead[:, None]
    return book._replace(
        codes=jnp.where(column, vectors, book.codes),
        usage=jnp.where(is_dead, share, book.usage),
        sums=jnp.where(column, share * vectors, book.sums),
    )


def update(
    book: Codebook,
    vectors: Float[Array, "batch position dim"],
    index: Int[Array, " num_vectors"],
    *,
    decay: float,
    axis_name: str | None = None,
) -> tuple[Codebook, Float[Array, " num_codes"]]:
    """Move every code towards the mean of its vectors; also the share of this batch's positions of each code [M].

    Reference:
        van den Oord et al. 2017, equations 6 to 8 (appendix A.1).

    >>> book = restart(new_codebook(2, 1, 1), jnp.array([True, True]), jnp.array([[0.0], [10.0]]))
    >>> book, share = update(book, jnp.array([[[1.0]], [[1.0]]]), jnp.array([0, 0]), decay=0.5)
    >>> share, book.codes[:, 0]  # the first moves by (1 - gamma) / (gamma / 2 + 1 - gamma), the unused one stays
    (Array([1., 0.], dtype=float32), Array([ 0.6666667, 10.       ], dtype=float32))
    """
    batch, positions, _ = vectors.shape
    is_taken = jax.nn.one_hot(index, len(book.usage)).reshape(batch, positions, -1)
    frequencies = jnp.mean(is_taken, axis=0)
    share = jnp.mean(frequencies, axis=0)
    sums = jnp.einsum("bpm,bpd->md", is_taken, vectors) / (batch * positions)
    frequencies, share, sums = mean_over_axis((frequencies, share, sums), axis_name)

    def blend(average: Array, new: Array) -> Array:
        return decay * average + (1.0 - decay) * new

    usage, sums = blend(book.usage, share), blend(book.sums, sums)
    is_known = usage > 1e-20  # the average of an unused code fades, and its mean with it
    codes = jnp.where(is_known[:, None], sums / jnp.where(is_known, usage, 1.0)[:, None], book.codes)
    return Codebook(codes, usage, sums, blend(book.frequencies, frequencies)), share
