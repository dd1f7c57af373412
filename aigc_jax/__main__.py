"""``python -m aigc_jax``: the command line."""

import sys

from aigc_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
