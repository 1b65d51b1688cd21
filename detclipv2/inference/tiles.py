"""A closer look: a picture whole, and once more in overlapping tiles, as one set of regions.

Small things are a few pixels in the network's input; in a tile they are larger ("Slicing Aided
Hyper Inference", Akyon et al. 2022). What the tiles say is appended to what the whole picture said,
so that everything after the image tower (words, thresholds, suppression) stays as it is, and a box
found twice goes like any other double.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from detclipv2.inference.encoded import EncodedImage
from detclipv2.inference.images import Letterbox
from detclipv2.model import Regions

OVERLAP = 0.25
"""Share of a tile's side that it has in common with the next."""
MAX_TILES = 8
_EDGE = 0.02
"""A box this near (as a share of the tile's side) to a cut belongs to something cut off."""

_OF_REGIONS = (
    "boxes", "anchors", "embeddings", "centerness", "localisation", "foreground", "iou",
)  # fmt: skip

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


def cut_off(boxes: Tensor, tile: Tile, size: tuple[int, int]) -> Tensor:
    """(A,) which boxes end where the tile was cut out of the picture, not where something ends.

    Args:
        boxes: (A, 4) xyxy in pixels of the upright original.
        tile: that they were found in.
        size: width and height of the original.
    """
    x0, y0, x1, y1 = tile
    margin = _EDGE * max(x1 - x0, y1 - y0)
    cut = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    if x0 > 0:
        cut |= boxes[:, 0] < x0 + margin
    if y0 > 0:
        cut |= boxes[:, 1] < y0 + margin
    if x1 < size[0]:
        cut |= boxes[:, 2] > x1 - margin
    if y1 < size[1]:
        cut |= boxes[:, 3] > y1 - margin
    return cut


def join(
    whole: EncodedImage, tiles: Sequence[Tile], seen: Sequence[tuple[Regions, Letterbox]]
) -> EncodedImage:
    """The regions of a picture and of its tiles as those of one picture.

    Args:
        whole: the picture.
        tiles: T of them.
        seen: of each tile its regions, without a batch axis, and its letterbox.

    Returns:
        `regions.level_counts` describes the whole picture's regions, which come first.
    """
    parts: list[tuple[Regions, Tensor | slice]] = [(whole.regions, slice(None))]
    for tile, (part, letterbox) in zip(tiles, seen, strict=True):
        shift = part.boxes.new_tensor((*tile[:2], *tile[:2]))
        boxes, anchors = (letterbox.to_original(at) + shift for at in (part.boxes, part.anchors))
        moved = replace(
            part, boxes=whole.letterbox.to_input(boxes), anchors=whole.letterbox.to_input(anchors)
        )
        parts.append((moved, ~cut_off(boxes, tile, whole.size)))

    def all_of(name: str) -> Any:
        if getattr(whole.regions, name) is None:
            return None
        return torch.cat([getattr(part, name)[kept] for part, kept in parts])

    merged = replace(whole.regions, **{name: all_of(name) for name in _OF_REGIONS})
    return replace(whole, regions=merged)
