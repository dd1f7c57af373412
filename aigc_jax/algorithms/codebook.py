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
    """The codes and the averages that they are made of.

    Shares instead of the paper's counts: they depend neither on the batch size nor on the number of devices.

    Attributes:
        codes: e, [M, D] = sums / usage.
        usage: average share of all positions that took each code [M], N of the paper by the number of positions.
        sums: average over all positions of the vectors that took each code [M, D], m of the paper likewise.
        frequencies: average share of examples that had each code at each position [P, M].
    """

    codes: Float[Array, "num_codes dim"]
    usage: Float[Array, " num_codes"]
    sums: Float[Array, "num_codes dim"]
    frequencies: Float[Array, "position num_codes"]


def new_codebook(num_codes: int, dim: int, num_positions: int) -> Codebook:
    """A codebook that nobody uses yet: all its codes are dead.

    Args:
        num_codes: M >= 2.
        dim: D, length of a code.
        num_positions: P, positions of a latent map.

    Returns:
        The codebook.

    Raises:
        UsageError: there are not two codes to choose from.

    >>> new_codebook(4, 2, 9).frequencies.shape
    (9, 4)
    """
    if num_codes < 2:
        raise UsageError(f"a codebook needs two codes or more, got {num_codes}: use 512")
    codes = jnp.zeros((num_codes, dim))
    frequencies = jnp.full((num_positions, num_codes), 1.0 / num_codes, jnp.float32)
    return Codebook(codes, jnp.zeros(num_codes), jnp.zeros_like(codes), frequencies)


def nearest(vectors: Vectors, codes: Float[Array, "num_codes dim"]) -> Int[Array, " num_vectors"]:
    """The nearest code of each vector.

    Args:
        vectors: [N, D].
        codes: [M, D].

    Returns:
        Their numbers, int32 [N]; the first of those equally near.

    Reference:
        van den Oord et al. 2017, equation 1.

    >>> nearest(jnp.array([[0.9], [0.2]]), jnp.array([[0.0], [1.0]]))
    Array([1, 0], dtype=int32)
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
    """Vectors of random positions of random examples of the whole batch, the same on every device.

    Args:
        vectors: the encoder's outputs on this device.
        key: the key of this update, the same on every device.
        index: each example's index in the global batch.
        num: how many to draw, with repetition.
        axis_name: the device axis; None where all examples are here.

    Returns:
        [num, D].

    >>> vectors = jnp.arange(6.0).reshape(3, 2, 1)
    >>> drawn = draw_vectors(vectors, jax.random.key(0), jnp.arange(3), 4)
    >>> drawn.shape, bool(jnp.isin(drawn, vectors).all())
    ((4, 1), True)
    """
    keys = split_by_name(key, "example", "position")
    # Each example bids for each code under its own key: so the winner does not depend on how examples are spread.
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
    """Put new codes in the place of dead ones, as if each had had an even share of use.

    Args:
        book: the codebook.
        is_dead: which codes.
        vectors: the new code of each [M, D].

    Returns:
        The codebook.

    Reference:
        Dhariwal et al., "Jukebox: A Generative Model for Music", 2020, section 3.2.

    >>> book = restart(new_codebook(2, 1, 1), jnp.array([True, False]), jnp.full((2, 1), 3.0))
    >>> book.codes[:, 0], book.usage
    (Array([3., 0.], dtype=float32), Array([0.5, 0. ], dtype=float32))
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
    """Let every code move towards the mean of the vectors that took it.

    Args:
        book: the codebook.
        vectors: the encoder's outputs on this device.
        index: the code that each took, int32 [B * P].
        decay: gamma in [0, 1).
        axis_name: the device axis; None where all examples are here.

    Returns:
        The codebook, and the share of this batch's positions that took each code [M].

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
    is_known = usage > 1e-20  # a code that nobody takes fades, and its mean with it
    codes = jnp.where(is_known[:, None], sums / jnp.where(is_known, usage, 1.0)[:, None], book.codes)
    return Codebook(codes, usage, sums, blend(book.frequencies, frequencies)), share
