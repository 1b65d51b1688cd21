"""A picture and closer looks at it as one set of regions.

What closer looks say is appended to what the first said, so that everything after the image tower
(words, thresholds, suppression) stays as it is, and a box found twice goes like any other double.
Every scale answers for things of the sizes it sees well ("SNIP", Singh and Davis 2018): a closer
look, at the whole picture or at a tile of it, for small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from detclipv2.geometry.boxes import area
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.images import Letterbox
from detclipv2.inference.multi_scale.tiles import Tile
from detclipv2.regions import Regions, choose, map_fields

_EDGE = 0.02
"""A box this near (as a share of the tile's side) to a cut belongs to something cut off."""


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
    whole: EncodedImage,
    tiles: Sequence[Tile],
    seen: Sequence[tuple[Regions, Letterbox]],
    largest: float = 1.0,
) -> EncodedImage:
    """The regions of a picture and of closer looks as those of one picture.

    Args:
        whole: the picture as first looked at.
        tiles: T of them, looked at again larger; one may be the whole picture.
        seen: of each tile its regions, without a batch axis, and its letterbox.
        largest: in sides of the first look's finest anchors, see below.

    Returns:
        `regions.level_counts` describes the first look's regions, which come first. Of a tile only
        boxes follow that were not cut off and have in the first look no larger area than a square
        of `largest`: of larger things a closer look names the parts.
    """
    limit = largest**2 * area(whole.regions.anchors[0])
    parts = [whole.regions]
    for tile, (part, letterbox) in zip(tiles, seen, strict=True):
        shift = part.boxes.new_tensor((*tile[:2], *tile[:2]))
        boxes, anchors = (letterbox.to_original(at) + shift for at in (part.boxes, part.anchors))
        moved = replace(
            part, boxes=whole.letterbox.to_input(boxes), anchors=whole.letterbox.to_input(anchors)
        )
        small = area(moved.boxes) <= limit
        parts.append(choose(moved, small & ~cut_off(boxes, tile, whole.size)))

    merged = map_fields(
        whole.regions, lambda name, _: torch.cat([getattr(part, name) for part in parts])
    )
    return replace(whole, regions=merged)
