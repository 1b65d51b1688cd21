"""One table of all boxes, a line each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.box import Box
from app.formats.atomic import write_bytes

HEADER = (
    "file_name",
    "width",
    "height",
    "class",
    "score",
    "x1",
    "y1",
    "x2",
    "y2",
    "state",
    "reason",
)


@dataclass(frozen=True)
class TableImage:
    """An image of the table.

    Attributes:
        name: how the table names it.
        width: in pixels of the upright original, None where it could not be read.
        height: likewise.
        boxes: the best first.
        state: "empty" or "failed", where there are no boxes.
        reason: why it failed.
    """

    name: str
    width: int | None
    height: int | None
    boxes: Sequence[Box]
    state: str
    reason: str


def write_csv(path: Path, images: Iterable[TableImage]) -> Path:
    """Write one line a box; an image without boxes has one line with empty cells."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER)
    for image in images:
        head = [image.name, image.width, image.height]
        for box in image.boxes:
            corners = [round(value, 2) for value in box.xyxy]
            writer.writerow([*head, box.name, round(box.score, 6), *corners, "done", ""])
        if not image.boxes:
            writer.writerow([*head, "", "", "", "", "", "", image.state, image.reason])
    write_bytes(path, text.getvalue().encode("utf-8"))
    return path
