"""What reviewed photos say of regions: how well each fits a thing of a class, or nobody said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.adaptation.region_table import RegionTable
from detclipv2.labeling.matching import iou

NEGATIVE_IOU = 0.3
"""A region that overlaps every box of a class by less is not of it."""
LOOSE_IOU, CLOSE_IOU = 0.6, 0.9
"""A region fits a thing not at all up to the first, fully from the second on, and between them in
proportion: scores then rank close boxes before loose ones. From 0.75 on labelers leave a box."""
UNKNOWN = -1.0


def _no_boxes() -> NDArray[Any]:
    return np.zeros((0, 4))


def _no_classes() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class ReviewedPhoto:
    """The boxes that people left in a photo.

    Attributes:
        boxes: (M, 4) xyxy in pixels of the upright original.
        classes: (M,) int64.
        whole: (K,) bool, the classes of which all boxes are there.
        rejected: (L, 4) boxes that were shown and are wrong.
        rejected_classes: (L,) int64, what they are not.
    """

    boxes: NDArray[Any]
    classes: NDArray[np.int64]
    whole: NDArray[np.bool_]
    rejected: NDArray[Any] = field(default_factory=_no_boxes)
    rejected_classes: NDArray[np.int64] = field(default_factory=_no_classes)


def targets(table: RegionTable, reviewed: Sequence[ReviewedPhoto]) -> NDArray[np.float32]:
    """(N, K) in 0..1: how well regions fit a thing of the class; UNKNOWN where that is not clear.

    In a photo that is not whole only regions at a rejected box are known not to be of its class.
    """
    found = np.full(table.words.shape, UNKNOWN, np.float32)
    bounds = np.searchsorted(table.photo, np.arange(len(reviewed) + 1))
    for number, photo in enumerate(reviewed):
        rows = slice(bounds[number], bounds[number + 1])
        boxes, count = table.boxes[rows], found.shape[1]
        overlap = _largest(boxes, photo.boxes, photo.classes, count)
        wrong = _largest(boxes, photo.rejected, photo.rejected_classes, count)
        fit = np.clip((overlap - LOOSE_IOU) / (CLOSE_IOU - LOOSE_IOU), 0, 1)
        own = found[rows]
        own[(overlap < NEGATIVE_IOU) & (photo.whole | (wrong >= LOOSE_IOU))] = 0
        own[fit > 0] = fit[fit > 0]
    return found


def _largest(
    boxes: NDArray[Any], others: NDArray[Any], classes: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """(R, K) largest overlap of R boxes with another box of each class."""
    found = np.zeros((len(boxes), count), np.float32)
    every = iou(boxes, others)
    for k in np.unique(classes):
        found[:, k] = every[:, classes == k].max(axis=1)
    return found
