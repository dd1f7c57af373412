"""Benchmarks: comparisons with other libraries, and the commands behind docs/results."""
