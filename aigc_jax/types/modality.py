"""Modalities and numbered conditions: the only contracts that know the kind of data and conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array

from aigc_jax.types.base import PyTree


@runtime_checkable
class ShowFn(Protocol):
    """A function that shows examples to people."""

    def __call__(
        self,
        stored: np.ndarray,
        ids: np.ndarray | None = None,
        names: Sequence[str] = (),
        *,
        real: np.ndarray | None = None,
    ) -> np.ndarray | list[str] | None:
        """Show stored examples: a picture, uint8 [H, W, 3], or a line of text each; None for shapes without a picture.

        Args:
            stored: the examples [N, ...], from :attr:`Modality.store`.
            ids: the number of each one's condition; None for unconditional ones.
            names: of the conditions; () shows their numbers.
            real: examples of the data, for a modality that draws them in the background.
        """
        ...


@runtime_checkable
class WriteFn(Protocol):
    """A function that writes samples to a file or folder, whole or not at all."""

    def __call__(
        self,
        path: Any,
        blocks: Iterable[np.ndarray],
        ids: np.ndarray | None,
        *,
        num: int,
        names: Sequence[str] = (),
    ) -> None:
        """Write ``num`` stored examples that come in blocks [n, ...]; raises UsageError where it cannot."""
        ...


class Modality(NamedTuple):
    """The kind of an example: image, token sequence, point, audio, video.

    Attributes:
        name: the entry of data sources and of samples.npz: ``image``, ``tokens``, ``point``.
        load: ``stored examples [B, ...] -> inputs of models`` (uint8 -> float32 in [-1, 1]); raises UsageError for
            arrays of another dtype or range.
        store: ``samples of models [B, ...] -> stored examples`` of files and reports, rounded and clipped.
        show: many examples at once, for pages, logs and terminals.
        writers: ``{suffix: function that writes samples}``, ``""`` for a folder; the first one is the default.
        num_levels: number of values of a stored number, 256 for images of 8 bits; None for real numbers.
        bounds: least and greatest input of models; None for data without limits.
        distance: ``stored [N, ...] -> float32 [N, D]``, vectors with a meaningful Euclidean distance; None for data
            without one, such as token ids.
        picture: ``stored [N, ...] -> uint8 [N, H, W, 1 or 3]``, a picture of each example; None for none.
        num_shown: number of examples for ``show``.
        dtype: of inputs of models; int32 for tokens.
        facts: other facts for readers of files, such as the sample rate.
        prompts: ``texts -> conditions [N, P]`` of a model that goes on from a prompt; None for examples that are no
            text.
        texts: ``stored [N, L] -> texts``; None for examples that are none.
    """

    name: str
    load: Callable[[np.ndarray], np.ndarray]
    store: Callable[[Any], np.ndarray]
    show: ShowFn
    writers: Mapping[str, WriteFn]
    num_levels: int | None = None
    bounds: tuple[float, float] | None = None
    distance: Callable[[np.ndarray], np.ndarray] | None = None
    picture: Callable[[np.ndarray], np.ndarray] | None = None
    num_shown: int = 100
    dtype: Any = np.float32
    facts: Mapping[str, Any] = {}
    prompts: Callable[[Sequence[str]], np.ndarray] | None = None
    texts: Callable[[np.ndarray], list[str]] | None = None


def as_is(ids: Array) -> PyTree:
    """The condition of a class is its number."""
    return ids


class Conditions(NamedTuple):
    """Numbered conditions, for reports and the command line.

    Attributes:
        names: of the conditions 0 ... K - 1.
        array: ``ids int32 [B] -> conditions of the algorithm``: class labels, prompts, embeddings. Batches of data hold
            ids; the algorithm is given their array in training, sampling and evaluation. JAX compiles it.

    >>> Conditions(["cat", "dog"]).ids(3, 4)
    array([1, 0, 1, 0], dtype=int32)
    """

    names: Sequence[str]
    array: Callable[[Array], PyTree] = as_is

    def ids(self, start: int, num: int) -> np.ndarray:
        """The conditions in turn: of samples start ... start + num - 1, however many are drawn. int32 [num]."""
        return (np.arange(start, start + num) % len(self.names)).astype(np.int32)
