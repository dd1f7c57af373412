"""Benchmarks: comparisons with other libraries, and the results that docs/results.md quotes."""
