"""Detections → one valid COCO JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.formats.atomic import write_json
from app.formats.detected_image import DetectedImage

if TYPE_CHECKING:
    import supervision as sv

_DECIMALS = 2  # a hundredth of a pixel: finer than any labeler's hand, and the file stays small


class CocoDataset:
    """Collects images and their boxes; `to_dict` is COCO's detection format with scores.

    Category ids are 1…K in the order of the user's list, image and annotation ids count from 1 in
    the order of `add`. Images without boxes are listed too: "looked at, nothing there" is a result.

    Args:
        names: the returned classes, in the user's words and order.
        info: extra keys for COCO's `info` block, e.g. model, prompts and thresholds of the run.
    """

    def __init__(self, names: Sequence[str], info: dict[str, Any] | None = None) -> None:
        self.categories = [
            {"id": index, "name": name, "supercategory": ""} for index, name in enumerate(names, 1)
        ]
        self.info = {"description": "DetCLIPv2 detections", "version": "1.0", **(info or {})}
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(
        self, file_name: str, size: tuple[int, int], detections: sv.Detections, **extra: Any
    ) -> int:
        """Add one image with its boxes and return the image's id.

        Boxes are clipped to the image; one that has no area left is not written, since COCO readers
        reject it.

        Args:
            file_name: how the dataset names the image, with forward slashes.
            size: width and height in pixels of the upright original.
            detections: xyxy in pixels of that original; `class_id` indexes the names.
            extra: further keys of the image's entry, e.g. the drawn picture's path.
        """
        width, height = size
        image_id = len(self.images) + 1
        self.images.append(
            {"id": image_id, "file_name": file_name, "width": width, "height": height, **extra}
        )
        if len(detections) == 0:
            return image_id
        if detections.class_id is None or detections.confidence is None:
            raise ValueError("detections need class_id and confidence to become COCO annotations")
        limits = np.array([width, height, width, height], dtype=np.float64)
        corners = np.clip(detections.xyxy.astype(np.float64), 0.0, limits).round(_DECIMALS)
        for box, class_id, score in zip(
            corners, detections.class_id, detections.confidence, strict=True
        ):
            x1, y1, x2, y2 = (float(value) for value in box)
            w, h = round(x2 - x1, _DECIMALS), round(y2 - y1, _DECIMALS)
            if w <= 0 or h <= 0:
                continue
            if not 0 <= int(class_id) < len(self.categories):
                raise ValueError(
                    f"class_id {int(class_id)} is outside the {len(self.categories)} names"
                )
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(class_id) + 1,
                    "bbox": [x1, y1, w, h],
                    "area": round(w * h, _DECIMALS),
                    "iscrowd": 0,
                    # The box as a polygon, as pycocotools makes it: an empty list has no mask.
                    "segmentation": [[x1, y1, x1, y2, x2, y2, x2, y1]],
                    "score": round(float(score), 6),
                }
            )
        return image_id

    def to_dict(self) -> dict[str, Any]:
        """The dataset as plain JSON values."""
        return {
            "info": self.info,
            "licenses": [],
            "images": self.images,
            "categories": self.categories,
            "annotations": self.annotations,
        }


def write_coco(
    path: Path,
    names: Sequence[str],
    images: Iterable[DetectedImage],
    info: dict[str, Any],
    extra: Mapping[str, dict[str, Any]] | None = None,
) -> Path:
    """Write a data set in COCO's detection format with scores; images without boxes are listed.

    Args:
        path: the file.
        names: the classes, in their order.
        images: with their boxes.
        info: keys of COCO's `info`.
        extra: further keys of an image's entry, by its name.
    """
    dataset = CocoDataset(names, info)
    for image in images:
        more = (extra or {}).get(image.name, {})
        dataset.add(image.name, image.size, image.detections, **more)
    write_json(path, dataset.to_dict())
    return path
