"""Which predicted box is about the same thing as which box of a labeler."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MATCH_IOU = 0.5
"""Two boxes that overlap at least this much are about the same thing."""


def iou(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """IoU of every pair of boxes, xyxy: (N, 4), (M, 4) → (N, M) in 0..1; either may be empty."""
    from supervision.detection.utils.iou_and_nms import box_iou_batch

    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    return np.asarray(box_iou_batch(a, b))


def match(
    overlap: NDArray[Any],
    same_name: NDArray[np.bool_],
    least: float = MATCH_IOU,
    tie: NDArray[np.bool_] | None = None,
) -> list[tuple[int, int]]:
    """Pair N boxes with M, each with at most one: same names first, then the highest overlap.

    Args:
        overlap: (N, M) in 0..1.
        same_name: (N, M), whether both have the same class.
        least: pairs that overlap by less are none.
        tie: (N, M), pairs that come first among those that are equal else.
    """
    first, second = np.nonzero(overlap >= least)
    later = np.zeros(len(first), bool) if tie is None else ~tie[first, second]
    keys = (second, first, later, -overlap[first, second], ~same_name[first, second])
    order = np.lexsort(keys)
    used_first: set[int] = set()
    used_second: set[int] = set()
    found = []
    for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if i not in used_first and j not in used_second:
            used_first.add(i)
            used_second.add(j)
            found.append((i, j))
    return found
