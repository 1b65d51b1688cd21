"""The figures' speed against the reference implementations; a part of train.benchmark."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import tempfile
from typing import Any

import numpy as np

from train.evaluation.metrics import detection, lvis
from train.evaluation.metrics.rows import Rows, coco_results, join, make_rows
from train.profiling.timing import Pair, compare


def metrics(photos: int = 300, classes: int = 1203, boxes: int = 300) -> list[Pair]:
    """Our figures against the reference APIs, from rows and loaded annotations to arrays.

    Made-up photos with LVIS's number of classes; the figures' equality is a matter of tests.
    """
    from lvis import LVIS, LVISEval, LVISResults
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, rows = _made_up_set(photos, classes, boxes)
    results = coco_results(rows)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(truth, file)
        file.flush()
        lvis_truth = LVIS(file.name)
    coco_truth = COCO()
    coco_truth.dataset = copy.deepcopy(truth)
    with contextlib.redirect_stdout(io.StringIO()):
        coco_truth.createIndex()

    def by_lvis() -> None:
        with lvis.lent_numpy_float():
            LVISEval(lvis_truth, LVISResults(lvis_truth, results), "bbox").run()

    def by_coco(classes: bool, cap: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(coco_truth, coco_truth.loadRes(results), "bbox")
            evaluation.params.useCats, evaluation.params.maxDets = int(classes), [cap]
            evaluation.evaluate()
            evaluation.accumulate()

    brief = {"rounds": 3, "warm": 0}  # a round of the references takes half a minute
    return [
        compare(
            f"LVIS AP, {photos} photos × {boxes} boxes : lvis",
            lambda: lvis.average_precision(truth, rows),
            by_lvis,
            **brief,
        ),
        compare(
            "COCO AP, the same boxes : pycocotools",
            lambda: detection.average_precision(truth, rows),
            lambda: by_coco(True, 100),
            **brief,
        ),
        compare(
            f"class-agnostic AR@{boxes} : pycocotools",
            lambda: detection.average_recall(truth, rows, boxes),
            lambda: by_coco(False, boxes),
            **brief,
        ),
    ]


def _made_up_set(photos: int, classes: int, boxes: int) -> tuple[dict[str, Any], Rows]:
    """LVIS's fields, 12 true boxes a photo, and `boxes` found ones around them."""
    rng = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    parts: list[Rows] = []
    for number in range(1, photos + 1):
        corner, side = rng.uniform(0, 400, (12, 2)), np.exp(rng.uniform(2.5, 5, (12, 2)))
        kinds = rng.integers(1, classes + 1, 12)
        annotations += [
            {
                "id": len(annotations) + i,
                "image_id": number,
                "category_id": int(kinds[i - 1]),
                "bbox": [*c.tolist(), *s.tolist()],
                "area": float(s.prod()),
                "iscrowd": 0,
            }
            for i, (c, s) in enumerate(zip(corner, side, strict=True), 1)
        ]
        images.append(
            {
                "id": number,
                "width": 640,
                "height": 640,
                "not_exhaustive_category_ids": [],
                "neg_category_ids": rng.choice(classes, 20, replace=False).tolist(),
            }
        )
        chosen = rng.integers(0, 12, boxes)
        found = np.concatenate((corner, corner + side), axis=1)[chosen]
        found = found + rng.normal(0, 4, found.shape)
        names = np.where(rng.random(boxes) < 0.3, kinds[chosen], rng.integers(1, classes, boxes))
        parts.append(make_rows(number, names, found, rng.random(boxes)))
    categories = [
        {"id": i, "name": f"class {i}", "frequency": "rcf"[i % 3]} for i in range(1, classes + 1)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}, join(parts)
