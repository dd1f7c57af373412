"""The ten digits as fixed bitmaps of six by six pixels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

_ROWS = """
.####.  ..##..  .####.  #####.  #..##.  ######  .####.  ######  .####.  .####.
##..##  .###..  ##..##  ....##  #..##.  ##....  ##....  ....##  ##..##  ##..##
##..##  ..##..  ...##.  ..###.  #..##.  #####.  #####.  ...##.  .####.  ##..##
##..##  ..##..  ..##..  ....##  ######  ....##  ##..##  ..##..  ##..##  .#####
##..##  ..##..  .##...  ....##  ...##.  ##..##  ##..##  ..##..  ##..##  ....##
.####.  .####.  ######  #####.  ...##.  .####.  .####.  ..##..  .####.  .####.
"""


def digit_glyph(digit: int, scale: int = 1) -> Bool[np.ndarray, "height width"]:
    """A digit as a square bitmap of 6 x ``scale`` pixels a side, True for white."""
    rows = [row.split()[digit] for row in _ROWS.strip().splitlines()]
    small = np.array([[pixel == "#" for pixel in row] for row in rows])
    return small.repeat(scale, axis=0).repeat(scale, axis=1)
