"""Made-up truths and detections for the metrics: no two scores or overlaps alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from train.evaluation.metrics.rows import Rows, join, make_rows


def random_truth(
    seed: int, photos: int = 40, classes: int = 12, boxes: int = 8, crowds: bool = False
) -> dict[str, Any]:
    """COCO's and LVIS's fields at once; the last class has no boxes, some photos neither."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for number in range(photos):
        present = rng.choice(classes - 1, rng.integers(1, 4), replace=False) + 1
        for _ in range(int(rng.integers(0, boxes + 1)) if number % 7 else 0):
            width, height = np.exp(rng.uniform(2, 5.5, 2))
            x, y = rng.uniform(0, 200, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 * number + 3,
                    "category_id": int(rng.choice(present)),
                    "area": float(width * height),
                    "bbox": [float(v) for v in (x, y, width, height)],
                    "iscrowd": int(crowds and rng.random() < 0.2),
                }
            )
        has = {a["category_id"] for a in annotations if a["image_id"] == 10 * number + 3}
        others = [c for c in range(1, classes + 1) if c not in has]
        images.append(
            {
                "id": 10 * number + 3,
                "width": 480,
                "height": 480,
                "file_name": f"{number}.png",
                "neg_category_ids": [int(c) for c in rng.choice(others, 3, replace=False)],
                "not_exhaustive_category_ids": [c for c in sorted(has) if rng.random() < 0.3],
            }
        )
    categories = [
        {"id": c, "name": f"class {c}", "frequency": "rcf"[c % 3]} for c in range(1, classes + 1)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def random_rows(truth: dict[str, Any], seed: int, noise: int = 20) -> Rows:
    """Shifted true boxes, some with a wrong class or twice, and `noise` others a photo."""
    rng = np.random.default_rng(seed)
    ids = [c["id"] for c in truth["categories"]]
    parts = []
    for number, image in enumerate(truth["images"]):
        if number % 5 == 4:
            continue
        own = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        own = [a for a in own for _ in range(int(rng.integers(0, 3)))]
        boxes = np.array([a["bbox"] for a in own]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes += rng.normal(0, 0.06, boxes.shape) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        corner = rng.uniform(0, 250, (noise, 2))
        other = np.concatenate((corner, corner + np.exp(rng.uniform(2, 5, (noise, 2)))), axis=1)
        names = [a["category_id"] if rng.random() < 0.8 else rng.choice(ids) for a in own]
        parts.append(
            make_rows(
                image["id"],
                [*names, *rng.choice(ids, noise)],
                np.concatenate((boxes, other)),
                rng.random(len(own) + noise),
            )
        )
    return join(parts)
