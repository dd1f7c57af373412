"""Strict numerics, four fake devices and checked array shapes for every test."""

import os

# Before jax starts: four devices on one CPU, so that data parallelism is tested for real.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Kept for the whole session: every annotation of shape and dtype in the library is checked at run time.
_hook = install_import_hook("aigc_jax", "beartype.beartype")
