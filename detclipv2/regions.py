"""What the image tower says of every anchor, and ways to take some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from detclipv2.config import Ranking

_OF_A_REGION = {"per": "region"}
_OF_AN_ANCHOR = {"per": "anchor"}


@dataclass(frozen=True)
class Regions:
    """Boxes and embeddings of a batch; without B once `picture_of` took one picture.

    Attributes:
        boxes: (B, A, 4) xyxy in pixels of the network's input.
        embeddings: (B, A, D), unit vectors where the similarity is "cosine".
        centerness: (B, A) logits.
        localisation: (B, A) logits of how well the box fits, the factor beside the similarity in a
            score: the centerness, or what `rank` put in its place.
        anchors: (A, 4) xyxy in pixels of the network's input.
        level_counts: anchors of each pyramid level, finest first; they sum to A.
        foreground: (B, A) logits of holding any object, if the head has the branch.
        iou: (B, A) logits of the box's IoU with its object, if the head has the branch.
    """

    boxes: Tensor = field(metadata=_OF_A_REGION)
    embeddings: Tensor = field(metadata=_OF_A_REGION)
    centerness: Tensor = field(metadata=_OF_A_REGION)
    localisation: Tensor = field(metadata=_OF_A_REGION)
    anchors: Tensor = field(metadata=_OF_AN_ANCHOR)
    level_counts: tuple[int, ...]
    foreground: Tensor | None = field(default=None, metadata=_OF_A_REGION)
    iou: Tensor | None = field(default=None, metadata=_OF_A_REGION)

    @property
    def objectness(self) -> Tensor:
        """(B, A) in 0..1: how surely a box holds one whole thing, whatever that is.

        The foreground's times the square of the IoU's, if the head has the branches: OLN
        (Kim et al. 2022) ranks
        proposals by how well they fit rather than by what they hold. The localisation else.
        """
        if self.foreground is None or self.iou is None:
            return self.localisation.float().sigmoid()
        return self.foreground.float().sigmoid() * self.iou.float().sigmoid().square()


PER_PICTURE = tuple(f.name for f in fields(Regions) if f.metadata.get("per") == "region")
"""Fields of `Regions` that depend on the picture, one entry a region; some may be None."""
PER_REGION = tuple(f.name for f in fields(Regions) if "per" in f.metadata)
"""These and the anchors."""


def rank(regions: Regions, ranking: Ranking) -> Regions:
    """The same with the localisation that `ranking` names; the IoU's need its branch."""
    return replace(regions, localisation=localisation(regions.centerness, regions.iou, ranking))


def localisation(centerness: Tensor, iou: Tensor | None, ranking: Ranking) -> Tensor:
    """(B, A) logits, see `Ranking`; the centerness if there is no IoU branch."""
    if ranking == "centerness" or iou is None:
        return centerness
    if ranking == "iou":
        return iou
    # The logit of the product of two shares.
    product = F.logsigmoid(centerness.float()) + F.logsigmoid(iou.float())
    return product - torch.log(-torch.expm1(product.clamp(max=-1e-6)))


def map_fields(
    regions: Regions, change: Callable[[str, Tensor], Tensor], names: tuple[str, ...] = PER_REGION
) -> Regions:
    """The same with every tensor of `names` changed by its name and value; None stays."""
    values = {name: getattr(regions, name) for name in names}
    changed: dict[str, Any] = {n: change(n, v) for n, v in values.items() if v is not None}
    return replace(regions, **changed)


def choose(regions: Regions, which: Tensor | slice) -> Regions:
    """Some of the regions of one picture; `level_counts` stays."""
    return map_fields(regions, lambda _, value: value[which])


def picture_of(regions: Regions, index: int) -> Regions:
    """One picture of a batch, without the batch axis, in single precision on the CPU."""
    taken = map_fields(regions, lambda _, value: value[index].float().cpu(), PER_PICTURE)
    return replace(taken, anchors=regions.anchors.cpu())
