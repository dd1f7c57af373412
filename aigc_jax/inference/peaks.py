"""Peak rates of devices: what a model's utilisation (MFU) is a share of."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp

PEAKS: dict[str, dict[str, float]] = {
    "H200": {"bfloat16": 989, "float32": 494},
    "H100 PCIe": {"bfloat16": 756, "float32": 378},
    "H100 NVL": {"bfloat16": 835, "float32": 417},
    "H100": {"bfloat16": 989, "float32": 494},
    "A100": {"bfloat16": 312, "float32": 156},
    "L40S": {"bfloat16": 362, "float32": 183},
    "L40": {"bfloat16": 181, "float32": 90},
    "L4": {"bfloat16": 121, "float32": 60},
    "TPU v6 lite": {"bfloat16": 918, "float32": 918},
    "TPU v5 lite": {"bfloat16": 197, "float32": 197},
    "TPU v5": {"bfloat16": 459, "float32": 459},
    "TPU v4": {"bfloat16": 275, "float32": 275},
}
"""Published matrix products without sparsity, TFLOP/s, by a part of the kind of device (the first that fits) and dtype.

GPUs multiply float32 in TF32, TPUs in bfloat16, unless a precision is set. Sources: NVIDIA's data sheets of the H200,
H100, A100, L40S, L40 and L4; Google Cloud's pages of the TPU versions (v5e is "TPU v5 lite", v6e "TPU v6 lite").
"""


def published_peak(kind: str, dtype: str) -> float | None:
    """The published peak in FLOP/s of a kind of device, None where there is none.

    >>> published_peak("NVIDIA H100 80GB HBM3", "bfloat16")
    989000000000000.0
    """
    rates = next((rates for name, rates in PEAKS.items() if name in kind), {})
    return 1e12 * rates[dtype] if dtype in rates else None


def measured_peak(device: Any, dtype: str, num_rounds: int = 7) -> float:
    """FLOP/s of a large matrix product on a device, the fastest of some rounds."""
    size = 1024 if device.platform == "cpu" else 8192  # on a GPU a product of 1,024 is shorter than its call
    square = jax.device_put(jnp.ones((size, size), dtype), device)
    multiply, seconds = jax.jit(jnp.matmul), []
    for _ in range(num_rounds + 1):  # the first compiles
        begin = time.perf_counter()
        jax.block_until_ready(multiply(square, square))
        seconds.append(time.perf_counter() - begin)
    return 2 * size**3 / min(seconds[1:])
