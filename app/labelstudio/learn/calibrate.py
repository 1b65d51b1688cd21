"""Thresholds from what labelers accepted: precision and recall per class, with intervals.

Only boxes that were shown can be judged: below the threshold of the push nothing is known, so no
lower threshold is ever proposed. Recall counts the boxes that labelers added as missed at every
threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from app.labelstudio.learn.pull import ReviewedTask
from detclipv2.labeling.wilson import wilson
from detclipv2.language.vocabulary import Vocabulary

FEWEST = 20
"""With fewer judged boxes a class is "too few to say"."""


@dataclass(frozen=True)
class Judged:
    """A shown box: its score and whether a labeler left it with this class."""

    score: float
    right: bool


@dataclass(frozen=True)
class Point:
    """What a threshold gives: precision and recall with 95 % Wilson intervals (low, high)."""

    threshold: float
    shown: int
    right: int
    precision: float
    precision_interval: tuple[float, float]
    recall: float
    recall_interval: tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One class: its judged boxes by falling score, how many it missed, its points.

    Attributes:
        name: the label.
        judged: shown boxes.
        missed: boxes that labelers added or renamed to this class.
        points: one for each distinct score, by rising threshold.
    """

    name: str
    judged: tuple[Judged, ...]
    missed: int
    points: tuple[Point, ...]

    @property
    def enough(self) -> bool:
        """Whether there is enough to say anything."""
        return len(self.judged) >= FEWEST


@dataclass(frozen=True)
class Proposal:
    """A threshold for a class, or why there is none."""

    name: str
    threshold: float | None
    reason: str
    point: Point | None = None


def curves(tasks: Iterable[ReviewedTask]) -> dict[str, Curve]:
    """One curve a label over all reviewed tasks.

    A box is right when it was kept or moved under its own label. A renamed box is wrong for the
    label it had and missed for the one it got.
    """
    judged: dict[str, list[Judged]] = {}
    missed: dict[str, int] = {}
    for task in tasks:
        for box in task.boxes:
            if box.predicted is not None:
                right = box.verdict in ("kept", "moved")
                judged.setdefault(box.predicted.name, []).append(Judged(box.predicted.score, right))
            if box.labelled is not None and box.verdict in ("added", "renamed"):
                missed[box.labelled.name] = missed.get(box.labelled.name, 0) + 1
    names = sorted({*judged, *missed})
    return {name: curve(name, judged.get(name, []), missed.get(name, 0)) for name in names}


def curve(name: str, judged: Sequence[Judged], missed: int) -> Curve:
    """Precision and recall at each score that occurs."""
    ordered = sorted(judged, key=lambda one: -one.score)
    total = sum(one.right for one in ordered) + missed
    points = []
    right = 0
    for index, one in enumerate(ordered, 1):
        right += one.right
        if index == len(ordered) or ordered[index].score < one.score:
            found = total and right / total
            precision, recall = wilson(right, index), wilson(right, total)
            points.append(Point(one.score, index, right, right / index, precision, found, recall))
    return Curve(name, tuple(ordered), missed, tuple(reversed(points)))


def propose(found: Curve, precision: float = 0.8) -> Proposal:
    """The lowest threshold whose precision is at least `precision` with 97.5 % confidence.

    The lower end of the interval has to reach it, so that a lucky handful of boxes does not count.
    """
    if not 0 < precision < 1:
        raise ValueError(f"the wanted precision must lie between 0 and 1, got {precision}")
    if not found.enough:
        return Proposal(
            found.name,
            None,
            f"too few to say: {len(found.judged)} judged boxes, at least {FEWEST} are needed",
        )
    for point in found.points:
        if point.shown >= FEWEST // 2 and point.precision_interval[0] >= precision:
            reason = f"precision {point.precision:.2f} on {point.shown} boxes"
            # down, not to the nearest: the box at the threshold itself must still pass
            return Proposal(found.name, math.floor(point.threshold * 1000) / 1000, reason, point)
    best = max(found.points, key=lambda point: point.precision_interval[0])
    return Proposal(
        found.name,
        None,
        f"no threshold reaches {precision:.2f} for sure; the best is {best.precision:.2f} "
        f"(at least {best.precision_interval[0]:.2f}) at {best.threshold:.2f}",
    )


def with_thresholds(
    vocabulary: Vocabulary, proposals: Iterable[Proposal], labels: dict[str, str] | None = None
) -> Vocabulary:
    """The vocabulary with proposed thresholds in place; classes without a proposal keep theirs.

    Args:
        vocabulary: the classes.
        proposals: by label.
        labels: class name → label, when they differ.
    """
    own = {p.name: p.threshold for p in proposals if p.threshold is not None}
    names = labels or {}
    return Vocabulary(
        tuple(
            concept
            if concept.negative or names.get(concept.name, concept.name) not in own
            else replace(concept, threshold=own[names.get(concept.name, concept.name)])
            for concept in vocabulary.classes
        )
    )
