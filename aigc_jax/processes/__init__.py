"""Noise processes, and parameterizations that turn a network's output into a denoised example."""
