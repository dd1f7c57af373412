"""Likelihood of examples under a trained model: one number per example, the same whatever the batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.data.pipeline import load
from aigc_jax.inference.sampling import check_seed
from aigc_jax.progress import Progress
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import NUM_BYTES, NUM_TOKENS, DataSource, Experiment, UsageError, Variables

ROWS = ("nll", "bits_per_dim", "elbo")
"""The rows of ``evaluate`` that say how likely an example is."""


def likelihood_rows(
    experiment: Experiment,
    variables: Variables,
    source: DataSource,
    *,
    num_examples: int,
    seed: int,
    batch_size: int,
) -> dict[str, np.ndarray]:
    """Those of :data:`ROWS` that the model has, and counts of tokens and bytes, each float64 [N].

    Examples are taken in a fixed random order, since files are often sorted by class; the key of each is ``fold_in`` of
    its index.
    """
    check_seed(seed)
    for option, value in (("num-examples", num_examples), ("batch-size", batch_size)):
        if value < 1:
            raise UsageError(f"expected --{option} 1 or more, got {value}: raise it")
    evaluate = experiment.algorithm.evaluate
    if evaluate is None or experiment.algorithm.sample is None:
        raise UsageError("this run holds a model without a likelihood: name the run of a VAE or a diffusion model, say")
    key = split_by_name(jax.random.key(seed), "likelihood")["likelihood"]
    compiled = jax.jit(
        lambda variables, batch, index: evaluate(variables, experiment.to_batch(batch), example_keys(key, index))
    )
    # Its rows by their shapes: nothing is computed, so that a model without any is refused at once.
    names = _names(jax.eval_shape(evaluate, variables, dict(experiment.batch_spec), jax.random.key(0)))
    order = np.random.default_rng(0).permutation(len(source))[:num_examples]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with Progress(len(order), "likelihood", "example") as bar:
        for start in range(0, len(order), batch_size):
            index = order[start : start + batch_size]
            # The last batch is filled up: one size, compiled once.
            full = np.resize(index, batch_size)
            rows = compiled(variables, load(source, full, experiment.modality), jnp.asarray(full, jnp.int32))
            for name in names:
                parts[name].append(np.asarray(rows[name], np.float64)[: len(index)])
            bar.update(len(index))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _names(rows: Mapping[str, Any]) -> list[str]:
    names = [name for name in ROWS if name in rows]
    if not names:
        raise UsageError(
            f"this model evaluates {', '.join(rows) or 'nothing'}, which is no likelihood: name the run of a VAE or a "
            "diffusion model, say"
        )
    return [*names, *(name for name in (NUM_TOKENS, NUM_BYTES) if name in rows)]
