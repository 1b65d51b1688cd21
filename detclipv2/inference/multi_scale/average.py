"""The mean of two looks at a picture, where both see the same anchors.

What fills a photo is known better from afar. Half the size costs a quarter of the time, and a cell
of its pyramid lies where one of the next coarser level lies at the whole size, with the same
anchor: so for large things the mean of both is taken, before any words. The paper looks once.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from detclipv2.config import STRIDES
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.regions import PER_PICTURE, map_fields

LEVELS = (2, 3)
"""P5 and P6 of the whole size, which are P4 and P5 at half of it. P7's cells do not meet P6's where
an input is no multiple of 128, and hardly anything is that large."""


def blend(whole: EncodedImage, half: EncodedImage, share: float) -> EncodedImage:
    """The regions of `whole`, on `LEVELS` mixed with those of the same place and size in `half`.

    Args:
        whole: the picture.
        half: the same with its long side at half the size.
        share: of `half`, 0 to 1.
    """
    aligned = whole.letterbox.to_input(half.letterbox.to_original(half.regions.boxes))
    other = replace(half.regions, boxes=aligned)

    def mixed(name: str, value: Tensor) -> Tensor:
        mine = _grids(value, whole.letterbox.padded)
        theirs = _grids(getattr(other, name), half.letterbox.padded)
        for level in LEVELS:
            rows, columns = (
                min(a, b)
                for a, b in zip(mine[level].shape[:2], theirs[level - 1].shape[:2], strict=True)
            )
            there = mine[level][:rows, :columns]
            there.copy_(there.lerp(theirs[level - 1][:rows, :columns], share))
        return torch.cat([grid.flatten(0, 1) for grid in mine])

    return replace(whole, regions=map_fields(whole.regions, mixed, PER_PICTURE))


def _grids(values: Tensor, padded: tuple[int, int]) -> list[Tensor]:
    """(A, …) of a picture as copies of shape (h, w, …), one a level, finest first."""
    width, height = padded
    sizes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    parts = torch.split(values, [h * w for h, w in sizes])
    return [
        part.reshape(h, w, *values.shape[1:]).clone()
        for part, (h, w) in zip(parts, sizes, strict=True)
    ]
