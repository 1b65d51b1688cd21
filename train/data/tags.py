"""Photos with image-level names only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from train.data.sample import Sample


def read_tags(annotations: Path, *, split: str = "train") -> list[Sample]:
    """Samples without boxes of a tag file: COCO's format, annotations without `bbox`.

    Raises:
        ValueError: the file has another format.
    """
    try:
        data = json.loads(annotations.read_text(encoding="utf-8"))
        names = {c["id"]: str(c.get("text") or c["name"]) for c in data["categories"]}
        tags: dict[int, dict[str, None]] = {i["id"]: {} for i in data["images"]}
        for a in data["annotations"]:
            tags[a["image_id"]][names[a["category_id"]]] = None
        records = [i for i in data["images"] if i.get("split", split) == split]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not a tag file: {error!r}") from error
    folder = annotations.parent / "images"
    return [
        Sample(
            folder / r["file_name"],
            r["width"],
            r["height"],
            np.zeros((0, 4), np.float32),
            tuple(tags[r["id"]]),
            np.zeros((0, len(tags[r["id"]])), bool),
            exhaustive=False,
        )
        for r in records
    ]
