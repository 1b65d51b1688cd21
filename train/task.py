"""From a batch to its losses, by name. The network sees no loss, the losses see no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from detclipv2.config import ImageConfig
from detclipv2.language.concepts import ConceptDictionary
from detclipv2.learning.assign import BACKGROUND, atss_assign
from detclipv2.learning.losses import centerness_loss, centerness_target, focal_loss, giou_loss
from detclipv2.model import Regions
from train.data.loader import Batch
from train.targets import PhotoTarget, build_targets, gather_concepts


@dataclass(frozen=True)
class LossConfig:
    """Weights of Eq. 6; the paper's α and β resolved as the ATSS defaults.

    `negatives` is how many concepts of the dictionary join a batch as negatives.
    """

    align: float = 1.0
    giou: float = 2.0
    centerness: float = 1.0
    negatives: int = 50


class BoxesTask:
    """Learning from boxes with names: detection and grounding data alike.

    Args:
        model: gives `Regions` and logits for pixels and concepts (`DetCLIPv2` or a wrapper of it).
        encode: texts → what the model takes as concepts (pooled vectors of a frozen text tower, or
            the prompted texts themselves).
        dictionary: decides which names may mean the same thing, and lends the extra negatives.
        image: how pixels are normalised.
        config: weights.
        seed: of the extra negatives.
    """

    def __init__(
        self, model: nn.Module, encode: Callable[[Sequence[str]], Tensor | list[str]],
        dictionary: ConceptDictionary, image: ImageConfig, config: LossConfig, seed: int,
    ) -> None:  # fmt: skip
        self._model, self._encode, self._dictionary = model, encode, dictionary
        self._image, self._config, self._seed = image, config, seed
        self._names = dictionary.names

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses of a batch; their sum is what is minimised."""
        rng = np.random.default_rng((self._seed, 3, batch.step))
        extra = rng.choice(len(self._names), self._config.negatives, replace=False)
        concepts = gather_concepts(batch.views, [self._names[i] for i in extra])
        targets = build_targets(batch.views, concepts, self._dictionary)
        regions, logits = self._model(normalise(batch.pixels, self._image), self._encode(concepts))
        losses = box_losses(regions, logits, targets)
        weights = self._config
        return {
            "align": losses["align"] * weights.align,
            "giou": losses["giou"] * weights.giou,
            "centerness": losses["centerness"] * weights.centerness,
        }


def normalise(pixels: Tensor, image: ImageConfig) -> Tensor:
    """(B, H, W, 3) uint8 → (B, 3, H, W) float, channels last in memory."""
    mean = torch.tensor(image.mean, device=pixels.device) * 255
    std = torch.tensor(image.std, device=pixels.device) * 255
    return ((pixels - mean) / std).permute(0, 3, 1, 2)


def box_losses(
    regions: Regions, logits: Tensor, targets: Sequence[PhotoTarget]
) -> dict[str, Tensor]:
    """Alignment, GIoU and centerness of a batch, each normalised as in ATSS.

    Args:
        regions: of B photos.
        logits: (B, A, K).
        targets: B of them.

    Returns:
        `align` a named positive, `giou` weighted by centerness, `centerness` a positive anchor. All
        are finite, and carry a gradient of zero where a batch has no box.
    """
    right = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    keep = torch.ones_like(right)
    photo, anchor, boxes = [], [], []
    for index, target in enumerate(targets):
        target = PhotoTarget(*(t.to(logits.device) for t in vars(target).values()))
        assigned = atss_assign(regions.anchors, regions.level_counts, target.boxes)
        positive = (assigned != BACKGROUND).nonzero().squeeze(1)
        owner = assigned[positive]
        keep[index] &= ~target.unsaid_outside
        right[index, positive] = target.positive[owner]
        keep[index, positive] = ~target.unsaid[owner]
        photo.append(torch.full_like(positive, index))
        anchor.append(positive)
        boxes.append(target.boxes[owner])
    at = (torch.cat(photo), torch.cat(anchor))
    wanted = torch.cat(boxes)
    central = centerness_target(regions.anchors[at[1]], wanted)
    return {
        "align": focal_loss(logits, right, keep) / right.sum().clamp(min=1),
        "giou": giou_loss(regions.boxes[at], wanted, central) / central.sum().clamp(min=1),
        "centerness": centerness_loss(regions.centerness[at], central) / max(1, len(wanted)),
    }
