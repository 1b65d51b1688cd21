"""The one Sample type: what every reader gives and every task takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """A photo and what is known of it.

    Attributes:
        image: the file.
        width: of the photo in pixels.
        height: of the photo in pixels.
        boxes: (N, 4) float32 xyxy in the photo's pixels.
        concepts: C distinct names or phrases that hold for the photo, boxed or not.
        labels: (N, C) bool, which concepts name which box; each box has at least one.
        exhaustive: all things of the photo's concepts are boxed, so what lies outside the boxes is
            background; where it is False only the boxes teach.
    """

    image: Path
    width: int
    height: int
    boxes: Boxes
    concepts: tuple[str, ...]
    labels: Labels
    exhaustive: bool = True

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.boxes), 4) or self.boxes.dtype != np.float32:
            raise ValueError(f"{self.image}: boxes must be float32 (N, 4), got {self.boxes.shape}")
        if self.labels.shape != (len(self.boxes), len(self.concepts)):
            raise ValueError(
                f"{self.image}: labels must be (boxes, concepts) = ({len(self.boxes)}, "
                f"{len(self.concepts)}), got {self.labels.shape}"
            )
        if len(set(self.concepts)) != len(self.concepts):
            raise ValueError(f"{self.image}: a concept stands twice in {self.concepts}")
        if len(self.boxes) and not self.labels.any(axis=1).all():
            raise ValueError(f"{self.image}: a box without a concept")
        if len(self.boxes) and not (self.boxes[:, 2:] > self.boxes[:, :2]).all():
            raise ValueError(f"{self.image}: a box without area")


def clean_boxes(xywh: object, width: int, height: int) -> tuple[Boxes, NDArray[np.bool_]]:
    """COCO's boxes as xyxy cut at the photo's borders, and which of them are at least a pixel wide.

    Args:
        xywh: anything that makes an (N, 4) array.
        width: of the photo in pixels.
        height: of the photo in pixels.
    """
    given = np.asarray(xywh, dtype=np.float32).reshape(-1, 4)
    boxes = np.concatenate((given[:, :2], given[:, :2] + given[:, 2:]), axis=1)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    usable = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    return boxes, usable
