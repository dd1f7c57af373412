"""The ten digits as bitmaps of six by six pixels, the same for ever."""

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
    """A digit.

    Args:
        digit: 0 ... 9.
        scale: pixels a side for each pixel of the bitmap.

    Returns:
        Which pixels are white: a square of 6 x scale a side.

    >>> digit_glyph(1, 2).shape, int(digit_glyph(1).sum())
    ((12, 12), 15)
    """
    rows = [row.split()[digit] for row in _ROWS.strip().splitlines()]
    small = np.array([[pixel == "#" for pixel in row] for row in rows])
    return small.repeat(scale, axis=0).repeat(scale, axis=1)
