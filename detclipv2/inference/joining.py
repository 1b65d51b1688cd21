"""A picture and its tiles as one set of regions.

What the tiles say is appended to what the whole picture said, so that everything after the image
tower (words, thresholds, suppression) stays as it is, and a box found twice goes like any other
double.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from detclipv2.geometry.boxes import area
from detclipv2.inference.encoded import EncodedImage
from detclipv2.inference.images import Letterbox
from detclipv2.inference.tiles import Tile
from detclipv2.model import Regions

_EDGE = 0.02
"""A box this near (as a share of the tile's side) to a cut belongs to something cut off."""
_OF_REGIONS = (
    "boxes", "anchors", "embeddings", "centerness", "localisation", "foreground", "iou",
)  # fmt: skip


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
        `regions.level_counts` describes the whole picture's regions, which come first. Of a tile
        only boxes follow that were not cut off and are in the whole picture no larger than its
        finest anchors: of larger things a tile names the parts.
    """
    finest = area(whole.regions.anchors[0])
    parts: list[tuple[Regions, Tensor | slice]] = [(whole.regions, slice(None))]
    for tile, (part, letterbox) in zip(tiles, seen, strict=True):
        shift = part.boxes.new_tensor((*tile[:2], *tile[:2]))
        boxes, anchors = (letterbox.to_original(at) + shift for at in (part.boxes, part.anchors))
        moved = replace(
            part, boxes=whole.letterbox.to_input(boxes), anchors=whole.letterbox.to_input(anchors)
        )
        small = area(moved.boxes) <= finest
        parts.append((moved, small & ~cut_off(boxes, tile, whole.size)))

    def all_of(name: str) -> Any:
        if getattr(whole.regions, name) is None:
            return None
        return torch.cat([getattr(part, name)[kept] for part, kept in parts])

    merged = replace(whole.regions, **{name: all_of(name) for name in _OF_REGIONS})
    return replace(whole, regions=merged)
