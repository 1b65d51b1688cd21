"""An image and its boxes, as the writers of data sets take them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import supervision as sv


@dataclass(frozen=True, eq=False)
class DetectedImage:
    """An image of a data set.

    Attributes:
        name: how the data set names it.
        size: width and height in pixels of the upright original.
        detections: xyxy in those pixels; `class_id` indexes the data set's names.
    """

    name: str
    size: tuple[int, int]
    detections: sv.Detections


def empty_folder(folder: Path) -> Path:
    """The folder without what an earlier export left: its labels would mix with the new ones."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
