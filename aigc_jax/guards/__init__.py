"""Guards: how unreliable a sample is, and thresholds with a guarantee."""
