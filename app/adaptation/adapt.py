"""From reviewed photos to scores and thresholds, class by class, never worse than the words."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.adaptation.learn import LearnSettings, learn
from app.adaptation.region_table import RegionTable
from app.adaptation.reviewed_photo import ReviewedPhoto, targets
from app.adaptation.shown_boxes import shown_boxes
from app.adaptation.thresholds import GRID, Judged, ThresholdSettings, choose_thresholds
from detclipv2.inference.suppression import Suppression

Basis = Literal["words", "words, own threshold", "reviewed boxes"]


@dataclass(frozen=True)
class AdaptSettings:
    """How classes are learned and thresholds chosen.

    Attributes:
        learn: the scores.
        thresholds: the thresholds.
        rules: of overlapping boxes of one class, under which thresholds are chosen.
        fewest: reviewed boxes of a class below which its words stay.
        pooled: reviewed boxes that the mean gain of all classes counts for, beside a class's own.
    """

    learn: LearnSettings = field(default_factory=LearnSettings)
    thresholds: ThresholdSettings = field(default_factory=ThresholdSettings)
    rules: Suppression = field(default_factory=lambda: Suppression(0.6, 0.3, whole_things=True))
    fewest: int = 2
    pooled: float = 10.0


@dataclass(frozen=True)
class ClassReport:
    """What became of a class.

    Attributes:
        name: of the class.
        basis: of its scores and threshold.
        threshold: lowest score that is shown.
        boxes: reviewed ones.
        shown: boxes above the threshold in cross-validation.
        right: of these, those that are right.
        ap_words: AP50 of the words on the reviewed photos.
        ap: of the learned class, in cross-validation.
        seconds_words: spared on the reviewed photos by the words at their threshold.
        seconds: by what is used now, in cross-validation.
    """

    name: str
    basis: Basis
    threshold: float
    boxes: int
    shown: int
    right: int
    ap_words: float
    ap: float
    seconds_words: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Adapted:
    """Scores and thresholds of K classes.

    Attributes:
        weights: (K, F), see `learn`; zeros where the words stay.
        thresholds: (K,).
        word_thresholds: (K,) the best for the words' own scores.
        reports: one a class.
    """

    weights: NDArray[np.float32]
    thresholds: NDArray[np.float64]
    word_thresholds: NDArray[np.float64]
    reports: tuple[ClassReport, ...]


def adapt(
    table: RegionTable,
    reviewed: Sequence[ReviewedPhoto],
    names: Sequence[str],
    defaults: NDArray[Any],
    settings: AdaptSettings,
    random: np.random.Generator,
) -> Adapted:
    """Learn every class, and keep what cross-validation shows to be better than its words.

    Args:
        table: of the reviewed photos, in their order.
        reviewed: what people left in them.
        names: K classes.
        defaults: (K,) thresholds of the words.
        settings: how.
        random: chooses folds.
    """
    count = len(names)
    learned = learn(table, targets(table, reviewed), settings.learn, random)
    lowest = np.full(count, GRID[0])

    def judge(logits: NDArray[np.float32]) -> Judged:
        return Judged.of(shown_boxes(table, logits, lowest, settings.rules), reviewed)

    with ThreadPoolExecutor(settings.learn.threads) as pool:
        by_words, by_boxes = pool.map(judge, (table.words, learned.held_out))
    own = choose_thresholds(by_words, settings.thresholds, defaults)
    new = choose_thresholds(by_boxes, settings.thresholds, settings.thresholds.start)
    before = by_words.spared_at(defaults)
    # Scores that rank better need not show more, as long as no threshold pays.
    worse = by_boxes.spared_at(new) < before
    new = np.where(worse, GRID[by_boxes.spared().argmax(axis=1)], new)
    with_own, with_boxes = by_words.spared_at(own), by_boxes.spared_at(new)
    weights, thresholds, reports = learned.weights.copy(), np.array(defaults, float), []
    boxes = by_boxes.positives
    better_scores = _shrunk(by_boxes.precisions - by_words.precisions, boxes, settings.pooled)
    better_boxes = _shrunk((with_boxes - before) / np.maximum(boxes, 1), boxes, settings.pooled)
    better_own = _shrunk((with_own - before) / np.maximum(boxes, 1), boxes, settings.pooled)
    for k, name in enumerate(names):
        basis: Basis = "words"
        judged, seconds = by_words, before[k]
        if boxes[k] >= settings.fewest and better_scores[k] > 0 and better_boxes[k] >= 0:
            basis, judged, seconds = "reviewed boxes", by_boxes, with_boxes[k]
            thresholds[k] = new[k]
        elif boxes[k] >= settings.fewest and better_own[k] > 0:
            basis, seconds = "words, own threshold", with_own[k]
            thresholds[k] = own[k]
        if judged is by_words:
            weights[k] = 0
        shown, right = judged.counts_at(k, float(thresholds[k]))
        reports.append(
            ClassReport(
                name,
                basis,
                float(thresholds[k]),
                int(boxes[k]),
                shown,
                right,
                float(by_words.precisions[k]),
                float(by_boxes.precisions[k]),
                float(before[k]),
                float(seconds),
            )
        )
    return Adapted(weights, thresholds, own, tuple(reports))


def _shrunk(
    gains: NDArray[np.float64], boxes: NDArray[np.int64], pooled: float
) -> NDArray[np.float64]:
    """(K,) gains a box, each drawn towards the mean of all boxes."""
    gains = np.nan_to_num(gains)
    mean = (gains * boxes).sum() / max(1, boxes.sum())
    return np.asarray((gains * boxes + mean * pooled) / (boxes + pooled + 1e-9))
