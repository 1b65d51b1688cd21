"""From reviewed photos to scores and thresholds of all classes, never worse than the words.

Boxes of different classes compete for a place, so that scores of all classes have to be of one
kind: either all classes with reviewed boxes are learned, or none.
"""

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
from app.adaptation.thresholds import (
    GRID,
    Judged,
    ThresholdSettings,
    choose_thresholds,
    held_out_seconds,
)
from detclipv2.inference.suppression import Suppression

Basis = Literal["words", "words, own threshold", "reviewed boxes"]


@dataclass(frozen=True)
class AdaptSettings:
    """How classes are learned and thresholds chosen.

    Attributes:
        learn: the scores.
        thresholds: the thresholds.
        rules: of overlapping boxes, under which thresholds are chosen.
        caution: standard deviations that a gain has to be larger than.
    """

    learn: LearnSettings = field(default_factory=LearnSettings)
    thresholds: ThresholdSettings = field(default_factory=ThresholdSettings)
    rules: Suppression = field(default_factory=lambda: Suppression(0.6, 0.3, True, True))
    caution: float = 0.5


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
    """Learn all classes, and keep what cross-validation shows to be better than the words.

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
    taught = learned.weights.any(axis=1)
    start = np.where(taught, settings.thresholds.start, defaults)
    groups = random.permutation(len(reviewed)) % settings.learn.folds
    before = by_words.spared_at(defaults)
    basis: Basis = "words"
    judged, thresholds, best = by_words, np.array(defaults, float), 0.0
    choices: tuple[tuple[Basis, Judged, NDArray[Any]], ...] = (
        ("words, own threshold", by_words, defaults),
        ("reviewed boxes", by_boxes, start),
    )
    for kind, candidate, default in choices:
        gain = held_out_seconds(candidate, groups, settings.thresholds, default)
        gain -= before.sum(axis=1)
        sure = gain.sum() - settings.caution * np.sqrt((gain**2).sum())
        if sure > best:
            basis, judged, best = kind, candidate, float(sure)
            thresholds = _thresholds(candidate, settings, default)
    if basis == "words" and before.sum() <= 0 and _mean(by_boxes) > _mean(by_words):
        # The words spare nothing: scores that rank better may take their place, and show as little.
        basis, judged = "reviewed boxes", by_boxes
        thresholds = np.where(taught, GRID[-1], defaults)
    own = _thresholds(by_words, settings, defaults)
    weights = learned.weights * (basis == "reviewed boxes")
    reviewed_for = np.stack([photo.whole for photo in reviewed]).any(axis=0)
    thresholds = np.where(reviewed_for | taught, thresholds, defaults)
    seconds, seconds_words = judged.spared_at(thresholds).sum(axis=0), before.sum(axis=0)
    reports = []
    for k, name in enumerate(names):
        of_class: Basis = basis
        if not weights[k].any():
            of_class = "words" if thresholds[k] == defaults[k] else "words, own threshold"
        shown, right = judged.counts_at(k, float(thresholds[k]))
        reports.append(
            ClassReport(
                name,
                of_class,
                float(thresholds[k]),
                int(judged.positives[k]),
                shown,
                right,
                float(by_words.precisions[k]),
                float(by_boxes.precisions[k]),
                float(seconds_words[k]),
                float(seconds[k]),
            )
        )
    return Adapted(weights, thresholds, own, tuple(reports))


def _thresholds(
    judged: Judged, settings: AdaptSettings, start: NDArray[Any]
) -> NDArray[np.float64]:
    spared = judged.spared()[0]
    return choose_thresholds(spared, judged.positives, settings.thresholds, start)


def _mean(judged: Judged) -> float:
    """AP50, mean over the classes that occur."""
    known = judged.positives > 0
    return float(judged.precisions[known].mean()) if known.any() else 0.0
