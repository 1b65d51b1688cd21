"""Simulated labeling: some photos are reviewed at a time, then the rest is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.adaptation.adapt import AdaptSettings, adapt
from app.adaptation.learn import scores
from app.adaptation.region_table import RegionTable
from app.adaptation.reviewed_photo import POSITIVE_IOU, ReviewedPhoto
from app.adaptation.shown_boxes import average_precision, overlaps_with_truth, shown_boxes
from detclipv2.inference.suppression import Suppression
from detclipv2.labeling.effort import Effort
from detclipv2.labeling.verdicts import verdicts

Order = Literal["random", "queue"]
STEPS = (0, 5, 10, 20, 30, 50)
_LOWEST = 0.005


@dataclass(frozen=True)
class SimulationSettings:
    """How labeling is simulated.

    Attributes:
        steps: after how many reviewed photos the rest is judged, rising.
        order: "random", or "queue": photos first whose scores are nearest to the thresholds.
        default: threshold of the words.
        plain: suppression under which AP50 is taken.
        shown: suppression of what labelers see.
        adapt: how classes are learned.
    """

    steps: tuple[int, ...] = STEPS
    order: Order = "random"
    default: float = 0.7
    plain: Suppression = field(default_factory=lambda: Suppression(0.6, 0.3))
    shown: Suppression = field(default_factory=lambda: Suppression(0.6, 0.3, True, True))
    adapt: AdaptSettings = field(default_factory=AdaptSettings)


@dataclass(frozen=True)
class Point:
    """What is left after so many reviewed photos: AP50 in percent, share of minutes saved.

    Attributes:
        reviewed: photos.
        ap_words: of the words.
        ap: of the learned classes.
        saved_words: by the words at the default threshold.
        saved_thresholds: by the words at thresholds from the reviewed photos.
        saved: by learned classes at theirs.
    """

    reviewed: int
    ap_words: float
    ap: float
    saved_words: float
    saved_thresholds: float
    saved: float


def simulate(
    table: RegionTable,
    truth: Sequence[ReviewedPhoto],
    names: Sequence[str],
    settings: SimulationSettings,
    seed: int,
) -> list[Point]:
    """The curve of one order of the photos."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(truth)).tolist()
    defaults = np.full(len(names), settings.default)
    logits = table.words
    thresholds: NDArray[np.float64] = defaults
    done: list[int] = []
    points = []
    for step in settings.steps:
        if step >= len(truth):
            break
        left = [i for i in order if i not in set(done)]
        if settings.order == "queue" and done:
            near = _nearness(table, logits, thresholds)
            left.sort(key=lambda i: near[i])
        done += left[: step - len(done)]
        rest = np.array(sorted({*range(len(truth))} - {*done}))
        rest_table, rest_truth = table.take(rest), [truth[i] for i in rest]
        by_words = _ap(rest_table, rest_table.words, rest_truth, settings)
        saved_words = _saved(rest_table, rest_table.words, defaults, rest_truth, settings)
        if not step:
            points.append(Point(0, by_words, by_words, saved_words, saved_words, saved_words))
            continue
        seen = np.array(sorted(done))
        learned = adapt(
            table.take(seen), [truth[i] for i in seen], names, defaults, settings.adapt, random
        )
        logits, thresholds = (scores(table, learned.weights), learned.thresholds)
        rest_logits = scores(rest_table, learned.weights)
        points.append(
            Point(
                step,
                by_words,
                _ap(rest_table, rest_logits, rest_truth, settings),
                saved_words,
                _saved(rest_table, rest_table.words, learned.word_thresholds, rest_truth, settings),
                _saved(rest_table, rest_logits, thresholds, rest_truth, settings),
            )
        )
    return points


def _nearness(
    table: RegionTable, logits: NDArray[np.float32], thresholds: NDArray[Any]
) -> NDArray[np.float64]:
    """(P,) how far the score nearest to its threshold is."""
    distance = np.abs(1 / (1 + np.exp(-logits)) - thresholds).min(axis=1)
    starts = np.searchsorted(table.photo, np.arange(table.photos))
    return np.asarray(np.minimum.reduceat(distance, starts), np.float64)


def _ap(
    table: RegionTable,
    logits: NDArray[np.float32],
    truth: Sequence[ReviewedPhoto],
    settings: SimulationSettings,
) -> float:
    """AP50 in percent, mean over the classes that occur."""
    count = logits.shape[1]
    shown = shown_boxes(table, logits, np.full(count, _LOWEST), settings.plain)
    right = overlaps_with_truth(shown, truth) >= POSITIVE_IOU
    positives = np.bincount(np.concatenate([t.classes for t in truth]), minlength=count)
    found = [
        average_precision(shown.scores[mine], right[mine], int(positives[k]))
        for k in np.flatnonzero(positives)
        if (mine := shown.classes == k) is not None
    ]
    return 100 * float(np.mean(found)) if found else float("nan")


def _saved(
    table: RegionTable,
    logits: NDArray[np.float32],
    thresholds: NDArray[Any],
    truth: Sequence[ReviewedPhoto],
    settings: SimulationSettings,
) -> float:
    """Percent of the minutes by hand."""
    shown = shown_boxes(table, logits, thresholds, settings.shown)
    total = Effort()
    for number, photo in enumerate(truth):
        mine = shown.photo == number
        found, missed = verdicts(shown.boxes[mine], shown.classes[mine], photo.boxes, photo.classes)
        total += Effort.of(found) + Effort(added=missed)
    return 100 * total.minutes_saved / max(total.minutes_without, 1e-9)
