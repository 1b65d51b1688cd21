"""An image tower with a shortcut, an ImageNet prior and a second tower beside it.

Two towers that know different things find more than either: nano's own keeps its backbone as
ImageNet left it, the second one's was trained on boxes and phrases. Both see the same anchors, so
the mean of their outputs is taken before a box is made.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from detclipv2.config import STRIDES, ModelConfig
from detclipv2.geometry.anchors import decode, grid_anchors
from detclipv2.model import DetCLIPv2
from detclipv2.nano.config import NanoConfig, SecondTowerConfig
from detclipv2.nano.imagenet_prior import ImageNetPrior
from detclipv2.nano.shortcut import Shortcut
from detclipv2.nn.backbone import Backbone
from detclipv2.nn.image_tower import ImageOutputs, ImageTower
from detclipv2.regions import localisation
from detclipv2.serving import ServingConfig


class NanoTower(ImageTower):
    """The paper's image tower and what `NanoConfig` adds, with random weights."""

    def __init__(self, config: ModelConfig, nano: NanoConfig) -> None:
        """Build it.

        Args:
            config: of the first tower.
            nano: what is added.

        Raises:
            ValueError: the two contradict each other.
        """
        nano.check(config)
        super().__init__(config)
        self.nano = nano
        self._anchor_scale = config.anchor_scale
        channels, dim = self.backbone.channels, config.embed_dim
        self.prior = ImageNetPrior(channels[-1], dim) if nano.imagenet_prior else None
        self.shortcut = Shortcut(channels[-2:], dim) if nano.shortcut else None
        self.second = second_tower(config, nano) if nano.second else None

    def forward(self, pixels: Tensor) -> ImageOutputs:
        """As `ImageTower.forward`."""
        found = super().forward(pixels)
        if self.shortcut is not None:
            added = self.shortcut(found.features[-2:], found.sizes)
            found = replace(found, embeddings=found.embeddings + added)
        if self.second is not None and self.nano.second is not None:
            found = mean(found, self.second(pixels), self.nano.second)
        if self.prior is not None:
            found = replace(found, embeddings=found.embeddings + self._prior(self.prior, found))
        return found

    def _prior(self, prior: ImageNetPrior, found: ImageOutputs) -> Tensor:
        anchors = grid_anchors(found.sizes, STRIDES, self._anchor_scale, found.deltas.device)
        boxes = decode(anchors, found.deltas.float())
        iou = None if found.quality is None else found.quality[..., 1]
        best = localisation(found.centerness, iou, self.nano.prior_ranking)
        added: Tensor = prior(found.features[-1], boxes, best)
        return added

    @property
    def backbones(self) -> list[Backbone]:
        """Its own, and the second tower's."""
        return [self.backbone] if self.second is None else [self.backbone, self.second.backbone]

    def for_inference(self) -> ImageTower:
        """As `ImageTower.for_inference`, of both towers."""
        view = super().for_inference()
        if self.second is not None:
            view._modules["second"] = self.second.for_inference()
        return view


def second_tower(config: ModelConfig, nano: NanoConfig) -> NanoTower:
    """The tower of `nano.second`, with random weights."""
    second = nano.second
    assert second is not None
    smaller = replace(config, backbone=second.backbone, width=second.width)
    return NanoTower(smaller, NanoConfig(shortcut=nano.shortcut))


def mean(first: ImageOutputs, second: ImageOutputs, shares: SecondTowerConfig) -> ImageOutputs:
    """The mean of two towers' outputs; maps and sizes are the first's."""
    quality = None
    if first.quality is not None and second.quality is not None:
        quality = first.quality.lerp(second.quality, shares.boxes)
    return replace(
        first,
        embeddings=first.embeddings.lerp(second.embeddings, shares.embeddings),
        deltas=first.deltas.lerp(second.deltas, shares.boxes),
        centerness=first.centerness.lerp(second.centerness, shares.boxes),
        quality=quality,
    )


def build(
    config: ModelConfig, nano: NanoConfig | None = None, serving: ServingConfig | None = None
) -> DetCLIPv2:
    """A detector with random weights: the paper's, or with a `NanoTower` as its image tower."""
    tower = None if nano is None else NanoTower(config, nano)
    return DetCLIPv2(config, tower, serving=serving)


def nano_config(model: DetCLIPv2) -> NanoConfig | None:
    """What `model` has beyond the paper; None for nothing."""
    return model.image_tower.nano if isinstance(model.image_tower, NanoTower) else None
