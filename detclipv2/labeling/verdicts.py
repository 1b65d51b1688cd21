"""What a labeler would make of predicted boxes, where the truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detclipv2.labeling.effort import Verdict
from detclipv2.labeling.matching import iou, match

KEEP_IOU = 0.75
"""From here on a labeler leaves a box where it is. An assumption: COCO's own annotators' boxes of
one object overlap by about as much."""


def verdicts(
    boxes: NDArray[Any],
    classes: NDArray[Any],
    truth: NDArray[Any],
    truth_classes: NDArray[Any],
    keep_iou: float = KEEP_IOU,
) -> tuple[list[Verdict], int]:
    """One verdict a predicted box, in their order, and how many boxes have to be added.

    A box of another class on the same thing is renamed. Both sides are the boxes of one photo.

    Args:
        boxes: (N, 4) xyxy.
        classes: (N,) of the classes that were asked for.
        truth: (M, 4) xyxy, in the same pixels.
        truth_classes: (M,) of the same classes.
        keep_iou: boxes that overlap by less are moved.
    """
    overlap = iou(boxes, truth)
    same = np.equal.outer(classes, truth_classes)
    found: list[Verdict] = ["deleted"] * len(boxes)
    pairs = match(overlap, same)
    for i, j in pairs:
        found[i] = "renamed" if not same[i, j] else _kept(overlap[i, j] >= keep_iou)
    return found, len(truth) - len(pairs)


def _kept(close: bool) -> Verdict:
    return "kept" if close else "moved"
