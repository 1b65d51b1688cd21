"""The boxes that scores show, and what each spares a labeler, or costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.adaptation.region_table import RegionTable
from app.adaptation.reviewed_photo import ReviewedPhoto
from detclipv2.inference.suppression import Suppression, suppress
from detclipv2.labeling.effort import COST, CostModel
from detclipv2.labeling.matching import MATCH_IOU, iou
from detclipv2.labeling.verdicts import KEEP_IOU

MOST = 400
"""Boxes of a photo that reach the suppression, the best ones."""


@dataclass(frozen=True, eq=False)
class ShownBoxes:
    """N boxes of several photos, by falling score.

    Attributes:
        photo: (N,) which photo, as in the table.
        boxes: (N, 4) xyxy in pixels of the upright original.
        scores: (N,) in 0..1.
        classes: (N,).
    """

    photo: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def choose(self, which: NDArray[Any]) -> ShownBoxes:
        """Some of them."""
        return ShownBoxes(
            self.photo[which], self.boxes[which], self.scores[which], self.classes[which]
        )


def shown_boxes(
    table: RegionTable, logits: NDArray[np.float32], thresholds: NDArray[Any], rules: Suppression
) -> ShownBoxes:
    """Boxes above their class's threshold after suppression.

    Args:
        table: N regions.
        logits: (N, K) of scores.
        thresholds: (K,) in 0..1.
        rules: of overlapping boxes.
    """
    least = np.log(np.clip(thresholds, 1e-6, 1 - 1e-6))
    least = least - np.log1p(-np.clip(thresholds, 1e-6, 1 - 1e-6))
    row, of_class = np.nonzero(logits >= least.astype(np.float32))
    score = 1 / (1 + np.exp(-logits[row, of_class].astype(np.float64)))
    order = np.lexsort((-score, table.photo[row]))
    photo = table.photo[row[order]]
    rank = np.arange(len(order)) - np.searchsorted(photo, photo)
    order = order[rank < MOST]
    order = order[np.argsort(-score[order], kind="stable")]
    row, of_class, score = row[order], of_class[order], score[order].astype(np.float32)
    kept, softened = suppress(
        torch.from_numpy(table.boxes[row]),
        torch.from_numpy(score),
        torch.from_numpy(of_class),
        torch.from_numpy(np.asarray(thresholds, np.float32)[of_class]),
        rules,
        torch.from_numpy(table.photo[row]),
    )
    chosen = row[kept.numpy()]
    return ShownBoxes(
        table.photo[chosen], table.boxes[chosen], softened.numpy(), of_class[kept.numpy()]
    )


@dataclass(frozen=True, eq=False)
class Matches:
    """What N shown boxes find.

    Attributes:
        overlap: (N,) IoU with the reviewed box of its class that each finds; 0 where it finds none.
        misnamed: (N,) whether it finds one of another class, which no box of that class finds.
    """

    overlap: NDArray[np.float32]
    misnamed: NDArray[np.bool_]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether each finds a box of its class."""
        return self.overlap >= MATCH_IOU

    def seconds_spared(self, cost: CostModel = COST) -> NDArray[np.float64]:
        """(N,) what showing each box spares; negative where it costs."""
        kept, mended = cost.draw - cost.check, cost.draw - cost.check - cost.mend
        found = np.full(len(self.overlap), -(cost.check + cost.delete))
        found[self.misnamed | self.right] = mended
        found[self.overlap >= KEEP_IOU] = kept
        return found


def matches(shown: ShownBoxes, reviewed: Sequence[ReviewedPhoto]) -> Matches:
    """Match shown boxes with reviewed ones; better boxes choose first, as in average precision.

    After all have chosen among boxes of their class, the others take what is left.
    """
    overlap = np.zeros(len(shown.scores), np.float32)
    misnamed = np.zeros(len(shown.scores), bool)
    order = np.argsort(shown.photo, kind="stable")
    bounds = np.searchsorted(shown.photo[order], np.arange(len(reviewed) + 1))
    for number, truth in enumerate(reviewed):
        mine = order[bounds[number] : bounds[number + 1]]
        if not len(mine) or not len(truth.boxes):
            continue
        every = iou(shown.boxes[mine], truth.boxes)
        same = shown.classes[mine][:, None] == truth.classes[None]
        for i, j in _greedy(every * same):
            overlap[mine[i]] = every[i, j]
            every[:, j] = 0
        every[overlap[mine] > 0] = 0
        misnamed[mine[[i for i, _ in _greedy(every)]]] = True
    return Matches(overlap, misnamed)


def _greedy(overlap: NDArray[Any]) -> list[tuple[int, int]]:
    """Pairs of rows and columns: row by row the best column that is left, if it is a match."""
    found = []
    for i in np.flatnonzero(overlap.max(axis=1) >= MATCH_IOU).tolist():
        j = int(overlap[i].argmax())
        if overlap[i, j] >= MATCH_IOU:
            found.append((i, j))
            overlap[:, j] = 0
    return found


def average_precision(scores: NDArray[Any], right: NDArray[np.bool_], positives: int) -> float:
    """COCO's, at 101 recalls: (N,) scores of one class, and whether each box is right."""
    if not positives:
        return float("nan")
    hits = right[np.argsort(-scores, kind="stable")].cumsum()
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / positives, np.linspace(0, 1, 101) - 1e-9)
    return float(np.append(envelope, 0.0)[np.minimum(at, len(hits))].mean())
