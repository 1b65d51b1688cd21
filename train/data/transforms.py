"""From a Sample to what the network is shown: scale jitter, crop, flip, light, mosaic.

Boxes follow exactly. A box of which too little stays visible goes, but its concepts stay concepts
of the view, so that no loss punishes finding what is still there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.sample import Boxes, Labels, Sample

Image = NDArray[np.uint8]
Cell = tuple[int, int, int, int]
"""Left, top, width and height in pixels of a mosaic's canvas."""


@dataclass(frozen=True)
class Augmentation:
    """How strongly views vary.

    Attributes:
        scale: smallest and largest size of the photo relative to the canvas it would just fill.
        flip: probability of mirroring left and right.
        light: largest relative change of brightness, contrast and each colour channel.
        visible: share of a box that must stay in view.
        squash: pull the photo to the canvas's shape, so that it fills it at scale 1.
    """

    scale: tuple[float, float] = (0.6, 1.8)
    flip: float = 0.5
    light: float = 0.25
    visible: float = 0.4
    squash: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"augmentation.scale needs 0 < low ≤ high, got {self.scale}")


@dataclass(frozen=True)
class View:
    """A canvas of pixels with what is known of it; boxes are xyxy in the canvas's pixels.

    The rest is as in `Sample`; of the names and captions of a mosaic's photos none is left.
    """

    pixels: Image
    boxes: Boxes
    concepts: tuple[str, ...]
    labels: Labels
    exhaustive: bool
    complete: tuple[str, ...] = ()
    caption: str | None = None
    photo: str = ""


def random_view(
    sample: Sample,
    image: Image,
    canvas: tuple[int, int],
    aug: Augmentation,
    rng: np.random.Generator,
    fill: tuple[int, int, int],
) -> View:
    """A sample placed on a canvas at random.

    Args:
        sample: boxes and concepts.
        image: (H, W, 3) RGB, the sample's pixels.
        canvas: (width, height) in pixels.
        aug: strengths.
        rng: decides everything.
        fill: colour where the photo does not reach.
    """
    width, height = canvas
    fits = np.array([width / sample.width, height / sample.height])
    scale = (fits if aug.squash else fits.min()) * np.exp(rng.uniform(*np.log(aug.scale)))
    wanted = np.array([sample.width, sample.height]) * scale
    size = (max(1, round(float(wanted[0]))), max(1, round(float(wanted[1]))))
    # The exact factors after rounding, so that boxes stay on their pixels.
    factor = np.array([size[0] / sample.width, size[1] / sample.height], dtype=np.float32)
    shift = np.array([_slide(width - size[0], rng), _slide(height - size[1], rng)])
    pixels = _paste(image, size, shift, canvas, fill)
    boxes = sample.boxes * np.tile(factor, 2) + np.tile(shift, 2).astype(np.float32)
    if rng.random() < aug.flip:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
        boxes = boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32) + np.array(
            [width, 0, width, 0], np.float32
        )
    if aug.light:
        pixels = _relight(pixels, aug.light, rng)
    boxes, kept = _clip(boxes, canvas, aug.visible)
    return View(
        pixels,
        boxes[kept],
        sample.concepts,
        sample.labels[kept],
        sample.exhaustive,
        sample.complete,
        sample.caption,
        sample.name,
    )


def mosaic(views: list[View], places: list[Cell], canvas: tuple[int, int]) -> View:
    """Views, made for `places`, as one picture of `canvas` (width, height)."""
    width, height = canvas
    pixels = np.empty((height, width, 3), np.uint8)
    concepts = tuple(dict.fromkeys(c for view in views for c in view.concepts))
    column = {concept: index for index, concept in enumerate(concepts)}
    boxes, labels = [], []
    for view, (x, y, cell_width, cell_height) in zip(views, places, strict=True):
        pixels[y : y + cell_height, x : x + cell_width] = view.pixels
        boxes.append(view.boxes + np.array([x, y, x, y], np.float32))
        wide = np.zeros((len(view.boxes), len(concepts)), bool)
        wide[:, [column[c] for c in view.concepts]] = view.labels
        labels.append(wide)
    exhaustive = all(view.exhaustive for view in views)
    # A name is complete on the whole only where it is on every part.
    partial = [set(view.complete) for view in views if not view.exhaustive]
    complete = sorted(set.intersection(*partial)) if partial else []
    return View(
        pixels, np.concatenate(boxes), concepts, np.concatenate(labels), exhaustive, tuple(complete)
    )


def cells(canvas: tuple[int, int], rng: np.random.Generator) -> list[Cell]:
    """A mosaic's four cells, row after row; the lines between them are not quite in the middle.

    Args:
        canvas: (width, height) in pixels.
        rng: moves the lines.
    """
    columns, rows = (_lines(side, rng) for side in canvas)
    return [
        (left, top, right - left, bottom - top)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def drop_concepts(view: View, most: int, rng: np.random.Generator) -> View:
    """At most `most` concepts, those with boxes first; boxes left without any go."""
    if len(view.concepts) <= most:
        return view
    order = rng.permutation(len(view.concepts))
    without_box = ~np.asarray(view.labels.any(axis=0))
    order = order[np.argsort(without_box[order], kind="stable")]
    keep = np.sort(order[:most])
    labels = view.labels[:, keep]
    named = np.flatnonzero(labels.any(axis=1))
    return replace(
        view,
        boxes=view.boxes[named],
        labels=labels[named],
        concepts=tuple(view.concepts[i] for i in keep),
    )


def _lines(side: int, rng: np.random.Generator) -> list[int]:
    return [0, int(side * rng.uniform(0.35, 0.65)), side]


def _slide(room: int, rng: np.random.Generator) -> int:
    return round(rng.uniform(min(0, room), max(0, room)))


def _paste(
    image: Image,
    size: tuple[int, int],
    shift: NDArray[np.int64],
    canvas: tuple[int, int],
    fill: tuple[int, int, int],
) -> Image:
    method = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR
    resized = cv2.resize(image, size, interpolation=method)
    width, height = canvas
    out = np.empty((height, width, 3), np.uint8)
    out[:] = fill
    x, y = int(shift[0]), int(shift[1])
    shown = resized[max(0, -y) : height - y, max(0, -x) : width - x]
    top, left = max(0, y), max(0, x)
    out[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return out


def _relight(pixels: Image, strength: float, rng: np.random.Generator) -> Image:
    gain = 1 + rng.uniform(-strength, strength) + rng.uniform(-strength, strength, 3) / 3
    shift = 255 * rng.uniform(-strength, strength) / 2
    levels = np.arange(256, dtype=np.float32)[:, None] * gain + shift
    table = levels.clip(0, 255).astype(np.uint8).reshape(256, 1, 3)
    return np.asarray(cv2.LUT(pixels, table), dtype=np.uint8)


def _clip(boxes: Boxes, canvas: tuple[int, int], visible: float) -> tuple[Boxes, NDArray[np.bool_]]:
    clipped = boxes.copy()
    clipped[:, 0::2] = clipped[:, 0::2].clip(0, canvas[0])
    clipped[:, 1::2] = clipped[:, 1::2].clip(0, canvas[1])
    before = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    sides = clipped[:, 2:] - clipped[:, :2]
    return clipped, (sides.min(axis=1, initial=np.inf) >= 2) & (
        sides.prod(axis=1) >= visible * before
    )
