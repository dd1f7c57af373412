"""Flax Linen modules: arrays in, arrays out, nothing else."""
