"""One decision about one box, and what the decisions of a photo leave standing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args

from app.box import Box, Corners

DecisionKind = Literal["accepted", "rejected", "renamed", "moved", "added"]
KINDS: tuple[DecisionKind, ...] = get_args(DecisionKind)
PhotoState = Literal["new", "in work", "reviewed"]
Place: TypeAlias = tuple[str, Corners]
"""A box's class and corners, by which decisions know it."""


class DecisionError(ValueError):
    """A decision that cannot be taken; the message says why."""


@dataclass(frozen=True)
class Decision:
    """What became of a box.

    Attributes:
        kind: in a word.
        before: the box that was shown, with the model's score then; None when it was added.
        after: the box that is there; None when the one that was shown is wrong.
    """

    kind: DecisionKind
    before: Box | None
    after: Box | None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DecisionError(f"a decision is one of {', '.join(KINDS)}, got {self.kind!r:.40}")
        if (self.before is None) != (self.kind == "added"):
            raise DecisionError(f"a box that is {self.kind} was shown before, or it was added")
        if (self.after is None) != (self.kind == "rejected"):
            raise DecisionError(f"a box that is {self.kind} has to lie somewhere")
        if self.after is not None:
            x1, y1, x2, y2 = self.after.xyxy
            # False for what is no number, too.
            if not (0 <= x1 < x2 < _FARTHEST and 0 <= y1 < y2 < _FARTHEST):
                raise DecisionError(
                    f"a box needs 0 ≤ x1 < x2 and 0 ≤ y1 < y2 in pixels, got {self.after.xyxy}"
                )

    @classmethod
    def accept(cls, box: Box) -> Decision:
        """It is right."""
        return cls("accepted", box, box)

    @classmethod
    def reject(cls, box: Box) -> Decision:
        """No such thing is there."""
        return cls("rejected", box, None)

    @classmethod
    def rename(cls, box: Box, name: str) -> Decision:
        """It is of another class."""
        return cls("renamed", box, replace(box, name=name))

    @classmethod
    def move(cls, box: Box, xyxy: Corners) -> Decision:
        """It lies elsewhere."""
        return cls("moved", box, replace(box, xyxy=xyxy))

    @classmethod
    def add(cls, name: str, xyxy: Corners) -> Decision:
        """The model missed it."""
        return cls("added", None, Box(name, 1.0, xyxy))


_FARTHEST = 1e7


@dataclass(frozen=True)
class PhotoReview:
    """How far the review of a photo is.

    Attributes:
        image: the photo's id in the ledger.
        boxes: those that people confirmed, corrected or drew.
        rejected: boxes that were shown and are wrong.
        of_shown: the decision that stands about a box that was shown, by the box's place.
        classes: names for which the whole photo was reviewed: of these nothing else is there.
    """

    image: int
    boxes: tuple[Box, ...] = ()
    rejected: tuple[Box, ...] = ()
    of_shown: Mapping[Place, Decision] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()

    @property
    def state(self) -> PhotoState:
        """Whether there is anything left to do."""
        if self.classes:
            return "reviewed"
        return "in work" if self.boxes or self.rejected else "new"


def standing(
    decisions: Iterable[Decision],
) -> tuple[tuple[Box, ...], tuple[Box, ...], dict[Place, Decision]]:
    """What a photo's decisions leave; later ones win.

    Boxes that are there, boxes that were rejected, and the decision about the box that was shown at
    a place. A decision about a box that an earlier decision left replaces that one. A box that is
    added where the same one stands is there once: reviews are imported again and again.
    """
    left: dict[object, Decision] = {}
    origin_of: dict[Place, object] = {}
    origin: object
    for number, decision in enumerate(decisions):
        if decision.before is None:
            assert decision.after is not None
            origin = origin_of.pop((decision.after.name, decision.after.xyxy), number)
        else:
            place = decision.before.name, decision.before.xyxy
            origin = origin_of.pop(place, place)
        left[origin] = decision
        if decision.after is not None:
            origin_of[decision.after.name, decision.after.xyxy] = origin
    boxes = tuple(one.after for one in left.values() if one.after is not None)
    rejected = tuple(
        one.before for one in left.values() if one.after is None and one.before is not None
    )
    of_shown = {place: one for place, one in left.items() if isinstance(place, tuple)}
    return boxes, rejected, of_shown


def decisions_from(shown: Sequence[Box], reviewed: Sequence[Box]) -> list[Decision]:
    """The decisions that turn the boxes that were shown into reviewed ones.

    Args:
        shown: of one photo, best first.
        reviewed: all boxes that are there, of the classes that were shown.

    Raises:
        DecisionError: too many boxes to compare.
    """
    import numpy as np

    from app.runs.diff import iou
    from detclipv2.labeling.matching import match

    if len(shown) * len(reviewed) > _MAX_PAIRS:
        raise DecisionError(
            f"{len(shown):,} shown and {len(reviewed):,} reviewed boxes of one photo are too many "
            "to compare"
        )
    overlap = iou(shown, reviewed)
    same = np.array([[a.name == b.name for b in reviewed] for a in shown], bool)
    pairs = dict(match(overlap, same.reshape(overlap.shape)))
    found = []
    for i, box in enumerate(shown):
        if i not in pairs:
            found.append(Decision.reject(box))
            continue
        other = reviewed[pairs[i]]
        if box.name != other.name:
            found.append(Decision("renamed", box, replace(other, score=box.score)))
        elif overlap[i, pairs[i]] >= _SAME_IOU:
            found.append(Decision.accept(box))
        else:
            found.append(Decision.move(box, other.xyxy))
    matched = {*pairs.values()}
    found += [Decision.add(b.name, b.xyxy) for j, b in enumerate(reviewed) if j not in matched]
    return found


_MAX_PAIRS = 25_000_000
_SAME_IOU = 0.95
"""From here on a box counts as left where it was; files and mice round."""
