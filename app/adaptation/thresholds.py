"""A threshold a class by the seconds that it spares on reviewed photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.adaptation.reviewed_photo import ReviewedPhoto
from app.adaptation.shown_boxes import Matches, ShownBoxes, average_precision, matches
from detclipv2.labeling.effort import COST

GRID: NDArray[np.float64] = np.append(np.round(np.arange(0.05, 0.96, 0.025), 3), 1.0)
"""Thresholds that are tried; the last one shows nothing."""


@dataclass(frozen=True)
class ThresholdSettings:
    """How far few boxes may move a threshold.

    Chosen on playing cards, fruit and odd ids of coco_dev, see docs/research_log.md.

    Attributes:
        pooled: boxes that the mean of all classes counts for, beside a class's own.
        default: boxes that the default counts for.
        start: default of learned scores.
    """

    pooled: float = 20.0
    default: float = 1.0
    start: float = 0.4


@dataclass(frozen=True, eq=False)
class Judged:
    """Held-out boxes of K classes in P photos against the reviewed ones.

    Attributes:
        shown: N boxes down to the lowest threshold of GRID.
        found: what they find.
        boxes: (P, K) reviewed boxes.
    """

    shown: ShownBoxes
    found: Matches
    boxes: NDArray[np.int64]

    @classmethod
    def of(cls, shown: ShownBoxes, reviewed: Sequence[ReviewedPhoto]) -> Judged:
        """Boxes of classes for which a photo was not reviewed say nothing."""
        whole = np.stack([photo.whole for photo in reviewed])
        shown = shown.choose(whole[shown.photo, shown.classes])
        counts = [np.bincount(photo.classes, minlength=whole.shape[1]) for photo in reviewed]
        return cls(shown, matches(shown, reviewed), np.stack(counts) * whole)

    @cached_property
    def positives(self) -> NDArray[np.int64]:
        """(K,) reviewed boxes."""
        return np.asarray(self.boxes.sum(axis=0))

    @cached_property
    def precisions(self) -> NDArray[np.float64]:
        """(K,) AP50; not a number for classes without reviewed boxes."""
        found = []
        for k, positives in enumerate(self.positives.tolist()):
            mine = self.shown.classes == k
            right = self.found.right[mine]
            found.append(average_precision(self.shown.scores[mine], right, positives))
        return np.array(found)

    def spared(self, groups: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Seconds that each threshold of GRID spares, by group of photos: (P,) → (G, K, len(GRID)).

        None is one group of all.
        """
        photos, count = self.boxes.shape
        if groups is None:
            groups = np.zeros(photos, np.int64)
        total = int(groups.max()) + 1
        last = np.searchsorted(GRID, self.shown.scores.astype(np.float64), side="right") - 1
        cells = (groups[self.shown.photo] * count + self.shown.classes) * len(GRID) + last
        passing, worth = last >= 0, self.found.seconds_spared()
        sums = np.bincount(
            cells[passing], worth[passing], minlength=total * count * len(GRID)
        ).reshape(total, count, len(GRID))
        return np.asarray(sums[..., ::-1].cumsum(axis=-1)[..., ::-1])

    def spared_at(self, thresholds: NDArray[Any]) -> NDArray[np.float64]:
        """(P, K) seconds that thresholds spare: (K,), or each photo's own (P, K)."""
        shape = self.boxes.shape
        least = np.broadcast_to(thresholds, shape)[self.shown.photo, self.shown.classes]
        worth = np.where(self.shown.scores >= least, self.found.seconds_spared(), 0)
        cells = self.shown.photo * shape[1] + self.shown.classes
        sums = np.bincount(cells, worth, minlength=shape[0] * shape[1])
        return sums.astype(np.float64).reshape(shape)

    def counts_at(self, k: int, threshold: float) -> tuple[int, int]:
        """Boxes of a class that a threshold shows, and how many are right."""
        passing = (self.shown.classes == k) & (self.shown.scores >= threshold)
        return int(passing.sum()), int(self.found.right[passing].sum())


def choose_thresholds(
    spared: NDArray[np.float64],
    positives: NDArray[np.int64],
    settings: ThresholdSettings,
    start: float | NDArray[Any],
) -> NDArray[np.float64]:
    """(K,) the best of GRID for each class, shrunk towards that of all classes and the default.

    Args:
        spared: (K, len(GRID)) seconds.
        positives: (K,) reviewed boxes.
        settings: how far.
        start: the default, of each class or of all.
    """
    apart = GRID - np.broadcast_to(start, len(spared))[:, None]
    # As if that many boxes had been seen for which the default is best, and others cost this much.
    prior = -settings.default * COST.draw * 5 * apart**2
    pooled = (spared.sum(axis=0) + prior.mean(axis=0)) / (positives.sum() + settings.default)
    own = spared + settings.pooled * pooled + prior
    return np.asarray(GRID[own.argmax(axis=1)])


def held_out_seconds(
    judged: Judged,
    groups: NDArray[np.int64],
    settings: ThresholdSettings,
    start: float | NDArray[Any],
) -> NDArray[np.float64]:
    """(P,) seconds spared in each photo by thresholds from the other groups, (P,), of photos."""
    spared = judged.spared(groups)
    thresholds = np.zeros(judged.boxes.shape)
    for group in range(len(spared)):
        mine = groups == group
        thresholds[mine] = choose_thresholds(
            spared.sum(axis=0) - spared[group], judged.boxes[~mine].sum(axis=0), settings, start
        )
    return np.asarray(judged.spared_at(thresholds).sum(axis=1))
