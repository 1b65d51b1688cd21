"""Pull: what labelers made of the boxes they were shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.box import Box
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.payload import Region, read_regions
from app.progress import OnProgress, ignore_progress
from app.runs.diff import iou
from detclipv2.labeling.effort import Effort, Verdict
from detclipv2.labeling.matching import match

SAME_IOU = 0.95
"""From here on a box counts as left where it was; the server rounds, and so does a mouse."""
MAX_PAIRS = 25_000_000
"""Predicted times labelled boxes of one image that are compared: 5,000 of each."""
SAME_TURN = 0.5
"""Degrees up to which a box counts as not turned."""


@dataclass(frozen=True)
class Reviewed:
    """One box, predicted or added, and what became of it.

    Attributes:
        task: the task's id.
        verdict: kept where it was; moved; renamed; deleted; or added by the labeler.
        predicted: the model's box; None when added.
        labelled: the labeler's box; None when deleted.
    """

    task: int
    verdict: Verdict
    predicted: Box | None
    labelled: Box | None


@dataclass(frozen=True)
class ReviewedTask:
    """A task that a labeler submitted after seeing a prediction."""

    task: int
    model_version: str
    boxes: tuple[Reviewed, ...]
    lead_time: float | None


def review(
    task: int, predicted: Sequence[Mapping[str, Any]], labelled: Sequence[Mapping[str, Any]]
) -> tuple[Reviewed, ...]:
    """Compare a prediction's regions with an annotation's.

    A region keeps its id while a labeler edits it, but not when it is drawn anew, so regions are
    matched by overlap; the id decides only between equals.
    """
    before, after = read_regions(predicted), read_regions(labelled)
    found: list[Reviewed] = []
    for image in dict.fromkeys(region.image for region in (*before, *after)):
        found += _review_image(
            task, [r for r in before if r.image == image], [r for r in after if r.image == image]
        )
    return tuple(found)


def _review_image(
    task: int, before: Sequence[Region], after: Sequence[Region]
) -> Iterator[Reviewed]:
    """`review` for the regions of one image."""
    if len(before) * len(after) > MAX_PAIRS:
        raise LabelStudioError(
            f"task {task} has {len(before):,} predicted and {len(after):,} labelled boxes on one "
            "image, too many to compare; delete its predictions, or leave the task out"
        )
    overlap = iou([region.box for region in before], [region.box for region in after])
    # one that was only turned is still the same thing, however little of it is left in its place
    shape = overlap.shape
    same_region = np.array([[a.id == b.id != "" for b in after] for a in before], bool)
    same_region = same_region.reshape(shape)
    unturned = iou([one.unturned for one in before], [one.unturned for one in after])
    overlap = np.where(same_region, np.maximum(overlap, unturned), overlap)
    same_name = np.array([[a.box.name == b.box.name for b in after] for a in before], bool)
    matched = dict(match(overlap, same_name.reshape(shape), tie=same_region))
    for i, region in enumerate(before):
        if i not in matched:
            yield Reviewed(task, "deleted", region.box, None)
            continue
        other = after[matched[i]]
        turned = abs((other.rotation - region.rotation + 180) % 360 - 180) > SAME_TURN
        same = overlap[i, matched[i]] >= SAME_IOU and not turned
        verdict: Verdict = "kept" if same else "moved"
        if region.box.name != other.box.name:
            verdict = "renamed"
        yield Reviewed(task, verdict, region.box, other.box)
    unmatched = {*range(len(after))} - {*matched.values()}
    for j, region in enumerate(after):
        if j in unmatched:
            yield Reviewed(task, "added", None, region.box)


def pull(
    connection: Connection,
    project: int,
    *,
    model_version: str | None = None,
    every: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> Iterator[ReviewedTask]:
    """Every submitted annotation that began as a prediction, beside that prediction.

    Of one task later annotations come later.

    Args:
        connection: the server.
        project: its number.
        model_version: leave out annotations that began as another version.
        every: annotations that began from nothing, too; all of their boxes were added.
        on_progress: see `Connection.pages`.
    """
    # With `include`, the server leaves `parent_prediction` out of annotations.
    for task in connection.pages({"project": project, "fields": "all"}, on_progress):
        predictions = {made["id"]: made for made in task.get("predictions", ())}
        for annotation in sorted(task.get("annotations", ()), key=_number):
            made = predictions.get(annotation.get("parent_prediction") or -1)
            if annotation.get("was_cancelled") or (made is None and not every):
                continue
            version = (made.get("model_version") if made else None) or ""
            predicted = made.get("result", ()) if made else ()
            if model_version is not None and version != model_version:
                continue
            yield ReviewedTask(
                task["id"],
                version,
                review(task["id"], predicted, annotation.get("result", ())),
                annotation.get("lead_time"),
            )


def _number(annotation: Mapping[str, Any]) -> int:
    return annotation.get("id") or 0


def effort(reviewed: Sequence[ReviewedTask]) -> Effort:
    """What the boxes of these tasks spared their labelers."""
    return Effort.of(box.verdict for task in reviewed for box in task.boxes)
