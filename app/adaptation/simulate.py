"""Simulated labeling: some photos are reviewed at a time, then the rest is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from app.adaptation.adapt import AdaptSettings, adapt
from app.adaptation.labeled_run import LabeledRun
from app.adaptation.learn import scores
from app.adaptation.region_table import RegionTable
from app.adaptation.reviewed_photo import ReviewedPhoto
from app.adaptation.shown_boxes import average_precision, matches, shown_boxes
from app.review.queue import by_doubt, varied
from app.runs.doubt import MARGIN, doubt_of
from detclipv2.inference.suppression import Suppression
from detclipv2.labeling.effort import Effort
from detclipv2.labeling.verdicts import verdicts

Order = Literal["random", "queue", "variety"]
ORDERS: tuple[Order, ...] = get_args(Order)
STEPS = (0, 5, 10, 20, 30, 50)
_LOWEST = 0.005


@dataclass(frozen=True)
class SimulationSettings:
    """How labeling is simulated.

    Attributes:
        steps: after how many reviewed photos the rest is judged, rising.
        order: "random"; "queue": photos first whose scores are near to the thresholds; "variety":
            the same, and none that are like those just before. The first photos are random.
        at_once: reviewed photos after which classes are learned and the queue is made anew.
        adapt: how classes are learned.
    """

    steps: tuple[int, ...] = STEPS
    order: Order = "random"
    at_once: int = 10
    adapt: AdaptSettings = field(default_factory=AdaptSettings)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What boxes are worth on photos that were not reviewed.

    Attributes:
        ap50: in percent, mean over the classes that occur.
        spared: (P',) minutes of each photo; negative where the boxes cost.
    """

    ap50: float
    spared: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Point:
    """What is left after so many reviewed photos.

    Attributes:
        reviewed: photos.
        left: (P',) which photos are not.
        by_hand: (P',) minutes that each takes without boxes.
        words: the words' boxes at their default thresholds.
        thresholds: the words' boxes at thresholds from the reviewed photos.
        learned: boxes of learned classes at theirs.
        saved_in_all: percent of the minutes by hand that the whole set takes less, if reviewed
            photos had the boxes of their time, and the others keep those that they have now.
    """

    reviewed: int
    left: NDArray[np.int64]
    by_hand: NDArray[np.float64]
    words: Judgement
    thresholds: Judgement
    learned: Judgement
    saved_in_all: float


def simulate(run: LabeledRun, settings: SimulationSettings, seed: int) -> list[Point]:
    """The curve of one order of the photos."""
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(run.truth))
    adapting = replace(settings.adapt, rules=run.rules)
    by_hand = np.array([len(photo.boxes) * Effort().cost.draw / 60 for photo in run.truth])
    every = np.arange(len(run.truth))
    by_words = run.table.words
    logits, thresholds, own = by_words, run.thresholds, run.thresholds
    done: list[int] = []
    spared_so_far = 0.0
    points = []
    last = min(settings.steps[-1], len(run.truth) - 1)
    rounds = {*settings.steps}
    if settings.order != "random":
        rounds |= {*range(settings.at_once, last, settings.at_once)}
    for step in sorted(one for one in rounds if one <= last):
        next_photos = _next(run, logits, thresholds, done, shuffled, settings.order)
        seen = next_photos[: step - len(done)]
        spared_so_far += float(_spared(run, logits, thresholds, seen).sum())
        done += seen.tolist()
        if done:
            now = np.array(sorted(done))
            learned = adapt(
                run.table.take(now),
                [run.truth[i] for i in now],
                run.names,
                run.thresholds,
                adapting,
                random,
            )
            logits, thresholds = scores(run.table, learned.weights), learned.thresholds
            own = learned.word_thresholds
        if step in settings.steps:
            left = np.setdiff1d(every, done)
            judged = _judge(run, logits, thresholds, left)
            points.append(
                Point(
                    step,
                    left,
                    by_hand[left],
                    _judge(run, by_words, run.thresholds, left),
                    _judge(run, by_words, own, left),
                    judged,
                    100 * (spared_so_far + float(judged.spared.sum())) / by_hand.sum(),
                )
            )
    return points


def _next(
    run: LabeledRun,
    logits: NDArray[np.float32],
    thresholds: NDArray[Any],
    done: Sequence[int],
    shuffled: NDArray[np.int64],
    order: Order,
) -> NDArray[np.int64]:
    """Photos that are left, in the order in which they would be reviewed now."""
    left = shuffled[~np.isin(shuffled, done)]
    if order == "random" or not done:
        return left
    rules = Suppression(run.rules.nms_iou, run.rules.soft)
    shown = shown_boxes(run.table, logits, np.maximum(thresholds - MARGIN, 0.01), rules)
    distance = np.abs(shown.scores - thresholds[shown.classes])
    urgency = np.array([doubt_of(distance[shown.photo == i].tolist())[0] for i in left])
    return left[by_doubt(urgency) if order == "queue" else varied(urgency, run.photos[left])]


def _judge(
    run: LabeledRun, logits: NDArray[np.float32], thresholds: NDArray[Any], photos: NDArray[Any]
) -> Judgement:
    table, truth = _part(run, logits, photos)
    return Judgement(_ap(table, truth, run), _spared(run, logits, thresholds, photos))


def _part(
    run: LabeledRun, logits: NDArray[np.float32], photos: NDArray[Any]
) -> tuple[RegionTable, list[ReviewedPhoto]]:
    """Some photos, with these logits in the words' place."""
    scored = replace(run.table, words=logits).take(photos)
    return scored, [run.truth[i] for i in photos.tolist()]


def _ap(table: RegionTable, truth: Sequence[ReviewedPhoto], run: LabeledRun) -> float:
    count = len(run.names)
    rules = Suppression(run.rules.nms_iou, run.rules.soft)
    shown = shown_boxes(table, table.words, np.full(count, _LOWEST), rules)
    right = matches(shown, truth).right
    positives = np.bincount(np.concatenate([t.classes for t in truth]), minlength=count)
    found = []
    for k in np.flatnonzero(positives).tolist():
        mine = shown.classes == k
        found.append(average_precision(shown.scores[mine], right[mine], int(positives[k])))
    return 100 * float(np.mean(found)) if found else float("nan")


def _spared(
    run: LabeledRun, logits: NDArray[np.float32], thresholds: NDArray[Any], photos: NDArray[Any]
) -> NDArray[np.float64]:
    """(P',) minutes."""
    table, truth = _part(run, logits, photos)
    shown = shown_boxes(table, table.words, thresholds, run.rules)
    found = np.zeros(len(truth))
    for number, photo in enumerate(truth):
        mine = shown.photo == number
        changes, missed = verdicts(
            shown.boxes[mine], shown.classes[mine], photo.boxes, photo.classes
        )
        found[number] = (Effort.of(changes) + Effort(added=missed)).minutes_saved
    return found
