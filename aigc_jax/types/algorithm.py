"""What a trainable model is: its step, its samples, what it says of given examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array

from aigc_jax.types.base import Batch, Condition, Key, Metrics, TrainState, Variables


@runtime_checkable
class StepFn(Protocol):
    """One training step; ``make_step`` builds it, the trainer compiles and repeats it."""

    def __call__(self, state: TrainState, batch: Batch, key: Key) -> tuple[TrainState, Metrics]:
        """Make one step. ``key`` is the step key, ``rng.step_key(root, state.step)``."""
        ...


@runtime_checkable
class SampleFn(Protocol):
    """Draws samples from a trained model."""

    def __call__(self, variables: Variables, key: Array, num_samples: int, condition: Condition) -> Array:
        """Draw ``num_samples`` samples.

        Args:
            variables: the trained model.
            key: one key, or a key array [num_samples] with one key per sample. Sample i depends on its
                own key alone (``fold_in(key, i)`` for a single key), never on ``num_samples``.
            num_samples: how many.
            condition: int32 [num_samples], or None for an unconditional model.

        Returns:
            The samples, images as float32 [num_samples, H, W, C] in [-1, 1].
        """
        ...


@runtime_checkable
class EditFn(Protocol):
    """Changes given examples with a trained model."""

    def __call__(
        self,
        variables: Variables,
        key: Array,
        image: Array,
        condition: Condition,
        *,
        mask: Array | None = None,
        strength: float = 1.0,
    ) -> Array:
        """Change images [B, H, W, C] in [-1, 1], with one key or one per example, into what ``condition`` says.

        ``mask`` is 1 where a pixel stays, 0 where it is made up (None: all may change); the less ``strength`` in
        (0, 1], the more the result resembles the example.
        """
        ...


LatentFn = Callable[[Array, int], Array]
"""``(key or keys [num], num) -> latents [num, ...]``, standard normal: what ``sample`` draws before all else."""

GenerateFn = Callable[[Variables, Array, Array, Condition], Array]
"""``(variables, latents [B, ...], key or keys [B], condition) -> samples``: ``sample`` with its latents given."""

ExactDenoiseFn = Callable[[Array, Array, Array, Condition], Array]
"""``(x_t [B, ...], alpha [B], sigma [B], condition or None) -> E[x_0 | x_t]``: the denoiser of a world itself."""

IdealFn = Callable[[ExactDenoiseFn, Array, int, Condition], Array]
"""``(exact denoiser, key or keys, num_samples, condition) -> samples``: ``sample`` without its network."""

ScoreFn = Callable[[Variables, Array, Condition, Array], Array]
"""``(variables, samples [B, ...], condition int32 [B] or None, keys [B]) -> score [B]``."""


class Detector(NamedTuple):
    """What a trained model says of the reliability of given samples, its own or another model's.

    Attributes:
        score: one number per sample, float32 [B]; higher is less reliable. Sample i's depends on ``keys[i]`` alone.
        is_typical_best: whether examples should score as real ones do, neither lower nor higher (a likelihood).
            The score to judge by is then the distance to the middle of real examples' scores.
    """

    score: ScoreFn
    is_typical_best: bool = False


@runtime_checkable
class TraceFn(Protocol):
    """Draws the samples that ``sample`` draws and scores them by how they came about."""

    def __call__(
        self, variables: Variables, key: Array, num_samples: int, condition: Condition
    ) -> tuple[Array, dict[str, Array]]:
        """As :class:`SampleFn`, with ``{detector: score [num_samples]}`` beside; higher is less reliable."""
        ...


class Algorithm(NamedTuple):
    """A trainable model as pure functions: all that trainer, sampler and report ever see.

    Attributes:
        init: ``(key, batch) -> TrainState``; only the shapes of ``batch`` matter.
        step: ``(state, batch, key) -> (state, metrics)``.
        sample: ``(variables, key, num_samples, condition) -> samples``, or None (a classifier has none).
        evaluate: ``(variables, batch, key) -> {name: array with one row per example}``, or None. ``key`` is one
            key, or a key array with one per example.
        encode: ``(variables, batch, key) -> latents`` [B, ...] of a model with an encoder, or None.
        decode: ``(variables, latents, condition) -> samples``, or None.
        edit: changes given examples, see :class:`EditFn`, or None.
        latent: the latents that ``sample`` starts from, see :data:`LatentFn`; None where it starts from no one latent.
        generate: ``sample(v, key, n, c) == generate(v, latent(key, n), key, c)``, see :data:`GenerateFn`, or None.
        ideal: what the sampler draws when a world's exact denoiser takes the network's place, or None.
        detectors: ``{name: what it says of given samples}``, see :class:`Detector`; {} where it says nothing.
        trace: samples with scores of their making, see :class:`TraceFn`, or None.
    """

    init: Callable[[Key, Batch], TrainState]
    step: StepFn
    sample: SampleFn | None = None
    evaluate: Callable[[Variables, Batch, Array], dict[str, Array]] | None = None
    encode: Callable[[Variables, Batch, Array], Array] | None = None
    decode: Callable[[Variables, Array, Condition], Array] | None = None
    edit: EditFn | None = None
    latent: LatentFn | None = None
    generate: GenerateFn | None = None
    ideal: IdealFn | None = None
    detectors: Mapping[str, Detector] = {}
    trace: TraceFn | None = None


DenoiseFn = Callable[[Array, Array, Condition], Array]
"""``(x_t, t, condition) -> x_0``: a denoiser, whatever it was trained to predict."""

Guidance = Callable[[DenoiseFn], DenoiseFn]
"""A remedy of the shape denoiser -> denoiser; composes like ``optax.chain``."""
