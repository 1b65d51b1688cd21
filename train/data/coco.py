"""COCO-format detection sets: categories as concepts."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from train.data.sample import Sample, clean_boxes


def read_coco(
    annotations: Path, images: Path | None = None, *, split: str | None = None,
    exhaustive: bool | None = None,
) -> list[Sample]:  # fmt: skip
    """Samples of a COCO-format file.

    Args:
        annotations: the JSON file; a category's `text`, where present, is its prompt, else `name`.
        images: folder of the photos, by default `images` beside the file.
        split: keep the images whose `split` is this; None keeps all.
        exhaustive: overrides the file's `info.exhaustive` (by default True).

    Raises:
        ValueError: the file is not COCO's format, or no image is left; both name the file.
    """
    try:
        data = json.loads(annotations.read_text(encoding="utf-8"))
        prompts = {c["id"]: str(c.get("text") or c["name"]) for c in data["categories"]}
        by_image: dict[int, list[tuple[list[float], str]]] = defaultdict(list)
        for a in data["annotations"]:
            if not a.get("iscrowd"):
                by_image[a["image_id"]].append((a["bbox"], prompts[a["category_id"]]))
        records = [i for i in data["images"] if split is None or i.get("split") == split]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not in COCO format: {error!r}") from error
    if not records:
        raise ValueError(f"{annotations} has no image of split {split!r}")
    if exhaustive is None:
        exhaustive = bool(data.get("info", {}).get("exhaustive", True))
    folder = images or annotations.parent / "images"
    samples = []
    for record in records:
        width, height = record["width"], record["height"]
        boxed = by_image[record["id"]]
        boxes, usable = clean_boxes([box for box, _ in boxed], width, height)
        names = [name for (_, name), keep in zip(boxed, usable, strict=True) if keep]
        concepts = tuple(dict.fromkeys(names))
        labels = np.array([[n == c for c in concepts] for n in names], dtype=bool)
        samples.append(
            Sample(
                folder / record["file_name"],
                width,
                height,
                boxes[usable],
                concepts,
                labels.reshape(len(names), len(concepts)),
                exhaustive,
            )
        )
    return samples
