"""A threshold a class by the minutes that it spares on reviewed photos, and whether to use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.adaptation.reviewed_photo import POSITIVE_IOU, ReviewedPhoto
from app.adaptation.shown_boxes import (
    ShownBoxes,
    average_precision,
    overlaps_with_truth,
    seconds_spared,
)
from detclipv2.labeling.effort import COST

GRID: NDArray[np.float64] = np.append(np.round(np.arange(0.05, 0.96, 0.025), 3), 1.0)
"""Thresholds that are tried; the last one shows nothing."""


@dataclass(frozen=True)
class ThresholdSettings:
    """How far few boxes may move a threshold.

    Chosen on playing cards and fruit by `app.adaptation.simulate`.

    Attributes:
        pooled: boxes that the mean of all classes counts for, beside a class's own.
        default: boxes that the default counts for.
        start: default of learned scores, which are shares of right regions.
    """

    pooled: float = 5.0
    default: float = 2.0
    start: float = 0.4


@dataclass(frozen=True, eq=False)
class Judged:
    """Held-out boxes of K classes against the reviewed ones.

    Attributes:
        shown: N boxes down to the lowest threshold of GRID.
        overlap: (N,) see `overlaps_with_truth`.
        positives: (K,) reviewed boxes.
    """

    shown: ShownBoxes
    overlap: NDArray[np.float32]
    positives: NDArray[np.int64]

    @classmethod
    def of(cls, shown: ShownBoxes, reviewed: Sequence[ReviewedPhoto]) -> Judged:
        """Boxes of classes for which a photo was not reviewed say nothing."""
        whole = np.stack([photo.whole for photo in reviewed])
        shown = shown.choose(whole[shown.photo, shown.classes])
        positives = np.zeros(whole.shape[1], np.int64)
        for photo in reviewed:
            positives += np.bincount(photo.classes, minlength=len(positives)) * photo.whole
        return cls(shown, overlaps_with_truth(shown, reviewed), positives)

    def of_class(self, k: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores and overlaps of one class."""
        mine = self.shown.classes == k
        return self.shown.scores[mine], self.overlap[mine]

    @cached_property
    def precisions(self) -> NDArray[np.float64]:
        """(K,) AP50; not a number for classes without reviewed boxes."""
        found = []
        for k, positives in enumerate(self.positives.tolist()):
            score, overlap = self.of_class(k)
            found.append(average_precision(score, overlap >= POSITIVE_IOU, positives))
        return np.array(found)

    def spared(self, thresholds: NDArray[Any] = GRID) -> NDArray[np.float64]:
        """(K, len(thresholds)) seconds that each threshold spares."""
        worth = seconds_spared(self.overlap)
        found = np.zeros((len(self.positives), len(thresholds)))
        for k in np.unique(self.shown.classes):
            mine = self.shown.classes == k
            order = np.argsort(-self.shown.scores[mine], kind="stable")
            sums = np.append(0.0, worth[mine][order].cumsum())
            falling = -self.shown.scores[mine][order]
            found[k] = sums[np.searchsorted(falling, -thresholds, side="right")]
        return found

    def spared_at(self, thresholds: NDArray[Any]) -> NDArray[np.float64]:
        """(K,) seconds that the class's own threshold spares: (K,)."""
        worth = seconds_spared(self.overlap)
        worth[self.shown.scores < np.asarray(thresholds)[self.shown.classes]] = 0
        found = np.bincount(self.shown.classes, worth, minlength=len(self.positives))
        return found.astype(np.float64)

    def counts_at(self, k: int, threshold: float) -> tuple[int, int]:
        """Boxes of a class that a threshold shows, and how many are right."""
        score, overlap = self.of_class(k)
        passing = score >= threshold
        return int(passing.sum()), int((overlap[passing] >= POSITIVE_IOU).sum())


def choose_thresholds(
    judged: Judged, settings: ThresholdSettings, start: float | NDArray[Any]
) -> NDArray[np.float64]:
    """(K,) the best of GRID for each class, shrunk towards that of all classes and the default.

    Args:
        judged: held-out boxes.
        settings: how far.
        start: the default, of each class or of all.
    """
    spared = judged.spared()
    total = int(judged.positives.sum())
    apart = GRID - np.broadcast_to(start, len(spared))[:, None]
    # As if that many boxes had been seen for which the default is best, and others cost this much.
    prior = -settings.default * COST.draw * 5 * apart**2
    pooled = (spared.sum(axis=0) + prior.mean(axis=0)) / (total + settings.default)
    own = spared + settings.pooled * pooled + prior
    return np.asarray(GRID[own.argmax(axis=1)])
