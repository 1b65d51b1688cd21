"""Boxes from a COCO file of somebody's: photos by name, all their boxes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.box import Box

MOST_BYTES = 512 << 20


class CocoError(ValueError):
    """A file that is no COCO of boxes; the message says where it is not."""


@dataclass(frozen=True)
class CocoBoxes:
    """What a file says.

    Attributes:
        names: its categories.
        boxes: every photo's, by file name; crowds are left out. Scores are 1.
    """

    names: tuple[str, ...]
    boxes: dict[str, tuple[Box, ...]]


def read_coco_boxes(path: Path) -> CocoBoxes:
    """Read images, categories and annotations.

    Raises:
        CocoError: the file is none, or too large.
        OSError: it cannot be read.
    """
    if (size := path.stat().st_size) > MOST_BYTES:
        raise CocoError(f"{path} has {size:,} bytes; at most {MOST_BYTES:,} are read")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        names = {one["id"]: str(one["name"]) for one in stored["categories"]}
        files = {one["id"]: str(one["file_name"]) for one in stored["images"]}
        found: dict[Any, list[Box]] = {image: [] for image in files}
        for one in stored["annotations"]:
            if not one.get("iscrowd"):
                x, y, w, h = (float(value) for value in one["bbox"])
                box = Box(names[one["category_id"]], 1.0, (x, y, x + w, y + h))
                found[one["image_id"]].append(box)
    except KeyError as error:
        raise CocoError(f"{path}: no COCO of boxes, {error} is missing") from error
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CocoError(f"{path}: no COCO of boxes: {error}") from error
    return CocoBoxes(
        tuple(names.values()), {files[image]: tuple(boxes) for image, boxes in found.items()}
    )
