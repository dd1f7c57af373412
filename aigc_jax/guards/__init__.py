"""Guards: scores of unreliable samples, and thresholds with a guarantee."""
