"""MDETR's grounding files, of which GoldG is made: COCO's format with a caption an image.

Each annotation says by character spans (`tokens_positive`) which words of the caption it boxes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from train.data.dropped import Dropped, reporting
from train.data.readers.grounding import grounded
from train.data.sample import Sample


def read_goldg(
    annotations: Path, images: Path, *, heads: bool = False, dropped: Dropped | None = None
) -> list[Sample]:
    """One sample a caption, its boxed phrases as concepts.

    Args:
        annotations: `final_mixed_train_no_coco.json`, `final_flickr_separateGT_train.json` or the
            like. With COCO's photos in it, LVIS is no zero-shot test any more.
        images: folder of the photos.
        heads: add the head noun of each phrase as a concept.
        dropped: counts what is left out; where there is none, it is logged.

    Raises:
        ValueError: the file has another format, or no image; both name the file.
    """
    try:
        data = json.loads(annotations.read_text(encoding="utf-8"))
        captions = {i["id"]: str(i["caption"]) for i in data["images"]}
        rows = list(data["annotations"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not in MDETR's format: {error!r}") from error
    samples = []
    with reporting(dropped, annotations) as report:
        phrases: dict[Any, dict[str, list[Sequence[float]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for row in rows:
            try:
                image, xywh = row["image_id"], row["bbox"]
                text = _phrase(captions[image], row)
            except (KeyError, TypeError, ValueError) as error:
                report.add("an annotation without image, box or words", f"{error}: {row}"[:200])
                continue
            phrases[image][text].append(xywh)
        for record in data["images"]:
            try:
                path = images / record["file_name"]
                width, height = int(record["width"]), int(record["height"])
            except (KeyError, TypeError, ValueError):
                report.add("an image without file name, width or height", str(record)[:200])
                continue
            samples.append(
                grounded(
                    path,
                    width,
                    height,
                    phrases[record["id"]].items(),
                    heads=heads,
                    caption=captions[record["id"]],
                    dropped=report,
                )
            )
    if not samples:
        raise ValueError(f"{annotations} has no image")
    return samples


def _phrase(caption: str, row: Mapping[str, Any]) -> str:
    spans = [(int(start), int(end)) for start, end in row["tokens_positive"]]
    if not all(0 <= start < end <= len(caption) for start, end in spans):
        raise ValueError(f"spans {spans} lie outside the caption")
    # A phrase in parts, "man … in a hat", is read as one.
    text = " ".join(caption[start:end].strip() for start, end in spans).strip()
    if not text:
        raise ValueError("no span")
    return text
