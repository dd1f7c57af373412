"""A trainable model as pure functions: its step, its samples, its scores of given examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

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


ExactDenoiseFn = Callable[[Array, Array, Array, Condition], Array]
"""``(x_t [B, ...], alpha [B], sigma [B], condition or None) -> E[x_0 | x_t]``: the denoiser of a world itself."""

DenoiseFn = Callable[[Array, Array, Condition], Array]
"""``(x_t, t, condition) -> x_0``: a denoiser, whatever it was trained to predict."""

Guidance = Callable[[DenoiseFn], DenoiseFn]
"""A remedy of the shape denoiser -> denoiser; composes like ``optax.chain``."""


class Autoencoder(NamedTuple):
    """Both ways of a model with an encoder.

    Attributes:
        encode: ``(variables, batch, key or keys) -> latents`` [B, ...].
        decode: ``(variables, latents, condition) -> samples``.
    """

    encode: Callable[[Variables, Batch, Array], Array]
    decode: Callable[[Variables, Array, Condition], Array]


class Latents(NamedTuple):
    """The latents that ``sample`` starts from: ``sample(v, key, n, c) == generate(v, draw(key, n), key, c)``.

    Attributes:
        draw: ``(key or keys [num], num) -> latents [num, ...]``, standard normal: drawn by ``sample`` before all else.
        generate: ``(variables, latents [B, ...], key or keys [B], condition) -> samples``.
    """

    draw: Callable[[Array, int], Array]
    generate: Callable[[Variables, Array, Array, Condition], Array]


@runtime_checkable
class DrawFn(Protocol):
    """Draws samples with any denoiser by the sampler of a model."""

    def __call__(
        self,
        denoise: DenoiseFn,
        keys: Array,
        condition: Condition,
        *,
        noise: Array | None = None,
        start: Array | None = None,
        mask: Array | None = None,
        strength: float = 1.0,
        observer: Any = None,
    ) -> tuple[Array, Any]:
        """Draw one sample per key.

        Args:
            denoise: the denoiser, that of the model or another one.
            keys: one key per sample [B].
            condition: of each sample; None for an unconditional model.
            noise: standard normal [B, ...] to start from; None draws it from the keys.
            start: examples [B, ...] to change; None makes samples from noise alone.
            mask: 1 where a number of ``start`` stays, 0 where it is made up; None: all may change.
            strength: share in (0, 1] of the noise that ``start`` gets; the less, the more the result resembles it.
            observer: watches the solver, see :class:`aigc_jax.samplers.solver.Observer`.

        Returns:
            The samples, and what the observer gives, None without one.
        """
        ...


class Denoising(NamedTuple):
    """The sampler and the denoiser of a model that learned to denoise, each by itself.

    With them come samples (``draw(denoiser(variables), keys, condition)[0]``), the floor of the exact denoiser
    (``draw`` with a world's), scores of trajectories (``observer``), in-painting and image-to-image (``start``).

    Attributes:
        process: the noise process, with ``alpha(t)`` and ``sigma(t)``.
        denoiser: ``variables -> denoiser``.
        draw: the sampler, see :class:`DrawFn`.
        num_steps: steps that an observer sees; 0 where the sampler cannot be observed.
        is_in_latents: whether ``denoiser`` works on latents, which ``draw`` decodes at its end.
    """

    process: Any
    denoiser: Callable[[Variables], DenoiseFn]
    draw: DrawFn
    num_steps: int = 0
    is_in_latents: bool = False


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


class Algorithm(NamedTuple):
    """A trainable model as pure functions: all that trainer, sampler and report ever see.

    Attributes:
        init: ``(key, batch) -> TrainState``; only the shapes of ``batch`` matter.
        step: ``(state, batch, key) -> (state, metrics)``.
        sample: ``(variables, key, num_samples, condition) -> samples``, or None (a classifier has none).
        evaluate: ``(variables, batch, key) -> {name: array with one row per example}``, or None. ``key`` is one
            key, or a key array with one per example.
        autoencoder: see :class:`Autoencoder`; None for a model without an encoder.
        latents: see :class:`Latents`; None where samples start from no one latent.
        denoising: see :class:`Denoising`; None for a model that does not denoise.
        detectors: scores of given samples by name, see :class:`Detector`; {} for none.
    """

    init: Callable[[Key, Batch], TrainState]
    step: StepFn
    sample: SampleFn | None = None
    evaluate: Callable[[Variables, Batch, Array], dict[str, Array]] | None = None
    autoencoder: Autoencoder | None = None
    latents: Latents | None = None
    denoising: Denoising | None = None
    detectors: Mapping[str, Detector] = {}

    def __repr__(self) -> str:
        """The functions that there are: ``Algorithm(init, step, sample, latents, detectors: logit)``."""
        names = [name for name in self._fields[:-1] if getattr(self, name) is not None]
        detectors = f", detectors: {' '.join(self.detectors)}" if self.detectors else ""
        return f"Algorithm({', '.join(names)}{detectors})"
