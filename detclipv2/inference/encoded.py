"""What the image tower said of one picture, kept for any number of vocabularies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from detclipv2.inference.images import Letterbox

if TYPE_CHECKING:
    from detclipv2.model import Regions


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """What the image tower says of one picture; any number of vocabularies can follow.

    Attributes:
        regions: on the CPU and without the batch axis: boxes (A, 4) in the input's pixels,
            embeddings (A, D), the logits (A,).
        letterbox: from the input's pixels to the original's and back.
        size: width and height of the upright original.
    """

    regions: Regions
    letterbox: Letterbox
    size: tuple[int, int]


def encoded_image(regions: Regions, letterbox: Letterbox, size: tuple[int, int]) -> EncodedImage:
    """The only picture of a batch, brought to the CPU; `size` is the original's."""
    one = replace(
        regions,
        boxes=regions.boxes[0].float().cpu(),
        embeddings=regions.embeddings[0].float().cpu(),
        centerness=regions.centerness[0].float().cpu(),
        localisation=regions.localisation[0].float().cpu(),
        anchors=regions.anchors.cpu(),
        foreground=None if regions.foreground is None else regions.foreground[0].cpu(),
        iou=None if regions.iou is None else regions.iou[0].cpu(),
    )
    return EncodedImage(one, letterbox, size)
