"""What changed between two runs over the same images: boxes gained, lost, renamed, rescored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.box import Box
from app.runs.store import Run
from detclipv2.labeling import matching
from detclipv2.labeling.matching import MATCH_IOU


@dataclass(frozen=True)
class Difference:
    """One image seen by two runs; the pairs are (before, after)."""

    file_name: str
    gained: tuple[Box, ...]
    lost: tuple[Box, ...]
    renamed: tuple[tuple[Box, Box], ...]
    kept: tuple[tuple[Box, Box], ...]

    @property
    def changes(self) -> int:
        """Boxes that are not what they were."""
        return len(self.gained) + len(self.lost) + len(self.renamed)


def iou(a: Sequence[Box], b: Sequence[Box]) -> np.ndarray[Any, Any]:
    """(N, M) overlaps of N and M boxes, xyxy."""
    return matching.iou(*(np.array([box.xyxy for box in boxes], float) for boxes in (a, b)))


def match(a: Sequence[Box], b: Sequence[Box], least: float = MATCH_IOU) -> list[tuple[int, int]]:
    """Pairs of indices, each box in at most one; same name first, then the highest overlap."""
    same_name = np.array([[x.name == y.name for y in b] for x in a], bool)
    return matching.match(iou(a, b), same_name.reshape(len(a), len(b)), least)


def compare_boxes(file_name: str, before: Sequence[Box], after: Sequence[Box]) -> Difference:
    """The difference on one image."""
    pairs = match(before, after)
    matched_before = {i for i, _ in pairs}
    matched_after = {j for _, j in pairs}
    both = [(before[i], after[j]) for i, j in pairs]
    return Difference(
        file_name,
        tuple(box for j, box in enumerate(after) if j not in matched_after),
        tuple(box for i, box in enumerate(before) if i not in matched_before),
        tuple((x, y) for x, y in both if x.name != y.name),
        tuple((x, y) for x, y in both if x.name == y.name),
    )


def compare_runs(before: Run, after: Run) -> Iterator[Difference]:
    """Every image that both looked at; images are the same when their content is, or their name."""
    by_content = {row.sha256: row for row in before.images("done", "empty")}
    by_name = {row.file_name: row for row in by_content.values()}
    for row in after.images("done", "empty"):
        other = by_content.get(row.sha256) or by_name.get(row.file_name)
        if other is not None:
            yield compare_boxes(row.file_name, before.boxes(other), after.boxes(row))
