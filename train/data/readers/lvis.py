"""LVIS v1: 1,203 classes, of which each photo was searched for only some."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from detclipv2.language.sentence import prompt_text
from train.data.dropped import Dropped, reporting
from train.data.readers.coco import boxes_by_image
from train.data.sample import Sample, boxed

Names = dict[int, tuple[str, ...]]


def read_lvis(annotations: Path, images: Path, *, dropped: Dropped | None = None) -> list[Sample]:
    """Samples of `lvis_v1_train.json` or `lvis_v1_val.json`.

    The annotation is federated: a class is known to be wrong outside the boxes only where it was
    verified absent (`neg_category_ids`) or all its things were boxed (it has boxes and is not in
    `not_exhaustive_category_ids`). These are `Sample.complete`; `exhaustive` is False.

    Args:
        annotations: the JSON file.
        images: folder of COCO's photos, flat or with `train2017` and `val2017`.
        dropped: counts what is left out; where there is none, it is logged.

    Raises:
        ValueError: the file is not LVIS's format, or has no image; both name the file.
    """
    from lvis import LVIS

    try:
        # Reading needs none of the numpy names that lvis 0.5.3 misses; only its evaluation does.
        data = LVIS(str(annotations))
        categories = data.dataset["categories"]
        names: Names = {c["id"]: (prompt_text("{}", c["name"]),) for c in categories}
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not in LVIS format: {error!r}") from error
    samples = []
    with reporting(dropped, annotations) as report:
        by_image = boxes_by_image(data.dataset["annotations"], names, report)
        for record in data.dataset["images"]:
            try:
                path = _photo(record, images)
                width, height = int(record["width"]), int(record["height"])
                rows = by_image[record["id"]]
                searched = _names(record["neg_category_ids"], names, report, path)
                partial = _names(record["not_exhaustive_category_ids"], names, report, path)
            except (KeyError, TypeError, ValueError):
                reason = "an image without id, coco_url, size, or verified categories"
                report.add(reason, str(record)[:200])
                continue
            present = [name for _, words in rows for name in words if name not in partial]
            samples.append(
                boxed(
                    path,
                    width,
                    height,
                    rows,
                    exhaustive=False,
                    complete=[*present, *searched],
                    dropped=report,
                )
            )
    if not samples:
        raise ValueError(f"{annotations} has no image")
    return samples


def _photo(record: dict[str, Any], images: Path) -> Path:
    split, name = Path(urlsplit(record["coco_url"]).path).parts[-2:]
    # A photo of the val set may come from train2017: with split folders the address decides.
    return images / split / name if (images / split).is_dir() else images / name


def _names(ids: list[int], names: Names, dropped: Dropped, path: Path) -> list[str]:
    for unknown in (i for i in ids if i not in names):
        dropped.add("a verified category that the file does not have", f"{path}: {unknown}")
    return [name for i in ids if i in names for name in names[i]]
