"""What the image tower said of one picture, kept for any number of vocabularies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from detclipv2.inference.images import Letterbox

if TYPE_CHECKING:
    from torch import Tensor

    from detclipv2.model import Regions


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """What the image tower says of one picture; any number of vocabularies can follow.

    Attributes:
        regions: on the CPU and without the batch axis: boxes (A, 4) in the input's pixels,
            embeddings (A, D), the logits (A,). Those of closer looks, where there were any, follow
            those that `regions.level_counts` describes.
        letterbox: from the input's pixels to the original's and back.
        size: width and height of the upright original.
    """

    regions: Regions
    letterbox: Letterbox
    size: tuple[int, int]

    @property
    def first_look(self) -> Regions:
        """The regions without those of closer looks."""
        return choose(self.regions, slice(sum(self.regions.level_counts)))


PER_REGION = ("boxes", "anchors", "embeddings", "centerness", "localisation", "foreground", "iou")
"""Fields of a picture's `Regions` that have an entry a region."""


def choose(regions: Regions, which: Tensor | slice) -> Regions:
    """Some of the regions of one picture; `level_counts` stays."""
    chosen: dict[str, Any] = {}
    for name in PER_REGION:
        value = getattr(regions, name)
        chosen[name] = None if value is None else value[which]
    return replace(regions, **chosen)


def one_of(regions: Regions, index: int) -> Regions:
    """A picture of a batch, without the batch axis, on the CPU."""

    def take(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[index].float().cpu()

    return replace(
        regions,
        boxes=regions.boxes[index].float().cpu(),
        embeddings=regions.embeddings[index].float().cpu(),
        centerness=regions.centerness[index].float().cpu(),
        localisation=regions.localisation[index].float().cpu(),
        anchors=regions.anchors.cpu(),
        foreground=take(regions.foreground),
        iou=take(regions.iou),
    )
