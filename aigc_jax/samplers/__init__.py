"""Solvers from noise to samples, their time grids, and guidance: transforms of a denoiser."""
