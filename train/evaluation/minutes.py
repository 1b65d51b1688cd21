"""What a detector's pre-labels would save people who draw boxes, at its defaults.

Each photo is asked for all classes of its set, most of which are absent, as labelers' lists are. A
simulated labeler keeps, moves, renames, deletes and adds boxes until the photo is as the truth has
it, at the seconds of `labeling.effort.CostModel`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from detclipv2.datasets.labeled_set import LabeledSet, prompts_of
from detclipv2.detectors.protocol import Detector
from detclipv2.labeling.effort import COST, CostModel, Effort
from detclipv2.labeling.verdicts import KEEP_IOU, verdicts
from detclipv2.serving import DetectSettings

LENGTHS = (1, 3, 10, 30)
"""Classes of the shorter lists that are drawn from a set's."""
_LISTS = 10
_RESAMPLES = 2000


@dataclass(frozen=True)
class ClassCounts:
    """Boxes of a photo by class, each (K,) counts.

    Attributes:
        shown: predicted ones.
        right: those of them that stay under their class, moved or not.
        there: in the truth.
    """

    shown: NDArray[np.int64]
    right: NDArray[np.int64]
    there: NDArray[np.int64]


class Review(NamedTuple):
    """One photo's boxes as a labeler leaves them."""

    effort: Effort
    counts: ClassCounts


def review(
    boxes: NDArray[Any],
    classes: NDArray[np.int64],
    truth: NDArray[Any],
    truth_classes: NDArray[np.int64],
    count: int,
    cost: CostModel = COST,
) -> Review:
    """One photo's boxes, as `labeling.verdicts.verdicts` takes them, of `count` classes."""
    found, added = verdicts(boxes, classes, truth, truth_classes)
    stay = np.array([one in ("kept", "moved") for one in found], bool)
    counts = ClassCounts(
        np.bincount(classes, minlength=count),
        np.bincount(classes[stay], minlength=count),
        np.bincount(truth_classes, minlength=count),
    )
    effort = Effort.of(found, cost) + Effort(added=added, cost=cost)
    return Review(effort, counts)


def minutes(
    detector: Detector[Any],
    sets: Sequence[LabeledSet],
    *settings: DetectSettings,
    lists: int = _LISTS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """What the pre-labels of each set save under each of the settings, with intervals over photos.

    Args:
        detector: the detector.
        sets: exhaustively labelled.
        settings: how it is asked, all with one way of looking; `detector.list_defaults` are what
            people get.
        lists: shorter lists of classes that are drawn for each length of `LENGTHS`.
        seed: of lists and intervals.

    Returns:
        JSON values for each of the settings: the cost model, and by set what `summary` gives, also
        by class and by length of the list.
    """
    of_sets = {one.name: _of_set(detector, one, settings, lists, seed) for one in sets}
    found = []
    for number in range(len(settings)):
        own = {name: figures[number] for name, figures in of_sets.items()}
        mean = float(np.mean([one["saved"] for one in own.values()]))
        figures = {"cost": str(COST), "keep_iou": KEEP_IOU, "sets": own, "mean": mean}
        found.append({"minutes": figures})
    return found


def _of_set(
    detector: Detector[Any],
    one: LabeledSet,
    settings: Sequence[DetectSettings],
    lists: int,
    seed: int,
) -> list[dict[str, Any]]:
    truth = one.read()
    names = prompts_of(truth)
    random = np.random.default_rng(seed)
    lengths = [length for length in LENGTHS if length < len(names)]
    questions: list[NDArray[np.int64]] = [np.arange(len(names))]
    for length in lengths:
        drawn = (random.choice(len(names), length, replace=False) for _ in range(lists))
        questions += [np.sort(indices) for indices in drawn]
    reviews: list[list[list[Review]]] = [[[] for _ in questions] for _ in settings]
    for path, boxes, classes in tqdm(list(one.photos(truth)), one.name, mininterval=5):
        encoded = detector.encode_image(path, *settings[0].encoding)
        for number, asked in enumerate(questions):
            table = detector.score_table(encoded, [names[index] for index in asked])
            there = np.isin(classes, asked)
            for chosen, found in zip(settings, reviews, strict=True):
                shown = table.select(chosen)
                assert shown.class_id is not None
                shown_classes = asked[shown.class_id.astype(int)]
                found[number].append(
                    review(shown.xyxy, shown_classes, boxes[there], classes[there], len(names))
                )
    return [_figures(found, names, lengths, lists, seed) for found in reviews]


def _figures(
    reviews: Sequence[Sequence[Review]],
    names: Sequence[str],
    lengths: Sequence[int],
    lists: int,
    seed: int,
) -> dict[str, Any]:
    """Of one set: reviews of the whole list, then of the drawn ones, photo by photo."""
    pooled = {}
    for start, length in zip(range(1, len(reviews), lists), lengths, strict=True):
        # Of one photo all lists of a length count as one: they are not independent of each other.
        by_photo = zip(*reviews[start : start + lists], strict=True)
        pooled[length] = [sum((r.effort for r in photo), Effort()) for photo in by_photo]
    return {
        "classes": len(names),
        **summary([r.effort for r in reviews[0]], seed),
        "by_class": _by_class([r.counts for r in reviews[0]], names),
        "by_length": {str(length): summary(photos, seed) for length, photos in pooled.items()},
    }


def summary(photos: Sequence[Effort], seed: int = 0) -> dict[str, Any]:
    """Totals over photos: minutes, the saved share in percent with its interval, precision, recall.

    The 95 % interval is by resampling photos. Without boxes in the truth the share is 0.
    """
    total = sum(photos, Effort())
    by_hand = np.array([one.minutes_without for one in photos])
    saved = np.array([one.minutes_saved for one in photos])
    chosen = np.random.default_rng(seed).integers(0, len(photos), (_RESAMPLES, len(photos)))
    below = by_hand[chosen].sum(axis=1)
    shares = 100 * saved[chosen].sum(axis=1)[below > 0] / below[below > 0]
    low, high = np.percentile(shares, [2.5, 97.5]) if len(shares) else (0.0, 0.0)
    right = total.kept + total.moved
    return {
        "photos": len(photos),
        "minutes_by_hand": total.minutes_without,
        "minutes_with": total.minutes_with,
        "saved": _percent(total.minutes_saved, total.minutes_without),
        "saved_interval": [float(low), float(high)],
        "shown": total.shown / len(photos),
        "precision": _percent(right, total.shown),
        "recall": _percent(right, right + total.renamed + total.added),
    }


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0


def _by_class(counts: Sequence[ClassCounts], names: Sequence[str]) -> dict[str, Any]:
    shown, right, there = (
        np.sum([getattr(photo, name) for photo in counts], axis=0)
        for name in ("shown", "right", "there")
    )
    return {
        name: {
            "there": int(there[k]),
            "shown": int(shown[k]),
            "precision": _percent(right[k], shown[k]),
            "recall": _percent(right[k], there[k]),
        }
        for k, name in enumerate(names)
    }


def table(figures: Mapping[str, Any]) -> str:
    """The figures as Markdown: a line a set, then its shorter lists."""
    found = figures["minutes"]
    lines = [
        "| set | classes asked | boxes a photo | precision | recall | min by hand | min with "
        "| saved % (95 %) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in found["sets"].items():
        lines.append(_line(name, one["classes"], one))
        lines += [_line(f"{name}, lists of", n, part) for n, part in one["by_length"].items()]
    lines.append(f"| mean of {len(found['sets'])} sets | | | | | | | {found['mean']:+.1f} |")
    note = f"{found['cost']}; a box is kept from IoU {found['keep_iou']:g} on"
    return "\n".join([*lines, "", note])


def _line(name: str, classes: int | str, one: Mapping[str, Any]) -> str:
    low, high = one["saved_interval"]
    return (
        f"| {name} | {classes} | {one['shown']:.1f} | {one['precision']:.1f} | {one['recall']:.1f} "
        f"| {one['minutes_by_hand']:.1f} | {one['minutes_with']:.1f} "
        f"| {one['saved']:+.1f} ({low:+.1f} … {high:+.1f}) |"
    )
