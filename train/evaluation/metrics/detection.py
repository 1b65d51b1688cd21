"""Box metrics of exhaustively labelled sets, by faster-coco-eval (the COCO protocol in C++)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.evaluation.metrics.rows import Rows, coco_results

logger = logging.getLogger(__name__)

AREAS = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""COCO's and LVIS's size classes, in square pixels of the original."""
_PHOTOS = 500


@dataclass(frozen=True)
class BoxFigures:
    """COCO's figures in percent: AP over IoU 0.5–0.95, at 0.5, at 0.75, and by the boxes' size.

    Attributes:
        ap50_by_class: of each class that has boxes, by its prompt.
    """

    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    ap50_by_class: dict[str, float]


@dataclass(frozen=True)
class RecallFigures:
    """Average recall over IoU 0.5–0.95 in percent, and by the boxes' size; nan without boxes."""

    all: float
    small: float
    medium: float
    large: float


def average_precision(truth: dict[str, Any], rows: Rows, cap: int = 100) -> BoxFigures:
    """COCO AP of `rows` against a COCO-format `truth`; classes without boxes do not count.

    Args:
        truth: as `read_truth` gives it.
        rows: detections with the categories' ids.
        cap: at most this many boxes of a class in a photo count.
    """
    result = evaluate(truth, rows, cap=cap)["precision"]
    # (IoU thresholds, recall points, classes, areas, caps) → (thresholds, classes, areas)
    precision = np.where(result[..., -1] < 0, np.nan, result[..., -1]).mean(1)
    everything = precision[:, :, 0]
    names = {c["id"]: prompt_of(c) for c in truth["categories"]}
    kept = ~np.isnan(everything[0])
    ap50 = {
        names[i]: 100 * float(v)
        for i, v, k in zip(sorted(names), everything[0], kept, strict=True)
        if k
    }
    ap, small, medium, large = (percent(precision[:, :, area]) for area in range(4))
    return BoxFigures(
        ap, percent(everything[0]), percent(everything[5]), small, medium, large, ap50
    )


def average_recall(truth: dict[str, Any], rows: Rows, cap: int = 100) -> RecallFigures:
    """Class-agnostic AR at `cap` boxes a photo: how much of what is there do its best boxes cover?

    Photos do not influence one another here, so a few hundred are matched at a time.
    """
    check_photos(truth, rows)
    rows = rows[np.argsort(rows["image"], kind="stable")]
    boxes: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    for box in truth["annotations"]:
        boxes[box["image_id"]].append(box)
    category = truth["categories"][0]["id"]
    found, present = np.zeros((10, len(AREAS))), np.zeros(len(AREAS))
    for images in _parts(truth["images"], _PHOTOS):
        ids = sorted(image["id"] for image in images)
        first = np.searchsorted(rows["image"], ids[0])
        last = np.searchsorted(rows["image"], ids[-1], side="right")
        inside = rows[first:last].copy()
        inside["category"] = category
        part = {**truth, "images": images, "annotations": [box for i in ids for box in boxes[i]]}
        recall = evaluate(part, inside, cap=cap, classes=False)["recall"][:, 0, :, -1]
        counts = np.array(
            [
                sum(not b.get("iscrowd") and low <= b["area"] <= high for b in part["annotations"])
                for low, high in AREAS.values()
            ]
        )
        found += np.where(recall < 0, 0, recall) * counts
        present += counts
    values = [
        100 * float(f.mean() / n) if n else float("nan")
        for f, n in zip(found.T, present, strict=True)
    ]
    return RecallFigures(*values)


def evaluate(
    truth: dict[str, Any], rows: Rows, *, cap: int, classes: bool = True, lvis: bool = False
) -> dict[str, NDArray[np.float64]]:
    """faster-coco-eval's arrays, over the areas of `AREAS`, -1 where nothing is counted.

    Args:
        truth: COCO's format; with `lvis` also LVIS's fields.
        rows: detections in photos of `truth`.
        cap: at most this many boxes of a class in a photo count, or of a photo without `classes`.
        classes: a box must have the right class.
        lvis: federated rules: classes nobody looked for in a photo do not count there.

    Returns:
        "precision" (10 IoU thresholds, 101 recall points, K, 4, 1), "recall" (10, K, 4, 1).

    Raises:
        ValueError: a row of a photo that `truth` lacks, or no class.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    if not truth["images"] or not truth["categories"]:
        raise ValueError("there must be at least one photo and one class")
    check_photos(truth, rows)
    # Ids count from 1: the library takes a match with id 0 for none.
    boxes = [{**box, "id": number} for number, box in enumerate(truth["annotations"], 1)]
    reference = COCO({**truth, "annotations": boxes})
    ranges = {name: list(limits) for name, limits in AREAS.items() if name != "all"}
    evaluation = COCOeval_faster(
        reference,
        reference.loadRes(coco_results(rows)),
        "bbox",
        ranges=ranges,
        print_function=logger.debug,
        lvis_style=lvis,
    )
    evaluation.params.maxDets = [cap]
    evaluation.params.useCats = int(classes)
    evaluation.evaluate()
    evaluation.accumulate()
    return {name: np.asarray(evaluation.eval[name]) for name in ("precision", "recall")}


def percent(values: NDArray[np.float64]) -> float:
    """100 × the mean of what is not nan; nan if nothing is left."""
    values = values[~np.isnan(values)]
    return 100 * float(values.mean()) if len(values) else float("nan")


def prompt_of(category: dict[str, Any]) -> str:
    """What a detector is asked for: a category's `text`, where there is one, else its name."""
    return str(category.get("text") or category["name"])


def check_photos(truth: dict[str, Any], rows: Rows) -> None:
    """Refuse rows of photos that `truth` lacks."""
    if len(strange := np.setdiff1d(rows["image"], [i["id"] for i in truth["images"]])):
        raise ValueError(f"detections in photo {strange[0]}, which the annotations do not have")


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    items = sorted(items, key=lambda image: image["id"])
    return (items[start : start + size] for start in range(0, len(items), size))
