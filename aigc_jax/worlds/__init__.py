"""Data with a decidable truth: what can be sampled without end, and judged without a model."""
