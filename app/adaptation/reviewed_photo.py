"""What reviewed photos say of regions: of which class each is, is not, or nobody said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.adaptation.region_table import RegionTable
from detclipv2.labeling.matching import iou

POSITIVE_IOU, NEGATIVE_IOU = 0.5, 0.3
"""A region is of a class from the first on, is not of it below the second."""
UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class ReviewedPhoto:
    """The boxes that people left in a photo.

    Attributes:
        boxes: (M, 4) xyxy in pixels of the upright original.
        classes: (M,) int64.
        whole: (K,) bool, the classes of which all boxes are there.
    """

    boxes: NDArray[Any]
    classes: NDArray[np.int64]
    whole: NDArray[np.bool_]


def targets(table: RegionTable, reviewed: Sequence[ReviewedPhoto]) -> NDArray[np.int8]:
    """(N, K): 1 for regions of the class, 0 for others, UNKNOWN in between and where unreviewed."""
    found = np.full(table.words.shape, UNKNOWN, np.int8)
    bounds = np.searchsorted(table.photo, np.arange(len(reviewed) + 1))
    for number, photo in enumerate(reviewed):
        rows = slice(bounds[number], bounds[number + 1])
        overlap = np.zeros((rows.stop - rows.start, found.shape[1]), np.float32)
        every = iou(table.boxes[rows], photo.boxes)
        for k in np.unique(photo.classes):
            overlap[:, k] = every[:, photo.classes == k].max(axis=1)
        own = found[rows]
        own[(overlap < NEGATIVE_IOU) & photo.whole] = 0
        own[overlap >= POSITIVE_IOU] = 1
    return found
