"""From boxes to the regions of a run that are like them; no gradio here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.box import Box, Corners
from app.index.alike import Alike, alike, example
from app.ui.explore.cards import MOST
from app.ui.explore.indexed_runs import IndexedRun
from app.ui.shared.trouble import TROUBLE, Trouble

MOST_EXAMPLES = 24
_MOST_BOXES = 60


@dataclass(frozen=True)
class Example:
    """A box to look like, or to look unlike."""

    image: int
    xyxy: Corners
    positive: bool


@dataclass(frozen=True)
class LikeState:
    """What stands in the part.

    Attributes:
        run: whose photo it is.
        image: the photo's id; 0 for none.
        chosen: a box of it.
        examples: those gathered so far.
    """

    run: str = ""
    image: int = 0
    chosen: Corners | None = None
    examples: tuple[Example, ...] = ()


def boxes_of(indexed: IndexedRun, image: int) -> list[Box]:
    """The run's boxes on a photo."""
    return indexed.run.boxes(indexed.rows[image])[:_MOST_BOXES]


def box_at(indexed: IndexedRun, image: int, x: float, y: float) -> Corners | None:
    """The smallest of the run's boxes at a point; else the region that is most surely a thing.

    Args:
        indexed: the run.
        image: a photo's id.
        x: in pixels of the upright original.
        y: likewise.
    """
    corners = [box.xyxy for box in boxes_of(indexed, image)]
    inside = [c for c in corners if c[0] <= x <= c[2] and c[1] <= y <= c[3]]
    if inside:
        return min(inside, key=lambda c: (c[2] - c[0]) * (c[3] - c[1]))
    places = indexed.index.places[indexed.index.images == image]
    if not len(places):
        return None
    regions = indexed.index.regions(int(places[0]))
    boxes, sure = regions.boxes, regions.objectness / (1 + np.exp(-regions.localisation))
    at = (boxes[:, :2] <= (x, y)).all(axis=1) & (boxes[:, 2:] >= (x, y)).all(axis=1)
    if not at.any():
        return None
    x1, y1, x2, y2 = boxes[int(np.where(at, sure, -1).argmax())].tolist()
    return x1, y1, x2, y2


def find_like(indexed: IndexedRun, examples: Sequence[Example]) -> list[Alike] | Trouble:
    """The photos with the regions most like the examples, each with its best one."""
    if not any(one.positive for one in examples):
        return Trouble("Choose a box that the regions shall be like, first.")
    try:
        positive, negative = (
            [
                example(indexed.index, one.image, one.xyxy)
                for one in examples
                if one.positive is wanted
            ]
            for wanted in (True, False)
        )
        return alike(indexed.index, positive, negative, MOST)
    except TROUBLE as error:
        return Trouble.of(error)


def photo_beside(
    indexed: IndexedRun, text: str, image: int = 0, *, after: bool = True
) -> int | None:
    """The next indexed photo whose name has this in it, or the one before, round and round.

    Args:
        indexed: the run.
        text: of any letter case; empty for any photo.
        image: id of the photo that the search begins at; 0 for the start.
        after: whether it goes on or back.
    """
    wanted = text.strip().casefold()
    named = [one for one in indexed.photos if wanted in indexed.rows[one].file_name.casefold()]
    if not after:
        named.reverse()
    beyond = (one for one in named if (one > image if after else one < image))
    return next(beyond, named[0] if named else None)
