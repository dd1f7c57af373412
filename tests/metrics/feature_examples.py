"""Features of the golden numbers, shared with tests/oracles/golden_features.py."""

import numpy as np


def example_features():
    """Real [300, 8] and fake [260, 8], of two distributions that overlap. RandomState: its stream never changes."""
    rng = np.random.RandomState(7)
    real = rng.normal(size=(300, 8)) + np.linspace(0.0, 1.0, 8)
    fake = rng.normal(size=(260, 8)) * np.linspace(0.7, 1.3, 8) + 0.6
    return real, fake


def discrete_features():
    """Corners of a cube [0, 2]^3, many times each: ties wherever one looks. The fake ones lack the top face."""
    rng = np.random.RandomState(8)
    real = rng.randint(0, 3, size=(120, 3)).astype(np.float64)
    fake = rng.randint(0, 3, size=(100, 3)) * np.array([1.0, 1.0, 0.5])
    return real, fake
