"""Where the tiles of a closer look lie; what is found in them is for `inference.joining`.

Small things are a few pixels in the network's input; in a tile they are larger ("Slicing Aided
Hyper Inference", Akyon et al. 2022).
"""

from __future__ import annotations

import math

from detclipv2.serving import MAX_TILES

OVERLAP = 0.25
"""Share of a tile's side that it has in common with the next."""

Tile = tuple[int, int, int, int]
"""xyxy in pixels of the upright original."""


def lay_tiles(size: tuple[int, int], along: int) -> list[Tile]:
    """Overlapping tiles that cover a picture, row by row, all of one size and none a sliver.

    Args:
        size: width and height of the picture.
        along: tiles along its long side; along the other so many that tiles are about square. 1
            gives none: the whole picture is looked at anyway.

    Raises:
        ValueError: `along` is not within 1..MAX_TILES.
    """
    if isinstance(along, bool) or not isinstance(along, int) or not 1 <= along <= MAX_TILES:
        raise ValueError(f"tiles must be a whole number from 1 to {MAX_TILES}, got {along!r}")
    if along == 1:
        return []
    counts = [max(1, round(along * side / max(size))) for side in size]
    (widths, width), (heights, height) = (_cut(s, n) for s, n in zip(size, counts, strict=True))
    return [(x, y, x + width, y + height) for y in heights for x in widths]


def _cut(side: int, count: int) -> tuple[list[int], int]:
    """Where `count` tiles begin along a side, and how long they are."""
    length = math.ceil(side / (count - (count - 1) * OVERLAP))
    room = side - length
    return [round(room * i / max(1, count - 1)) for i in range(count)], length
