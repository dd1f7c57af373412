"""Compiled, block-wise functions of a trained model: samples, grids, latents, likelihoods, detectors."""
