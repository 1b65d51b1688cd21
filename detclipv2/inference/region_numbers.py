"""Which regions of a photo are kept and learned from, and by which numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from detclipv2.regions import Regions

KEPT = 512
"""Regions of a photo. Of the boxes ≥ 0.3 that 60 words found which nobody had asked for when the
photo was indexed, 0.93 are found again with it, 0.89 with 350 (coco_dev, odd ids)."""
FOR_WORDS = 128
"""Of these, those most like the words that were asked for."""
GEOMETRY = 4
"""Numbers of a region beside its embedding: localisation, objectness, area and shape."""


def kept_regions(
    regions: Regions, boxes: Tensor, words: Tensor | None = None, most: int = KEPT
) -> Tensor:
    """The regions most like the words, then those most surely things, best ones: (R,) indices.

    Boxes without area come last.

    Args:
        regions: A regions of one photo.
        boxes: (A, 4) xyxy, clipped to the photo.
        words: (T, D) at the model's scale, see `DetCLIPv2.words`; None for none.
        most: R, or all regions where the photo has fewer.
    """
    strength = regions.localisation.sigmoid()
    valid = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    thing = torch.where(valid, regions.objectness * strength, -1)
    first = torch.zeros(0, dtype=torch.long)
    if words is not None and len(words):
        likest = (regions.embeddings @ words.T).amax(dim=1).sigmoid() * strength
        likest = torch.where(valid, likest, -1)
        first = likest.topk(min(FOR_WORDS, most, len(likest))).indices
        thing = thing.scatter(0, first, -1)
    others = thing.topk(min(most, len(thing)) - len(first)).indices
    return torch.cat((first, others))


def region_numbers(
    embeddings: Tensor, localisation: Tensor, objectness: Tensor, boxes: Tensor, area: int | Tensor
) -> Tensor:
    """(R, D + GEOMETRY): the embeddings, then logit or logarithms of the others.

    Args:
        embeddings: (R, D).
        localisation: (R,) logits.
        objectness: (R,) in 0..1.
        boxes: (R, 4) xyxy in pixels.
        area: of the photo in such pixels.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1.0)
    share = sides.prod(dim=1) / area
    columns = (
        localisation,
        objectness.clamp(1e-4, 1.0).log(),
        share.log(),
        (sides[:, 0] / sides[:, 1]).log(),
    )
    return torch.cat((embeddings, torch.stack(columns, dim=1)), dim=1)
