"""A Sample as an entry of a tar in webdataset's layout: `KEY.jpg` beside `KEY.json`.

The JSON has `caption`, `width` and `height` as img2dataset writes them, and of ours `boxes` (xyxy),
`concepts`, `labels` (for each box the indices of its concepts), `exhaustive` and `complete`. What
is missing in it is unknown, so an entry of img2dataset is a pair without concepts.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from train.data.sample import Sample, pair


@dataclass(frozen=True)
class Entry:
    """A sample ready to be written, its `image` encoded in memory as `kind` ("jpg")."""

    key: str
    kind: str
    sample: Sample


def to_json(sample: Sample) -> dict[str, Any]:
    """All of a sample but its pixels, as JSON values."""
    return {
        "caption": sample.caption,
        "width": sample.width,
        "height": sample.height,
        "boxes": sample.boxes.tolist(),
        "concepts": list(sample.concepts),
        "labels": [np.flatnonzero(row).tolist() for row in sample.labels],
        "exhaustive": sample.exhaustive,
        "complete": list(sample.complete),
    }


def from_json(
    values: Mapping[str, Any], image: bytes, size: tuple[int, int], origin: str
) -> Sample:
    """The sample of an entry.

    Args:
        values: the entry's JSON; `{"caption": …}` where it had only a text.
        image: the encoded picture.
        size: its (width, height), upright.
        origin: what messages call it.

    Raises:
        ValueError: values that contradict each other or the picture's size.
    """
    try:
        caption = values.get("caption")
        if caption is not None and not isinstance(caption, str):
            raise ValueError(f"the caption is {caption!r}")
        concepts = tuple(str(c) for c in values.get("concepts") or ())
        if not caption and "concepts" not in values:
            raise ValueError("neither a caption nor concepts")
        if not values.get("boxes"):
            plain = pair(
                image, concepts, caption=caption, width=size[0], height=size[1], origin=origin
            )
            if "exhaustive" not in values:
                return plain
            boxes, labels = plain.boxes, plain.labels
        else:
            if (values["width"], values["height"]) != size:
                annotated = f"{values['width']}×{values['height']}"
                raise ValueError(f"boxes of a {annotated} photo on one of {size[0]}×{size[1]}")
            boxes = np.array(values["boxes"], dtype=np.float32)
            labels = np.zeros((len(boxes), len(concepts)), dtype=bool)
            for row, indices in zip(labels, values["labels"], strict=True):
                row[indices] = True
        return Sample(
            image,
            size[0],
            size[1],
            boxes,
            concepts,
            labels,
            bool(values.get("exhaustive", False)),
            tuple(map(str, values.get("complete") or ())),
            caption,
            origin,
        )
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{origin}: not a sample's values ({error!r})") from error


def write_shard(path: Path, entries: Iterable[Entry]) -> int:
    """Write a tar and return its number of entries. It appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    count = 0
    with tarfile.open(partial, "w") as archive:
        for entry in entries:
            if not isinstance(entry.sample.image, bytes):
                raise TypeError(f"{entry.sample.name}: the picture is not in memory")
            values = json.dumps(to_json(entry.sample), ensure_ascii=False).encode()
            for kind, content in ((entry.kind, entry.sample.image), ("json", values)):
                member = tarfile.TarInfo(f"{entry.key}.{kind}")
                member.size = len(content)
                archive.addfile(member, BytesIO(content))
            count += 1
    partial.replace(path)
    return count
