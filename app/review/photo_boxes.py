"""A photo's boxes as a reviewer sees them: those that were shown, and what was decided of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.box import Box
from app.review.decision import DecisionKind, PhotoReview, Place


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

    A box that got the class of another one at the same place is that one, and what is decided of
    either is of both.

    Args:
        shown: of the photo, best first.
        review: its decisions.
    """
    found: list[ReviewBox] = []
    taken: set[Place] = set()
    there, gone = ({(b.name, b.xyxy) for b in some} for some in (review.boxes, review.rejected))
    for box in shown:
        decision = review.of_shown.get((box.name, box.xyxy))
        if decision is None:
            place = box.name, box.xyxy
            same: DecisionKind | None = None
            if place in there or place in gone:
                same = "accepted" if place in there else "rejected"
            found.append(ReviewBox(box, same or "undecided"))
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
