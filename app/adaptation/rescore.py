"""New boxes for the photos of a run from its index and learned classes; no model runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.adaptation.learn import scores
from app.adaptation.region_table import PhotoRegions, RegionTable
from app.adaptation.shown_boxes import shown_boxes
from app.adaptation.state import LearnedClasses, LearnedError
from app.index.ask import Found
from app.index.store import RegionIndex
from detclipv2.inference.suppression import Suppression

_PHOTOS = 64
"""Read at once."""


def rescore(
    index: RegionIndex, learned: LearnedClasses, floor: float, rules: Suppression
) -> Iterator[Found]:
    """The boxes of every indexed photo, in the index's order.

    Args:
        index: of the run.
        learned: its classes.
        floor: lowest score that is wanted; thresholds are left to whoever shows the boxes.
        rules: within a class, as in `ask`.

    Raises:
        LearnedError: the classes were learned from another checkpoint's regions.
        RunIndexError: the index is damaged.
    """
    if index.header.checkpoint != learned.checkpoint:
        raise LearnedError(
            f"classes were learned from checkpoint {learned.checkpoint[:8]} and the index is of "
            f"{index.header.checkpoint[:8]}: delete the file, and learn again"
        )
    floors = np.full(len(learned.words.names), floor)
    for start in range(0, len(index.places), _PHOTOS):
        places = index.places[start : start + _PHOTOS]
        photos = [photo_regions(index, place) for place in places.tolist()]
        table = RegionTable.of(photos, learned.standard, learned.words)
        shown = shown_boxes(table, scores(table, learned.adapted.weights), floors, rules)
        order = np.argsort(shown.photo, kind="stable")
        ends = np.searchsorted(shown.photo[order], np.arange(len(photos) + 1))
        for number, place in enumerate(places.tolist()):
            mine: NDArray[Any] = order[ends[number] : ends[number + 1]]
            image = int(index.records["image"][place])
            yield Found(image, shown.boxes[mine], shown.scores[mine], shown.classes[mine])


def photo_regions(index: RegionIndex, place: int) -> PhotoRegions:
    """One record of an index."""
    width, height = index.records["size"][place].tolist()
    return PhotoRegions(index.regions(place), (width, height))
