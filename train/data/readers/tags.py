"""Photos with image-level names only."""

from __future__ import annotations

import json
from pathlib import Path

from train.data.sample import Sample, pair


def read_tags(annotations: Path, *, split: str = "train") -> list[Sample]:
    """Samples without boxes of a tag file: COCO's format, annotations without `bbox`.

    Raises:
        ValueError: the file has another format.
    """
    try:
        data = json.loads(annotations.read_text(encoding="utf-8"))
        names = {c["id"]: str(c.get("text") or c["name"]) for c in data["categories"]}
        tags: dict[int, list[str]] = {i["id"]: [] for i in data["images"]}
        for a in data["annotations"]:
            tags[a["image_id"]].append(names[a["category_id"]])
        records = [i for i in data["images"] if i.get("split", split) == split]
        folder = annotations.parent / "images"
        return [
            pair(folder / r["file_name"], tags[r["id"]], width=r["width"], height=r["height"])
            for r in records
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not a tag file: {error!r}") from error
