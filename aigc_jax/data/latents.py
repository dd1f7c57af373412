"""The latent modality: what an autoencoder that is not here would decode."""

from __future__ import annotations

import functools

import numpy as np

from aigc_jax.data.export import write_npz
from aigc_jax.types import Modality, UsageError


def _load(latents: np.ndarray) -> np.ndarray:
    if not np.issubdtype(latents.dtype, np.floating):
        raise UsageError(f"expected latents as floats, got {latents.dtype} {list(latents.shape)}: convert them")
    return latents.astype(np.float32)


LATENT = Modality(
    name="latent",
    load=_load,
    store=lambda latents: np.asarray(latents, np.float32),
    show=lambda stored, ids=None, names=(), *, real=None: None,
    writers={".npz": functools.partial(write_npz, name="latent")},
    distance=lambda stored: stored.reshape(len(stored), -1),
)
"""Latents of any shape, float32 without limits."""
