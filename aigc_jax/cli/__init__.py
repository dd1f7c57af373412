"""The command line, one file per command."""

from aigc_jax.cli.main import main

__all__ = ["main"]
