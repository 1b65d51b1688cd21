"""Detections of many photos as one compact array: 32 bytes a box."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROW = np.dtype([("image", "<i8"), ("category", "<i4"), ("score", "<f4"), ("box", "<f4", (4,))])
"""A box: its photo's and its category's id, its score, xyxy in pixels of the original."""
Rows = NDArray[np.void]
"""(N,) of `ROW`."""
ANYTHING = -1
"""Category of a class-agnostic proposal."""


def make_rows(image: int, category: ArrayLike, boxes: ArrayLike, scores: ArrayLike) -> Rows:
    """The boxes of one photo.

    Args:
        image: its id.
        category: ids, one a box or one for all.
        boxes: (N, 4) xyxy.
        scores: (N,).
    """
    scores = np.asarray(scores)
    rows = np.zeros(len(scores), ROW)
    rows["image"], rows["category"], rows["score"] = image, category, scores
    rows["box"] = np.asarray(boxes, np.float32).reshape(-1, 4)
    return rows


def join(parts: list[Rows]) -> Rows:
    """Rows of several photos, in their order."""
    return np.concatenate([np.zeros(0, ROW), *parts])


def best_of_each(rows: Rows, field: str, count: int) -> Rows:
    """The `count` best rows of each value of `field`, "image" or "category", in their old order.

    Of equal scores the earlier rows stay, as in the LVIS API.
    """
    order = np.lexsort((-rows["score"], rows[field]))  # stable
    _, starts, sizes = np.unique(rows[field][order], return_index=True, return_counts=True)
    place = np.arange(len(rows)) - np.repeat(starts, sizes)
    return rows[np.sort(order[place < count])]


def coco_results(rows: Rows) -> list[dict[str, Any]]:
    """Rows as COCO's result files have them."""
    boxes = rows["box"].astype(float)
    boxes[:, 2:] -= boxes[:, :2]
    columns = (rows["image"].tolist(), rows["category"].tolist(), rows["score"].tolist())
    return [
        {"image_id": image, "category_id": category, "score": score, "bbox": box}
        for image, category, score, box in zip(*columns, boxes.tolist(), strict=True)
    ]
