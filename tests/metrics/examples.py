"""Arrays of the golden numbers, shared with tests/oracles/golden_metrics.py."""

import numpy as np


def example_logits():
    """500 samples of seven classes, neither clear nor evenly spread. RandomState: its stream never changes."""
    return np.random.RandomState(0).normal(size=(500, 7)) * 2.0 + np.linspace(0.0, 1.5, 7)


def example_images(height, width):
    """Two smooth colour images in [0, 1] with detail at several scales, and noisy copies, BHWC."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    waves = [np.sin(2 * np.pi * (f * x + g * y)) for f, g in ((1, 2), (7, 3), (20, 31), (2, 11), (5, 5), (40, 3))]
    clean = 0.5 + 0.25 * np.stack(waves, axis=-1).reshape(height, width, 2, 3).transpose(2, 0, 1, 3)
    noise = np.random.RandomState(1).normal(size=clean.shape) * np.array([0.1, 0.4])[:, None, None, None]
    return clean.astype(np.float32), np.clip(clean + noise, 0, 1).astype(np.float32)
