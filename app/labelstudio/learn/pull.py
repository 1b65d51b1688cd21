"""Pull: what labelers made of the boxes they were shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from app.box import Box
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.payload import Region, read_regions
from app.progress import OnProgress, ignore_progress
from app.runs.diff import iou

Verdict = Literal["kept", "moved", "renamed", "deleted", "added"]
_VERDICTS: tuple[Verdict, ...] = ("kept", "moved", "renamed", "deleted", "added")

MATCH_IOU = 0.5
"""Least overlap at which a labeler's box is about the same thing as a predicted one."""
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
    same_region = np.array([[a.id == b.id != "" for b in after] for a in before], bool)
    unturned = iou([one.unturned for one in before], [one.unturned for one in after])
    overlap = np.where(same_region.reshape(overlap.shape), np.maximum(overlap, unturned), overlap)
    candidates = sorted(
        (
            before[i].box.name != after[j].box.name,
            -overlap[i, j],
            before[i].id != after[j].id,
            int(i),
            int(j),
        )
        for i, j in zip(*np.nonzero(overlap >= MATCH_IOU), strict=True)
    )
    matched: dict[int, int] = {}
    for _, _, _, i, j in candidates:
        if i not in matched and j not in matched.values():
            matched[i] = j
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
    for j, region in enumerate(after):
        if j not in matched.values():
            yield Reviewed(task, "added", None, region.box)


def pull(
    connection: Connection,
    project: int,
    *,
    model_version: str | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Iterator[ReviewedTask]:
    """Every submitted annotation that began as a prediction, beside that prediction.

    Args:
        connection: the server.
        project: its number.
        model_version: leave out annotations that began as another version.
        on_progress: see `Connection.pages`.
    """
    # With `include`, the server leaves `parent_prediction` out of annotations.
    for task in connection.pages({"project": project, "fields": "all"}, on_progress):
        predictions = {made["id"]: made for made in task.get("predictions", ())}
        for annotation in task.get("annotations", ()):
            made = predictions.get(annotation.get("parent_prediction") or -1)
            if made is None or annotation.get("was_cancelled"):
                continue
            version = made.get("model_version") or ""
            if model_version is not None and version != model_version:
                continue
            yield ReviewedTask(
                task["id"],
                version,
                review(task["id"], made.get("result", ()), annotation.get("result", ())),
                annotation.get("lead_time"),
            )


@dataclass(frozen=True)
class Effort:
    """What the boxes spared the labelers, and the assumptions behind it.

    Attributes:
        kept: boxes left as they were.
        moved: boxes dragged or resized.
        renamed: boxes given another label.
        deleted: boxes thrown away.
        added: boxes the model had missed.
        seconds_draw: assumed for drawing and naming one box from nothing.
        seconds_move: assumed for mending one.
        seconds_delete: assumed for deleting one.
        seconds_check: assumed for looking at one and leaving it.
    """

    kept: int = 0
    moved: int = 0
    renamed: int = 0
    deleted: int = 0
    added: int = 0
    seconds_draw: float = 7.0
    seconds_move: float = 4.0
    seconds_delete: float = 1.5
    seconds_check: float = 0.8

    @property
    def minutes_without(self) -> float:
        """Every box of the result drawn by hand."""
        result = self.kept + self.moved + self.renamed + self.added
        return result * self.seconds_draw / 60

    @property
    def minutes_with(self) -> float:
        """What it took with the boxes there: checking all, mending some, drawing the missed."""
        shown = self.kept + self.moved + self.renamed + self.deleted
        return (
            shown * self.seconds_check
            + (self.moved + self.renamed) * self.seconds_move
            + self.deleted * self.seconds_delete
            + self.added * self.seconds_draw
        ) / 60

    @property
    def minutes_saved(self) -> float:
        """May be negative: bad boxes cost more than they spare."""
        return self.minutes_without - self.minutes_with

    def sentence(self) -> str:
        """The estimate in words, with what it assumes."""
        saved = self.minutes_saved
        verb = "saved about" if saved >= 0 else "cost about"
        return (
            f"{self.kept} boxes kept, {self.moved} moved, {self.renamed} renamed, {self.deleted} "
            f"deleted, {self.added} added by hand: {verb} {abs(saved):.1f} minutes of "
            f"{self.minutes_without:.1f} (estimate: {self.seconds_draw:g} s to draw a box, "
            f"{self.seconds_move:g} s to mend, {self.seconds_delete:g} s to delete, "
            f"{self.seconds_check:g} s to check one)"
        )


def effort(reviewed: Sequence[ReviewedTask], **seconds: Any) -> Effort:
    """Count verdicts; `seconds` replaces the assumptions by their names."""
    verdicts = [box.verdict for task in reviewed for box in task.boxes]
    counts: dict[str, Any] = {name: verdicts.count(name) for name in _VERDICTS}
    return replace(Effort(**counts), **seconds)
