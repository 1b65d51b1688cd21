"""A photo's boxes as a reviewer sees them: those that were shown, and what was decided of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.box import Box
from app.review.decision import DecisionKind, PhotoReview


@dataclass(frozen=True)
class ReviewBox:
    """One box of a photo under review.

    Attributes:
        box: as it is now; one that is rejected as it was shown.
        state: what was decided.
    """

    box: Box
    state: DecisionKind | Literal["undecided"]


def photo_boxes(shown: Sequence[Box], review: PhotoReview) -> list[ReviewBox]:
    """The boxes that were shown, in their order, then those that people drew or left elsewhere.

    Args:
        shown: of the photo, best first.
        review: its decisions.
    """
    found, taken = [], set()
    for box in shown:
        decision = review.of_shown.get((box.name, box.xyxy))
        if decision is None:
            found.append(ReviewBox(box, "undecided"))
            continue
        now = decision.after
        found.append(ReviewBox(box if now is None else now, decision.kind))
        if now is not None:
            taken.add((now.name, now.xyxy))
    known = {one.after: one.kind for one in review.of_shown.values()}
    return found + [
        ReviewBox(box, known.get(box, "added"))
        for box in review.boxes
        if (box.name, box.xyxy) not in taken
    ]
