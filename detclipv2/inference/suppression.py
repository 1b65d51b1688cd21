"""Which of overlapping boxes stay: within a class, between classes, and parts of one thing.

A class's score depends on no other class; suppression is where names meet. Each rule looks at
better boxes only, so a raised threshold only ever removes boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detclipv2.geometry.boxes import coverage_matrix
from detclipv2.geometry.nms import batched_nms, soften
from detclipv2.serving import DetectSettings

PLACE_IOU = 0.5
"""Boxes of two classes that overlap by more are names of one place."""
PART_COVERAGE = 0.8
"""A box is a part of another of its class, or a nest of several, if they share this much of the
smaller one."""

_AT_ONCE = 2048
"""Boxes of several pictures that are compared with each other; more are taken apart by picture."""


@dataclass(frozen=True)
class Suppression:
    """The rules.

    Attributes:
        nms_iou: of two boxes of one class that overlap by more, the worse is removed.
        soft: see `ServingConfig.soft_nms`.
        one_name: of two boxes of different classes at one place, the worse is removed.
        whole_things: a part of a better box of its class, or a box round it, is removed.
    """

    nms_iou: float
    soft: float = 0.0
    one_name: bool = False
    whole_things: bool = False

    @classmethod
    def of(cls, settings: DetectSettings, soft: float = 0.0) -> Suppression:
        """The rules that a caller chose, of a checkpoint with this softness."""
        return cls(settings.nms_iou, soft, settings.one_name, settings.whole_things)


def suppress(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    thresholds: Tensor,
    rules: Suppression,
    pictures: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Indices of the boxes that stay, by falling score, and their scores (N',), softened.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,) in 0..1.
        classes: (N,) long.
        thresholds: (N,) lowest score of each box.
        rules: what is removed.
        pictures: (N,) long, which picture each is of; None where all are of one.
    """
    if pictures is None:
        pictures = torch.zeros_like(classes)
    elif len(boxes) > _AT_ONCE and (pictures != pictures[0]).any():
        return _in_halves(boxes, scores, classes, thresholds, rules, pictures)
    groups = pictures * (int(classes.amax()) + 1 if len(classes) else 1) + classes
    kept = batched_nms(boxes, scores, groups, rules.nms_iou)
    softened = soften(boxes[kept], scores[kept], groups[kept], rules.soft)
    passing = softened >= thresholds[kept]
    kept, softened = kept[passing], softened[passing]
    order = softened.argsort(descending=True, stable=True)
    kept, softened = kept[order], softened[order]
    stays = tidy(boxes[kept], groups[kept], pictures[kept], rules)
    return kept[stays], softened[stays]


def _in_halves(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    thresholds: Tensor,
    rules: Suppression,
    pictures: Tensor,
) -> tuple[Tensor, Tensor]:
    """`suppress`, one half of the pictures after the other."""
    numbers = sorted(set(pictures.tolist()))
    first = pictures < numbers[len(numbers) // 2]
    kept, softened = [], []
    for half in (first, ~first):
        own = half.nonzero()[:, 0]
        stays, left = suppress(
            boxes[own], scores[own], classes[own], thresholds[own], rules, pictures[own]
        )
        kept.append(own[stays])
        softened.append(left)
    found = torch.cat(softened)
    best = found.argsort(descending=True, stable=True)
    return torch.cat(kept)[best], found[best]


def tidy(boxes: Tensor, groups: Tensor, pictures: Tensor, rules: Suppression) -> Tensor:
    """Indices, rising, of the boxes that stay between classes and as whole things.

    Args:
        boxes: (N, 4) xyxy by falling score, suppressed within their groups.
        groups: (N,) long, one number a class of a picture.
        pictures: (N,) long.
        rules: of which `one_name` and `whole_things` count.
    """
    stays = torch.arange(len(boxes))
    if rules.whole_things:
        stays = stays[_whole(boxes, groups)]
    if rules.one_name:
        order = -stays.double()
        stays = stays[batched_nms(boxes[stays], order, pictures[stays], PLACE_IOU).sort().values]
    return stays


def _whole(boxes: Tensor, groups: Tensor) -> Tensor:
    """Indices of the boxes that are no part of a better one of their group, nor round it.

    A box that was removed removes no other.
    """
    covered = coverage_matrix(boxes, boxes) >= PART_COVERAGE
    rivals = (covered & (groups[:, None] == groups)).triu(1)
    stays = torch.ones(len(boxes), dtype=torch.bool)
    # Few boxes have any rival.
    for box in rivals.any(dim=1).nonzero()[:, 0].tolist():
        if stays[box]:
            stays &= ~rivals[box]
    return stays.nonzero()[:, 0]
