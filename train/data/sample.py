"""The one Sample type: what every reader gives and every task takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.data.dropped import Dropped

Boxes = NDArray[np.float32]
Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """A photo and what is known of it. Without boxes it is an image-text pair.

    Attributes:
        image: the file, or an encoded picture held in memory.
        width: of the upright photo in pixels; 0, as is `height`, where it is not known yet.
        height: of the upright photo in pixels.
        boxes: (N, 4) float32 xyxy in the photo's pixels.
        concepts: C distinct names or phrases that hold for the photo, boxed or not; of a pair the
            noun phrases of its caption, or its class.
        labels: (N, C) bool, which concepts name which box; each box has at least one.
        exhaustive: all things of the photo's concepts are boxed, so what lies outside the boxes is
            background; where it is False only the boxes teach.
        complete: where `exhaustive` is False, names of which this holds nevertheless: those
            without a box were looked for and are absent. They need not be concepts of the photo.
        caption: the whole caption, which is not among the concepts.
        origin: what messages call the photo; empty for the file's path.
    """

    image: Path | bytes = field(repr=False)
    width: int
    height: int
    boxes: Boxes
    concepts: tuple[str, ...]
    labels: Labels
    exhaustive: bool = True
    complete: tuple[str, ...] = ()
    caption: str | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.boxes), 4) or self.boxes.dtype != np.float32:
            raise ValueError(f"{self.name}: boxes must be float32 (N, 4), got {self.boxes.shape}")
        if self.labels.shape != (len(self.boxes), len(self.concepts)):
            raise ValueError(
                f"{self.name}: labels must be (boxes, concepts) = ({len(self.boxes)}, "
                f"{len(self.concepts)}), got {self.labels.shape}"
            )
        if len(self.boxes) and not (self.width and self.height):
            raise ValueError(f"{self.name}: boxes, but the photo's size is not known")
        if len(set(self.concepts)) != len(self.concepts):
            raise ValueError(f"{self.name}: a concept stands twice in {self.concepts}")
        if len(self.boxes) and not self.labels.any(axis=1).all():
            raise ValueError(f"{self.name}: a box without a concept")
        if len(self.boxes) and not (self.boxes[:, 2:] > self.boxes[:, :2]).all():
            raise ValueError(f"{self.name}: a box without area")

    @property
    def name(self) -> str:
        """What messages call the photo."""
        if self.origin:
            return self.origin
        return str(self.image) if isinstance(self.image, Path) else "a picture in memory"


def pair(
    image: Path | bytes,
    concepts: Sequence[str] = (),
    *,
    caption: str | None = None,
    width: int = 0,
    height: int = 0,
    origin: str = "",
) -> Sample:
    """An image-text pair: a sample without boxes; a concept given twice counts once."""
    names = tuple(dict.fromkeys(concepts))
    boxes, labels = _nothing(len(names))
    return Sample(
        image, width, height, boxes, names, labels, exhaustive=False, caption=caption, origin=origin
    )


@lru_cache(maxsize=64)
def _nothing(concepts: int) -> tuple[Boxes, Labels]:
    # Pairs come by the million; what they have in common is kept once.
    return np.zeros((0, 4), np.float32), np.zeros((0, concepts), bool)


def boxed(
    image: Path,
    width: int,
    height: int,
    rows: Iterable[tuple[Sequence[float], Iterable[str]]],
    *,
    mentioned: Iterable[str] = (),
    exhaustive: bool = True,
    complete: Iterable[str] = (),
    caption: str | None = None,
    dropped: Dropped,
) -> Sample:
    """A sample of rows as annotation files have them.

    Args:
        image: the file.
        width: of the photo in pixels.
        height: of the photo in pixels.
        rows: boxes, xywh in the photo's pixels, each with its names.
        mentioned: concepts of the photo that need no box.
        exhaustive: see `Sample`.
        complete: see `Sample`.
        caption: see `Sample`.
        dropped: counts boxes that cannot be used.
    """
    numbers, names = [], []
    for xywh, words in rows:
        if _is_box(xywh):
            numbers.append(xywh)
            names.append(tuple(words))
        else:
            dropped.add("a box that is not four numbers", f"{image}: {xywh}")
    boxes, usable = clean_boxes(numbers, width, height)
    for index in np.flatnonzero(~usable):
        dropped.add("a box of less than a pixel inside the photo", f"{image}: {numbers[index]}")
    kept = [words for words, keep in zip(names, usable, strict=True) if keep]
    concepts = tuple(dict.fromkeys([*mentioned, *(w for words in kept for w in words)]))
    labels = np.array([[c in words for c in concepts] for words in kept], dtype=bool)
    return Sample(
        image,
        width,
        height,
        boxes[usable],
        concepts,
        labels.reshape(len(kept), len(concepts)),
        exhaustive,
        tuple(dict.fromkeys(complete)),
        caption,
    )


def _is_box(xywh: object) -> bool:
    try:
        numbers = np.asarray(xywh, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return numbers.shape == (4,) and bool(np.isfinite(numbers).all())


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
