"""The exact answers are those of scripts/results.py, whose tables these tests keep true."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
