"""Noise processes: how an example is corrupted, and how what a network predicts becomes a denoised example."""
