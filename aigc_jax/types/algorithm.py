"""A trainable model as pure functions: its step, its samples, its scores of given examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array

from aigc_jax.types.base import Batch, Condition, Key, Metrics, PyTree, TrainState, Variables


@runtime_checkable
class StepFn(Protocol):
    """One training step; ``make_step`` builds it, the trainer compiles and repeats it."""

    def __call__(self, state: TrainState, batch: Batch, key: Key) -> tuple[TrainState, Metrics]:
        """Make one step. ``key`` is the step key, ``rng.step_key(root, state.step)``."""
        ...


@runtime_checkable
class SampleFn(Protocol):
    """A function that draws samples from a trained model."""

    def __call__(self, variables: Variables, key: Array, num_samples: int, condition: Condition) -> Array:
        """Draw ``num_samples`` samples, images as float32 [num_samples, H, W, C] in [-1, 1].

        Args:
            variables: the trained model.
            key: one key, or a key array [num_samples] with one key per sample. Sample i depends on its own key alone
                (``fold_in(key, i)`` for a single key), never on ``num_samples``.
            num_samples: number of samples.
            condition: int32 [num_samples], or None for an unconditional model.
        """
        ...


ExactDenoiseFn = Callable[[Array, Array, Array, Condition], Array]
"""``(x_t [B, ...], alpha [B], sigma [B], condition or None) -> E[x_0 | x_t]``: the denoiser of a world itself."""

DenoiseFn = Callable[[Array, Array, Condition], Array]
"""``(x_t, t, condition) -> x_0``: a denoiser, whatever it was trained to predict."""

Guidance = Callable[[DenoiseFn], DenoiseFn]
"""A remedy of the shape denoiser -> denoiser; composes like ``optax.chain``."""


class Autoencoder(NamedTuple):
    """Both ways of a model with an encoder."""

    encode: Callable[[Variables, Batch, Array], Array]  # (variables, batch, key or keys) -> latents [B, ...]
    decode: Callable[[Variables, Array, Condition], Array]  # (variables, latents, condition) -> samples


class Latents(NamedTuple):
    """The initial latents of ``sample``: ``sample(v, key, n, c) == generate(v, draw(key, n), key, c)``."""

    draw: Callable[[Array, int], Array]  # (key or keys [num], num) -> standard normal latents [num, ...]
    generate: Callable[[Variables, Array, Array, Condition], Array]  # (variables, latents, key or keys, condition)


@runtime_checkable
class DrawFn(Protocol):
    """A function that draws samples by a model's sampler with any denoiser."""

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
        """Draw one sample per key; returns the samples, and the observer's result, None without one.

        Args:
            denoise: the denoiser, that of the model or another one.
            keys: one key per sample [B].
            condition: of each sample; None for an unconditional model.
            noise: initial standard normal noise [B, ...]; None draws it from the keys.
            start: examples [B, ...] to change; None makes samples from noise alone.
            mask: 1 where a number of ``start`` stays, 0 where it is generated; None: all may change.
            strength: share in (0, 1] of the noise that ``start`` gets; the less, the more the result resembles it.
            observer: of the solver, see :class:`aigc_jax.samplers.solver.Observer`.
        """
        ...


class Denoising(NamedTuple):
    """The sampler and the denoiser of a model that learned to denoise, as separate parts.

    They give samples (``draw(denoiser(variables), keys, condition)[0]``), the floor of the exact denoiser (``draw``
    with a world's), scores of trajectories (``observer``), in-painting and image-to-image (``start``).
    """

    process: Any  # the noise process, with alpha(t) and sigma(t)
    denoiser: Callable[[Variables], DenoiseFn]
    draw: DrawFn
    num_steps: int = 0  # steps that an observer sees; 0 for a sampler that cannot be observed
    is_in_latents: bool = False  # the denoiser works on latents, which draw decodes at its end


class SequenceModel(NamedTuple):
    """A model of sequences as decoding sees it: functions of a cache; see :mod:`aigc_jax.samplers.decoding`.

    Attributes:
        prefill: ``(prompt int32 [B, P] padded, size) -> (logits [B, V] after the last token of each prompt, cache)``,
            the cache with room for ``size`` tokens.
        extend: ``(cache, token [B]) -> (logits [B, V], cache)``.
        select: ``(cache, rows int32 [N]) -> cache`` of these rows, of which some may occur twice.
    """

    prefill: Callable[[Array, int], tuple[Array, PyTree]]
    extend: Callable[[PyTree, Array], tuple[Array, PyTree]]
    select: Callable[[PyTree, Array], PyTree] = lambda cache, rows: jax.tree.map(lambda leaf: leaf[rows], cache)


@runtime_checkable
class DrawSequencesFn(Protocol):
    """``(sequences, keys [B], prompts int32 [B, P], classes [B] or None) -> tokens int32 [B, L]``."""

    def __call__(
        self,
        sequences: SequenceModel,
        keys: Array,
        condition: Condition,
        rule: Callable[[SequenceModel], SequenceModel] | None = None,
    ) -> Array:
        """Draw a sequence for each key, of the model as the rule changes it."""
        ...


class Sequences(NamedTuple):
    """The model of sequences and its sampler as separate parts: ``sample(v, keys, n, c) == draw(model(v), keys, c)``.

    Models are combined before they are drawn from, as those of :func:`aigc_jax.samplers.decoding.contrasted`; ``rule``
    changes what comes after guidance, as :func:`aigc_jax.samplers.constrain.constrained` does.
    """

    model: Callable[[Variables], SequenceModel]
    draw: DrawSequencesFn


ScoreFn = Callable[[Variables, Array, Condition, Array], Array]
"""``(variables, samples [B, ...], condition int32 [B] or None, keys [B]) -> score [B]``."""


class Detector(NamedTuple):
    """A trained model's score of the reliability of given samples, its own or another model's."""

    score: ScoreFn  # float32 [B], higher is less reliable; sample i's depends on keys[i] alone
    is_typical_best: bool = False  # as of a likelihood: judge by the distance to the middle of real examples' scores


class Algorithm(NamedTuple):
    """A trainable model as pure functions: the contract of trainer, sampler and report.

    Attributes:
        init: ``(key, batch) -> TrainState``; only the shapes of ``batch`` matter.
        step: ``(state, batch, key) -> (state, metrics)``.
        sample: ``(variables, key, num_samples, condition) -> samples``, or None (a classifier has none).
        evaluate: ``(variables, batch, key) -> {name: array with one row per example}``, or None. ``key`` is one key, or
            a key array with one per example.
        autoencoder: None for a model without an encoder.
        latents: None for a model whose samples start from no single latent.
        denoising: None for a model that does not denoise.
        sequences: None for a model that does not draw token by token.
        merged: ``variables -> variables`` of the same method without the adapter that was trained, which has become a
            part of its weights; None for a model without one.
        detectors: scores of given samples by name; {} for none.
        logits: ``(variables, tokens int32 [B, L], condition) -> [B, L - 1, V]`` of each token given those before it, or
            None for a model that does not draw tokens in their order.
    """

    init: Callable[[Key, Batch], TrainState]
    step: StepFn
    sample: SampleFn | None = None
    evaluate: Callable[[Variables, Batch, Array], dict[str, Array]] | None = None
    autoencoder: Autoencoder | None = None
    latents: Latents | None = None
    denoising: Denoising | None = None
    sequences: Sequences | None = None
    merged: Callable[[Variables], Variables] | None = None
    detectors: Mapping[str, Detector] = {}
    logits: Callable[[Variables, Array, Condition], Array] | None = None

    def __repr__(self) -> str:
        """The functions that there are: ``Algorithm(init, step, sample, latents, detectors: logit)``."""
        names = [name for name in self._fields if name != "detectors" and getattr(self, name) is not None]
        detectors = f", detectors: {' '.join(self.detectors)}" if self.detectors else ""
        return f"Algorithm({', '.join(names)}{detectors})"
