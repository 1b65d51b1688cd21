"""Pixels to what a detector says of every anchor: backbone, pyramid, head, shortcut.

A detector has one such tower; it may have a partner (`ModelConfig.partner`), a smaller one that was
trained apart (`train.nano.ensemble`). Both see the same anchors, so the mean of what they say is
taken before a box is made. The paper has one tower. Two that know different things find more than
either: nano's own keeps its backbone as ImageNet left it, its partner's was trained on boxes and
phrases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from detclipv2.nano.shortcut import Shortcut
from detclipv2.nn.backbone import Backbone
from detclipv2.nn.fold import folded
from detclipv2.nn.fpn import FeaturePyramid
from detclipv2.nn.head import ATSSHead


@dataclass(frozen=True)
class Outputs:
    """Of one tower, or the mean of two.

    Attributes:
        embeddings: (B, A, D), not normalised.
        deltas: (B, A, 4), see `geometry.anchors.decode`.
        centerness: (B, A) logits.
        quality: (B, A, 2) logits of foreground and IoU, where the head has the branches.
        features: the backbone's maps C3–C5.
        sizes: height and width of every level of the pyramid, finest first.
    """

    embeddings: Tensor
    deltas: Tensor
    centerness: Tensor
    quality: Tensor | None
    features: Sequence[Tensor]
    sizes: Sequence[tuple[int, int]]

    def mean_with(self, other: Outputs, meaning: float, place: float) -> Outputs:
        """The mean of both; maps and sizes are these.

        Args:
            other: of the partner.
            meaning: its share in the region embeddings, 0 to 1.
            place: its share in everything else.
        """
        quality = None
        if self.quality is not None and other.quality is not None:
            quality = self.quality.lerp(other.quality, place)
        return Outputs(
            embeddings=self.embeddings.lerp(other.embeddings, meaning),
            deltas=self.deltas.lerp(other.deltas, place),
            centerness=self.centerness.lerp(other.centerness, place),
            quality=quality,
            features=self.features,
            sizes=self.sizes,
        )


def look(
    pixels: Tensor,
    backbone: Backbone,
    fpn: FeaturePyramid,
    head: ATSSHead,
    shortcut: Shortcut | None,
) -> Outputs:
    """What these parts say of (B, 3, H, W) normalised pixels, H and W multiples of 32."""
    features = backbone(pixels)
    maps = fpn(features)
    embeddings, deltas, centerness, quality = head(maps)
    sizes = [(m.shape[-2], m.shape[-1]) for m in maps]
    if shortcut is not None:
        embeddings = embeddings + shortcut(features[-2:], sizes)
    return Outputs(embeddings, deltas, centerness, quality, features, sizes)


class ImageTower(nn.Module):
    """A partner's parts; those of a detector itself are `DetCLIPv2`'s own.

    Args:
        backbone, fpn, head, shortcut: its parts.
    """

    def __init__(
        self, backbone: Backbone, fpn: FeaturePyramid, head: ATSSHead, shortcut: Shortcut | None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.fpn = fpn
        self.head = head
        self.shortcut = shortcut

    def forward(self, pixels: Tensor) -> Outputs:
        """See `look`."""
        return look(pixels, self.backbone, self.fpn, self.head, self.shortcut)

    def for_inference(self) -> ImageTower:
        """See `DetCLIPv2.for_inference`."""
        return ImageTower(folded(self.backbone), self.fpn, self.head, self.shortcut)
