"""Which photos of a run want a look first: those whose boxes lie close to a threshold."""

from __future__ import annotations

from collections.abc import Iterable

from app.runs.records import ImageRow
from app.runs.settings import View
from app.runs.store import Run

MARGIN = 0.1
"""How far from its class's threshold a score is in doubt."""


def doubt(run: Run, row: ImageRow, view: View, margin: float = MARGIN) -> tuple[float, int]:
    """How much a photo wants a look, 0 to less than 1, and how many boxes are in doubt.

    Args:
        run: the run.
        row: a photo that was looked at.
        view: the run's present one.
        margin: see `MARGIN`.
    """
    own = dict(zip(view.vocabulary.names, view.thresholds, strict=True))
    return doubt_of((abs(box.score - own[box.name]) for box in run.stored(row)), margin)


def doubt_of(distances: Iterable[float], margin: float = MARGIN) -> tuple[float, int]:
    """The same by how far scores are from their thresholds."""
    near = [distance for distance in distances if distance < margin]
    total = sum(1 - distance / margin for distance in near)
    return total / (1 + total), len(near)
