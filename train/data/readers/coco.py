"""COCO-format detection sets, Objects365 among them: categories as concepts."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detclipv2.language.sentence import prompt_text
from train.data.dropped import Dropped, reporting
from train.data.sample import Sample, boxed

_PATCH = re.compile(r"patch\d+/[^/]+$")


def prompt_of(category: Mapping[str, Any]) -> tuple[str, ...]:
    """A category's `text`, where present, is its prompt, else its `name`."""
    return (str(category.get("text") or category["name"]),)


def read_coco(
    annotations: Path,
    images: Path | None = None,
    *,
    split: str | None = None,
    exhaustive: bool | None = None,
    names: Callable[[Mapping[str, Any]], tuple[str, ...]] = prompt_of,
    file_of: Callable[[str], str] = str,
    dropped: Dropped | None = None,
) -> list[Sample]:
    """Samples of a COCO-format file. Crowd regions are no boxes.

    Args:
        annotations: the JSON file.
        images: folder of the photos, by default `images` beside the file.
        split: keep the images whose `split` is this; None keeps all.
        exhaustive: overrides the file's `info.exhaustive` (by default True).
        names: the concepts of a category's boxes.
        file_of: where in `images` a `file_name` is found.
        dropped: counts what is left out; where there is none, it is logged.

    Raises:
        ValueError: the file is not COCO's format, or no image is left; both name the file.
    """
    try:
        data = json.loads(annotations.read_text(encoding="utf-8"))
        prompts = {c["id"]: names(c) for c in data["categories"]}
        records, rows = list(data["images"]), list(data["annotations"])
        info = data.get("info") or {}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not in COCO format: {error!r}") from error
    if exhaustive is None:
        exhaustive = bool(info.get("exhaustive", True))
    folder = images or annotations.parent / "images"
    with reporting(dropped, annotations) as report:
        by_image = boxes_by_image(rows, prompts, report)
        samples = []
        for record in records:
            if split is not None and record.get("split") != split:
                continue
            try:
                path = folder / file_of(record["file_name"])
                width, height = int(record["width"]), int(record["height"])
                boxes = by_image[record["id"]]
            except (KeyError, TypeError, ValueError):
                report.add("an image without id, file name, width or height", str(record))
                continue
            samples.append(boxed(path, width, height, boxes, exhaustive=exhaustive, dropped=report))
    if not samples:
        raise ValueError(f"{annotations} has no image of split {split!r}")
    return samples


def boxes_by_image(
    rows: Sequence[Mapping[str, Any]], prompts: Mapping[int, tuple[str, ...]], dropped: Dropped
) -> dict[Any, list[tuple[list[float], tuple[str, ...]]]]:
    """Annotations as (xywh, names) by image id, without crowds; bad rows are counted."""
    found: dict[Any, list[tuple[list[float], tuple[str, ...]]]] = defaultdict(list)
    for row in rows:
        try:
            if not row.get("iscrowd"):
                found[row["image_id"]].append((row["bbox"], prompts[row["category_id"]]))
        except (AttributeError, KeyError, TypeError):
            reason = "an annotation without image, box or a category of the file"
            dropped.add(reason, str(row)[:200])
    return found


def read_objects365(
    annotations: Path, images: Path, *, dropped: Dropped | None = None
) -> list[Sample]:
    """Objects365: photos in `patchN` folders, categories such as "Cabinet/shelf" with two names.

    Args:
        annotations: `zhiyuan_objv2_train.json` or the like.
        images: folder with `patch0`, `patch1` and so on.
        dropped: as for `read_coco`.

    Raises:
        ValueError: as for `read_coco`.
    """
    return read_coco(annotations, images, names=_alternatives, file_of=_from_patch, dropped=dropped)


def _alternatives(category: Mapping[str, Any]) -> tuple[str, ...]:
    parts = (prompt_text("{}", part) for part in str(category["name"]).split("/"))
    return tuple(dict.fromkeys(part for part in parts if part))


def _from_patch(file_name: str) -> str:
    # The file says images/v2/patch16/x.jpg; the archives unpack to patch16/x.jpg.
    match = _PATCH.search(file_name)
    return match.group() if match else file_name
