"""Box metrics, computed by faster-coco-eval (the COCO protocol in C++)."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class BoxFigures:
    """COCO's AP (IoU 0.5–0.95), AP50, and AP50 of each class that has boxes; all in percent."""

    ap: float
    ap50: float
    ap50_by_class: dict[str, float]


def detection_row(
    image_id: int, category_id: int, xyxy: Sequence[float], score: float
) -> dict[str, Any]:
    """A detection as COCO's result files have it."""
    x1, y1, x2, y2 = map(float, xyxy)
    return {
        "image_id": image_id, "category_id": category_id, "score": float(score),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
    }  # fmt: skip


def average_precision(truth: dict[str, Any], rows: list[dict[str, Any]]) -> BoxFigures:
    """COCO AP of `rows` against a COCO-format `truth`; classes without boxes do not count."""
    precision = _evaluate(truth, rows, classes=True)["precision"]
    # (IoU thresholds, recall points, classes, areas, caps): all areas, 100 boxes an image.
    by_class = np.where(precision[:, :, :, 0, -1] < 0, np.nan, precision[:, :, :, 0, -1]).mean(1)
    names = {c["id"]: str(c.get("text") or c["name"]) for c in truth["categories"]}
    kept = ~np.isnan(by_class[0])
    ids = sorted(names)
    ap50 = {names[i]: 100 * float(v) for i, v, k in zip(ids, by_class[0], kept, strict=True) if k}
    return BoxFigures(
        ap=100 * float(by_class[:, kept].mean()) if kept.any() else float("nan"),
        ap50=100 * float(by_class[0, kept].mean()) if kept.any() else float("nan"),
        ap50_by_class=ap50,
    )


def average_recall(truth: dict[str, Any], rows: list[dict[str, Any]]) -> float:
    """Class-agnostic AR@100 (IoU 0.5–0.95), in percent: do 100 boxes a photo cover its objects?"""
    return 100 * float(_evaluate(truth, rows, classes=False)["recall"][:, 0, 0, -1].mean())


def _evaluate(truth: dict[str, Any], rows: list[dict[str, Any]], classes: bool) -> dict[str, Any]:
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(truth)
        if not rows:
            # The library wants at least one row; one that overlaps nothing changes no figure.
            image = truth["images"][0]["id"]
            rows = [detection_row(image, truth["categories"][0]["id"], (-9, -9, -8, -8), 0.0)]
        evaluation = COCOeval_faster(reference, reference.loadRes(rows), "bbox")
        evaluation.params.useCats = int(classes)
        evaluation.evaluate()
        evaluation.accumulate()
    return dict(evaluation.eval)


def read_truth(annotations: Path, split: str | None = None) -> dict[str, Any]:
    """A COCO-format file, cut to a split."""
    data: dict[str, Any] = json.loads(annotations.read_text(encoding="utf-8"))
    images = [i for i in data["images"] if split is None or i.get("split") == split]
    ids = {i["id"] for i in images}
    boxes = [a for a in data["annotations"] if a["image_id"] in ids]
    return {"images": images, "annotations": boxes, "categories": data["categories"]}
