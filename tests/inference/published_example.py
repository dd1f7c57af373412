"""Weights and inputs of the published networks that tests/oracles/golden_published.py and the tests make alike."""

import math
import zlib

import numpy as np

UNET = {
    "sample_size": 8,
    "block_out_channels": (128, 256),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
}
"""A small ``google/ddpm-cifar10-32``: its config.json with fewer and narrower levels."""

DIT = {"input_size": 8, "patch_size": 2, "in_channels": 4, "hidden_size": 48, "depth": 2, "num_heads": 3}
NUM_CLASSES = 5

STEPS = np.array([0, 37, 999])
"""Numbers of steps, as published code counts them."""

CLASSES = np.array([3, 0, NUM_CLASSES])
"""The last one stands for no class."""


def example_weights(shapes):
    """Random weights by name: of unit gain, and norms and biases near 1 and 0."""
    weights = {}
    for name, shape in shapes.items():
        noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
        if name == "pos_embed":
            continue
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 0
        is_scale = "norm" in name and name.endswith("weight") and len(shape) == 1
        weights[name] = (noise / math.sqrt(fan_in) if fan_in else is_scale + 0.1 * noise).astype(np.float32)
    return weights


def example_inputs(side, channels):
    """Noisy images [3, side, side, channels]."""
    return np.random.default_rng(0).standard_normal((len(STEPS), side, side, channels)).astype(np.float32)
