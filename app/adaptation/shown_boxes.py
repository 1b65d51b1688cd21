"""The boxes that scores show, and what each spares a labeler, or costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.adaptation.region_table import RegionTable
from app.adaptation.reviewed_photo import POSITIVE_IOU, ReviewedPhoto
from detclipv2.inference.suppression import Suppression, suppress
from detclipv2.labeling.effort import COST, CostModel
from detclipv2.labeling.matching import iou
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


def overlaps_with_truth(
    shown: ShownBoxes, reviewed: Sequence[ReviewedPhoto]
) -> NDArray[np.float32]:
    """(N,) IoU of each box with the reviewed box of its class that it finds; 0 where it finds none.

    Better boxes choose first, as in average precision.
    """
    found = np.zeros(len(shown.scores), np.float32)
    order = np.argsort(shown.photo, kind="stable")
    bounds = np.searchsorted(shown.photo[order], np.arange(len(reviewed) + 1))
    for number, truth in enumerate(reviewed):
        mine = order[bounds[number] : bounds[number + 1]]
        if not len(mine) or not len(truth.boxes):
            continue
        overlap = iou(shown.boxes[mine], truth.boxes)
        overlap *= shown.classes[mine][:, None] == truth.classes[None]
        for i in np.flatnonzero(overlap.max(axis=1) >= POSITIVE_IOU):
            j = int(overlap[i].argmax())
            if overlap[i, j] >= POSITIVE_IOU:
                found[mine[i]] = overlap[i, j]
                overlap[:, j] = 0
    return found


def seconds_spared(overlap: NDArray[Any], cost: CostModel = COST) -> NDArray[np.float64]:
    """(N,) what showing each box spares, given `overlaps_with_truth`; negative where it costs."""
    kept, moved = cost.draw - cost.check, cost.draw - cost.check - cost.mend
    wrong = -(cost.check + cost.delete)
    return np.where(
        overlap >= KEEP_IOU, kept, np.where(overlap >= POSITIVE_IOU, moved, wrong)
    ).astype(np.float64)


def average_precision(scores: NDArray[Any], right: NDArray[np.bool_], positives: int) -> float:
    """COCO's, at 101 recalls: (N,) scores of one class, and whether each box is right."""
    if not positives:
        return float("nan")
    hits = right[np.argsort(-scores, kind="stable")].cumsum()
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / positives, np.linspace(0, 1, 101) - 1e-9)
    return float(np.append(envelope, 0.0)[np.minimum(at, len(hits))].mean())
