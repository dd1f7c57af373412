"""Streaming metrics: pure, batching-invariant, checked against published oracles."""
