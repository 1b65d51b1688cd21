"""Pixels to raw outputs for every anchor: backbone, pyramid, head (paper §3.1).

This is the one seam of the model: whatever maps pixels to `ImageOutputs` can take its place.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from detclipv2.config import STRIDES, ModelConfig
from detclipv2.nn.backbone import Backbone
from detclipv2.nn.fold import folded
from detclipv2.nn.fpn import FeaturePyramid
from detclipv2.nn.head import ATSSHead


@dataclass(frozen=True)
class ImageOutputs:
    """Raw outputs over the A anchors of all levels.

    Attributes:
        embeddings: (B, A, D), not normalised.
        deltas: (B, A, 4), see `geometry.anchors.decode`.
        centerness: (B, A) logits.
        quality: (B, A, 2) logits of foreground and IoU; None without these branches.
        features: the backbone's maps C3–C5.
        sizes: height and width of every level of the pyramid, finest first.
    """

    embeddings: Tensor
    deltas: Tensor
    centerness: Tensor
    quality: Tensor | None
    features: Sequence[Tensor]
    sizes: Sequence[tuple[int, int]]


class ImageTower(nn.Module):
    """The paper's detector without words, with random weights."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.backbone = Backbone(config.backbone, config.drop_path)
        self.fpn = FeaturePyramid(self.backbone.channels, config.width)
        self.head = ATSSHead(
            config.width,
            config.tower_depth,
            config.embed_dim,
            embed_kernel=config.embed_kernel,
            levels=len(STRIDES),
            deformable=config.deformable,
            deform_min_level=config.deform_min_level,
            quality=config.quality,
        )

    def forward(self, pixels: Tensor) -> ImageOutputs:
        """(B, 3, H, W) normalised pixels, H and W multiples of 32 → raw outputs."""
        features = self.backbone(pixels)
        maps = self.fpn(features)
        embeddings, deltas, centerness, quality = self.head(maps)
        sizes = [(m.shape[-2], m.shape[-1]) for m in maps]
        return ImageOutputs(embeddings, deltas, centerness, quality, features, sizes)

    @property
    def backbones(self) -> list[Backbone]:
        """All backbones of the tower."""
        return [self.backbone]

    def for_inference(self) -> ImageTower:
        """The same with a faster backbone, see `nn.fold`; the other parts are the same objects."""
        view = copy.copy(self)
        view._modules = {**self._modules, "backbone": folded(self.backbone)}
        return view
