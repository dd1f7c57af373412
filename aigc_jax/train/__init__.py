"""The trainer: loop, parallelism, checkpoints, logs. It knows the contracts, never an algorithm."""
