"""Measure a model by the world that its data come from: no classifier, no features, nothing to learn."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.data.arrays import take
from aigc_jax.metrics.agreement import clopper_pearson
from aigc_jax.report.evaluate import Sampler
from aigc_jax.report.report import ClassRow, Measurement, Report
from aigc_jax.types import Data, UsageError, World


def judge(
    *,
    sample_fn: Sampler,
    world: World,
    data: Data,
    num_classes: int | None,
    num_samples: int,
    batch_size: int = 1024,
) -> Report:
    """Measure how many samples are of the world, which of its modes they reach, and how likely it finds them.

    Sample i has condition ``i % num_classes``.

    Args:
        sample_fn: draws samples.
        world: judges them.
        data: real examples of the world, for the same figures beside it.
        num_classes: number of conditions; None for an unconditional model.
        num_samples: how many samples to draw, >= 1.
        batch_size: samples per call of ``sample_fn``; changes memory and speed only.

    Returns:
        The figures; what could not be measured is named in ``left_out`` with the reason.

    Raises:
        UsageError: no samples asked for, or samples with NaN or Inf.
    """
    if num_samples < 1:
        raise UsageError(f"expected at least 1 sample to evaluate, got {num_samples}: raise --num-samples")
    condition = None if num_classes is None else (np.arange(num_samples) % num_classes).astype(np.int32)
    parts = []
    for start in range(0, num_samples, batch_size):
        num = min(batch_size, num_samples - start)
        given = None if condition is None else condition[start : start + num]
        parts.append(np.asarray(sample_fn(start, given, num), np.float32))
    samples = np.concatenate(parts)
    if num_broken := int((~np.isfinite(samples.reshape(num_samples, -1))).any(axis=1).sum()):
        raise UsageError(
            f"{num_broken} of {num_samples} samples hold NaN or Inf: evaluate an earlier checkpoint, or train again"
        )
    num_real = min(num_samples, len(data.held_out))
    example_name = next(name for name in data.held_out[0] if name != "label")
    real = take(data.held_out, np.arange(num_real))[example_name]
    return _report(world, jnp.asarray(samples), jnp.asarray(real), condition, data.name)


def _report(world: World, samples: jax.Array, real: jax.Array, condition: np.ndarray | None, data: str) -> Report:
    violation, mode = np.asarray(world.violation(samples)), np.asarray(world.mode(samples))
    is_valid, n = violation == 0, len(samples)
    counts = np.bincount(mode[is_valid], minlength=world.num_modes)
    measurements = [_valid(int(is_valid.sum()), n, float(np.mean(np.asarray(world.is_valid(real)))))]
    left_out: dict[str, str] = {}
    if condition is None:
        left_out["class_agreement"] = "the model is unconditional: no mode is asked for"
    else:
        measurements.append(_agreement(int(np.sum(is_valid & (mode == condition))), n))
    measurements.append(_covered(counts, n))
    if world.log_prob is None:
        left_out["log_prob"] = f"{world.name} has no density"
    else:
        measurements.append(_log_prob(np.asarray(world.log_prob(samples)), np.asarray(world.log_prob(real))))
    names = world.violation_names
    shares = {f"samples {name}": f"{np.mean(violation == i):.2%}" for i, name in enumerate(names) if i}
    return Report(
        data=data,
        encoder="the world itself",
        num_samples=n,
        measurements=measurements,
        per_class_title="Valid samples by mode, share of all samples",
        per_class=[
            ClassRow(
                index, f"mode {index}", n, int(count) / n, *clopper_pearson(int(count), n), reference=float(weight)
            )
            for index, (count, weight) in enumerate(zip(counts, world.mode_weights, strict=True))
        ],
        left_out=left_out,
        facts=shares,
    )


def _valid(num_valid: int, n: int, real_share: float) -> Measurement:
    low, high = clopper_pearson(num_valid, n)
    return Measurement(
        name="valid_samples",
        title="valid samples",
        value=num_valid / n,
        n=n,
        unit="share",
        low=low,
        high=high,
        reference=real_share,
        reference_title="real held-out examples",
        note="Share of samples that the world allows; the others are hallucinations.",
    )


def _agreement(num_right: int, n: int) -> Measurement:
    low, high = clopper_pearson(num_right, n)
    return Measurement(
        name="class_agreement",
        title="class agreement",
        value=num_right / n,
        n=n,
        unit="share",
        low=low,
        high=high,
        note="Share of samples that are valid and of the mode that was asked for.",
    )


def _covered(counts: np.ndarray, n: int) -> Measurement:
    return Measurement(
        name="modes_covered",
        title="modes covered",
        value=float(np.mean(counts > 0)),
        n=n,
        unit="share",
        note=f"Share of the world's {len(counts)} modes that at least one valid sample is of.",
    )


def _log_prob(given: np.ndarray, real: np.ndarray) -> Measurement:
    # In float64: a few samples far away have a density of e^-10000.
    value, reference = float(np.mean(given, dtype=np.float64)), float(np.mean(real, dtype=np.float64))
    return Measurement(
        name="log_prob",
        title="log density",
        value=value,
        n=len(given),
        unit="nats",
        reference=reference if math.isfinite(reference) else None,
        reference_title="real held-out examples",
        note="Mean log density of samples in the world. Below real: samples are too far out; above: too near the "
        "middles of modes.",
    )
