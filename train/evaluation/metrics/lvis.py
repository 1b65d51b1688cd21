"""LVIS's AP of boxes: the fixed AP that papers report since GLIP, and the ordinary one.

Federated rules (Gupta et al. 2019): in a photo only the classes count that it has boxes of or that
stand in its `neg_category_ids`; surplus boxes of `not_exhaustive_category_ids` are no mistakes.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from train.evaluation.metrics.detection import check_photos, evaluate, percent
from train.evaluation.metrics.rows import Rows, best_of_each, join

CLASS_BOXES = 10_000
"""Boxes of a class over the whole set that the fixed AP reads (Dave et al. 2021)."""
PHOTO_BOXES = 300
"""Boxes of a photo that the ordinary AP reads."""
_CLASSES = 8


@dataclass(frozen=True)
class LvisFigures:
    """AP in percent: over IoU 0.5–0.95, at 0.5, at 0.75, by size of boxes and by frequency.

    Classes are rare, common or frequent as they are in under 10, under 100, or more photos of
    LVIS's training set; nan without boxes.
    """

    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    rare: float
    common: float
    frequent: float


def fixed_average_precision(truth: dict[str, Any], rows: Rows) -> LvisFigures:
    """AP of each class's 10,000 best boxes over all photos, with no cap on a photo's boxes."""
    return _average_precision(truth, best_of_each(rows, "category", CLASS_BOXES))


def average_precision(truth: dict[str, Any], rows: Rows) -> LvisFigures:
    """AP of each photo's 300 best boxes, as the LVIS API has it unless told otherwise."""
    return _average_precision(truth, best_of_each(rows, "image", PHOTO_BOXES))


def _average_precision(truth: dict[str, Any], rows: Rows) -> LvisFigures:
    """A few classes at a time, each in the photos that count for it.

    With all at once the pairs of 20,000 photos and 1,203 classes alone would take gigabytes, and
    nearly all of them are empty.
    """
    images = {image["id"]: image for image in truth["images"]}
    boxes: dict[int, list[dict[str, Any]]] = defaultdict(list)
    counted: dict[int, set[int]] = defaultdict(set)
    for box in truth["annotations"]:
        # LVIS knows no crowds; a box to be ignored is one that lies outside every size class.
        area = -1.0 if box.get("ignore") else box["area"]
        boxes[box["category_id"]].append({**box, "area": area, "iscrowd": 0})
        counted[box["category_id"]].add(box["image_id"])
    for image in truth["images"]:
        for category in image["neg_category_ids"]:
            counted[category].add(image["id"])
    check_photos(truth, rows)
    rows = rows[np.argsort(rows["category"], kind="stable")]
    categories = sorted((c for c in truth["categories"] if boxes[c["id"]]), key=lambda c: c["id"])
    ids = [c["id"] for c in categories]
    firsts, lasts = (np.searchsorted(rows["category"], ids, side=s) for s in ("left", "right"))
    by_class = [np.zeros((0, 10, 4))]
    for start in range(0, len(categories), _CLASSES):
        chunk = categories[start : start + _CLASSES]
        found = [
            _inside(rows[firsts[k] : lasts[k]], counted[ids[k]])
            for k in range(start, start + len(chunk))
        ]
        photos = sorted(set().union(*(counted[c["id"]] for c in chunk)))
        part = {
            "images": [images[i] for i in photos],
            "categories": chunk,
            "annotations": [box for c in chunk for box in boxes[c["id"]]],
        }
        cap = max(1, *map(len, found))
        result = evaluate(part, join(found), cap=cap, lvis=True)["precision"][..., 0]
        # (thresholds, recall points, classes, areas) → (classes, thresholds, areas)
        by_class.append(np.where(result < 0, np.nan, result).mean(1).transpose(1, 0, 2))
    precision = np.concatenate(by_class)
    group = np.array([c["frequency"] for c in categories], dtype=str)
    return LvisFigures(
        *(percent(precision[:, chosen, 0]) for chosen in (slice(None), 0, 5)),
        *(percent(precision[:, :, area]) for area in (1, 2, 3)),
        *(percent(precision[group == letter, :, 0]) for letter in "rcf"),
    )


def _inside(rows: Rows, photos: set[int]) -> Rows:
    return rows[[image in photos for image in rows["image"].tolist()]]


@contextlib.contextmanager
def lent_numpy_float() -> Iterator[None]:
    """Give numpy back the name `float` while lvis 0.5.3 runs.

    Its evaluation still asks for it; numpy 1.24 took it away. Not for several threads.
    """
    if hasattr(np, "float"):
        yield
        return
    np.float = float  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del np.float  # type: ignore[attr-defined]
