"""Pixels to what a detector says of every anchor: backbone, pyramid, head, shortcut.

A detector has one such tower; it may have a partner (`ModelConfig.partner`), a smaller one that was
trained apart. Both see the same anchors, so what they say is added before a box is made; how much
each counts, and what turns a sum into a mean, is in the weights of their last layers
(`train.partner`). The paper has one tower. Two that know different things find more than either:
nano's own keeps its backbone as ImageNet left it, its partner's was trained on boxes and phrases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from detclipv2.nn.backbone import Backbone
from detclipv2.nn.fold import folded
from detclipv2.nn.fpn import FeaturePyramid
from detclipv2.nn.head import ATSSHead
from detclipv2.nn.shortcut import Shortcut


@dataclass(frozen=True)
class Outputs:
    """Of one tower, or the sum of two.

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

    def plus(self, other: Outputs) -> Outputs:
        """The sum of both; maps and sizes are these."""
        quality = None
        if self.quality is not None and other.quality is not None:
            quality = self.quality + other.quality
        return Outputs(
            embeddings=self.embeddings + other.embeddings,
            deltas=self.deltas + other.deltas,
            centerness=self.centerness + other.centerness,
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
