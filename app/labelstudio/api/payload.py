"""Boxes → Label Studio's predictions, and back. Coordinates are percent of the upright image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from app.box import Box

_SIDES = ("x", "y", "width", "height")
_HUGE = 1e9
_DECIMALS = 4  # a ten-thousandth of a percent: 0.01 px of a 10,000 px side


@dataclass(frozen=True)
class Target:
    """Where boxes go in a labeling configuration.

    Attributes:
        from_name: the control with the labels.
        to_name: the image.
        shape: name of the <Rectangle> that draws for plain <Labels>; None for <RectangleLabels>,
            which draw and name at once.
    """

    from_name: str
    to_name: str
    shape: str | None = None


Places: TypeAlias = Mapping[str, tuple[Target, str]]
"""Class name → control and label, of one image; classes that are missing here are left out."""
DEFAULT_TARGET = Target("label", "image")
"""Of the configurations this package writes, and of Label Studio's own bounding-box template; the
task's data names the image as the tag does."""


@dataclass(frozen=True)
class Region:
    """A labelled rectangle of a prediction or annotation.

    Attributes:
        id: the server's.
        box: what it covers, upright, in pixels of the image.
        unturned: what it would cover without its rotation.
        rotation: degrees that a labeler turned it by, clockwise about its first corner.
        image: name of the image tag, and place in its list of images.
        control: name of the tag with the label.
    """

    id: str
    box: Box
    unturned: Box
    rotation: float
    image: tuple[str, int]
    control: str


def regions(
    box: Box, size: tuple[int, int], target: Target, label: str, item: int | None = None
) -> list[dict[str, Any]]:
    """A box as the server stores it: one region, or a shape and its name with the same id.

    Args:
        box: xyxy in pixels of the upright image.
        size: its width and height.
        target: the control it belongs to.
        label: the control's label.
        item: place in a list of images; None where the tag shows one.

    Returns:
        Nothing when nothing of the box lies inside the image.
    """
    width, height = size
    x1, x2 = (min(max(value / width, 0.0), 1.0) * 100 for value in (box.xyxy[0], box.xyxy[2]))
    y1, y2 = (min(max(value / height, 0.0), 1.0) * 100 for value in (box.xyxy[1], box.xyxy[3]))
    x, y = round(x1, _DECIMALS), round(y1, _DECIMALS)
    w, h = round(x2 - x, _DECIMALS), round(y2 - y, _DECIMALS)
    if w <= 0 or h <= 0:
        return []
    value = {"x": x, "y": y, "width": min(w, 100 - x), "height": min(h, 100 - y), "rotation": 0}
    score = round(min(max(box.score, 0.0), 1.0), 6)
    shared = {
        # a string that says the same in every push: the front end calls string methods on it
        "id": _digest([target.from_name, target.to_name, item, label, value, score])[:10],
        "to_name": target.to_name,
        "origin": "prediction",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": score,
        **({} if item is None else {"item_index": item}),
    }
    kind = "rectanglelabels" if target.shape is None else "labels"
    named = {
        **shared,
        "from_name": target.from_name,
        "type": kind,
        "value": {**value, kind: [label]},
    }
    if target.shape is None:
        return [named]
    return [{**shared, "from_name": target.shape, "type": "rectangle", "value": value}, named]


def regions_of(
    boxes: Sequence[Box], size: tuple[int, int], places: Places, item: int | None = None
) -> list[dict[str, Any]]:
    """The regions of an image's boxes, no box twice.

    Args:
        boxes: what was found.
        size: width and height of the upright image.
        places: where they go.
        item: see `regions`.
    """
    by_id: dict[str, list[dict[str, Any]]] = {}
    for box in boxes:
        if box.name in places:
            made = regions(box, size, *places[box.name], item)
            if made:
                by_id.setdefault(made[0]["id"], made)
    return [region for made in by_id.values() for region in made]


def prediction(
    result: Sequence[Mapping[str, Any]],
    model_version: str,
    *,
    task: int | None = None,
    score: float | None = None,
) -> dict[str, Any]:
    """A prediction; without regions an empty one, which says "looked at, nothing there".

    Args:
        result: regions of all the task's images.
        model_version: who made them.
        task: the task's id, for imports into existing tasks.
        score: of the whole prediction, 0..1; None for the mean of its boxes. The server offers the
            lowest first when a project orders tasks by it.
    """
    if score is None:
        scores = {region["id"]: region["score"] for region in result}
        score = sum(scores.values()) / len(scores) if scores else 0.0
    found = {"model_version": model_version, "score": round(score, 6), "result": [*result]}
    return found if task is None else {"task": task, **found}


def fingerprint(result: Sequence[Mapping[str, Any]]) -> str:
    """Equal for regions that show the same, whatever keys and order the server gives them.

    The score of the whole prediction is left out: the queue writes a task's place into it.
    """
    shown = (
        [
            r.get("from_name"),
            r.get("to_name"),
            r.get("item_index"),
            _rounded(r.get("value", {})),
            r.get("score"),
        ]
        for r in result
    )
    return _digest(sorted(json.dumps(one, sort_keys=True) for one in shown))


def read_regions(
    result: Sequence[Mapping[str, Any]], size: tuple[int, int] | None = None
) -> list[Region]:
    """Every labelled rectangle of a prediction or annotation; other regions are passed over.

    Args:
        result: as the server gives it; anybody may have written it.
        size: width and height of the image; None takes what the region says.
    """
    found = []
    for item in result:
        value = item.get("value")
        if not isinstance(value, Mapping):
            continue
        labels = value.get("rectanglelabels") or value.get("labels")
        x, y, w, h = sides = [_number(value.get(side)) for side in _SIDES]
        # plain labels name points, ellipses and masks, too, and none of those has all four
        if not isinstance(labels, list) or not labels or None in sides:
            continue
        if not isinstance(labels[0], str):
            continue
        width, height = size or (
            _number(item.get("original_width")) or 100,
            _number(item.get("original_height")) or 100,
        )
        corner = (x or 0) / 100 * width, (y or 0) / 100 * height
        extent = (w or 0) / 100 * width, (h or 0) / 100 * height
        rotation = (_number(value.get("rotation")) or 0.0) % 360
        unturned = Box(labels[0], _number(item.get("score")) or 0.0, _around(corner, extent, 0))
        box = dataclasses.replace(unturned, xyxy=_around(corner, extent, rotation))
        image = str(item.get("to_name", "")), int(_number(item.get("item_index")) or 0)
        control = str(item.get("from_name", ""))
        found.append(Region(str(item.get("id", "")), box, unturned, rotation, image, control))
    return found


def to_boxes(
    result: Sequence[Mapping[str, Any]], size: tuple[int, int] | None = None
) -> list[tuple[str, Box]]:
    """(region id, box) of what `read_regions` gives."""
    return [(region.id, region.box) for region in read_regions(result, size)]


def _around(
    corner: tuple[float, float], extent: tuple[float, float], rotation: float
) -> tuple[float, float, float, float]:
    """The upright box around a rectangle that is turned about its first corner."""
    (x, y), (w, h) = corner, extent
    if not rotation:
        return x, y, x + w, y + h
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    xs = [x + a * cos - b * sin for a in (0, w) for b in (0, h)]
    ys = [y + a * sin + b * cos for a in (0, w) for b in (0, h)]
    return min(xs), min(ys), max(xs), max(ys)


def _number(value: object) -> float | None:
    """A number of a size that a picture can have; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _HUGE else None


def _rounded(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    numbers = {key: _number(one) for key, one in value.items()}
    return {k: v if (n := numbers[k]) is None else round(n, 3) for k, v in value.items()}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
