"""Weights and images of the golden numbers of Inception, shared with tests/oracles/golden_inception.py.

RandomState, whose stream never changes, and one seed for each array, so that no order matters.
"""

import zlib

import numpy as np


def example_images(num, height, width):
    """8-bit images, BHWC."""
    return np.random.RandomState(num).randint(0, 256, (num, height, width, 3)).astype(np.uint8)


def example_weights(conv_shapes):
    """PyTorch's arrays for convolutions ``{name: [out, in, height, width]}``, which keep activations of order one."""
    state = {}
    for name, shape in conv_shapes.items():
        rng, width = np.random.RandomState(zlib.crc32(name.encode())), shape[0]
        state[f"{name}.conv.weight"] = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        state[f"{name}.bn.weight"] = rng.uniform(0.7, 1.3, width)
        state[f"{name}.bn.bias"] = rng.normal(size=width) * 0.2
        state[f"{name}.bn.running_mean"] = rng.normal(size=width) * 0.2
        state[f"{name}.bn.running_var"] = rng.uniform(0.5, 1.5, width)
    rng = np.random.RandomState(0)
    state["fc.weight"] = rng.normal(size=(1008, 2048)) / np.sqrt(2048)
    state["fc.bias"] = rng.normal(size=1008)
    return {name: array.astype(np.float32) for name, array in state.items()}
