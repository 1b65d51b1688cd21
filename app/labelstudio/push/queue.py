"""Which image first: tasks ranked by disagreement, written where the free edition can sort by it.

The rank goes into the predictions' `score` (the Data Manager sorts by "Prediction score", and a
project that samples by uncertainty takes the lowest first), so the first task gets the lowest one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.learn.pull import ReviewedTask
from app.progress import OnProgress, ignore_progress
from app.review.queue import review_queue
from app.runs.diff import compare_boxes
from app.runs.doubt import MARGIN, doubt
from app.runs.records import ImageRow
from app.runs.store import Run


@dataclass(frozen=True)
class Priority:
    """How much a task wants a look: 0 (nothing to see) to 1 (first), and why."""

    task: int
    urgency: float
    reason: str


Pairs = Sequence[tuple[ImageRow, int]]
"""Images of a run and their tasks, as `plan.tasks_of` gives them."""


def by_threshold(
    run: Run, pairs: Pairs, photos: Mapping[int, NDArray[Any]] | None = None, margin: float = MARGIN
) -> list[Priority]:
    """Images with boxes whose scores lie close to their class's threshold, on either side.

    Args:
        run: the run.
        pairs: its tasks.
        photos: embeddings by the images' ids, see `photo_embeddings`: then few images that are
            alike follow each other, and urgencies are handed out anew in this order.
        margin: see `doubt`.
    """
    view = run.view
    doubts = {row.id: doubt(run, row, view, margin) for row, _ in pairs}
    urgency = {image: one[0] for image, one in doubts.items()}
    ranks = sorted(urgency.values(), reverse=True)
    anew = dict(zip(review_queue(urgency, photos or {}), ranks, strict=True))
    return _sorted(
        Priority(task, anew[row.id], f"{doubts[row.id][1]} boxes near the threshold")
        for row, task in pairs
    )


def by_comparison(run: Run, other: Run, pairs: Pairs) -> list[Priority]:
    """Images on which two runs, of two vocabularies or two checkpoints, see different things."""
    rows = {row.sha256: row for row in other.images("done", "empty")}
    found = []
    for row, task in pairs:
        if row.sha256 not in rows:
            continue
        a, b = run.boxes(row), other.boxes(rows[row.sha256])
        changes = compare_boxes(row.file_name, b, a).changes
        share = changes / max(1, len(a) + len(b))
        found.append(Priority(task, min(1.0, share), f"{changes} boxes differ"))
    return _sorted(found)


def by_labelers(tasks: Iterable[ReviewedTask]) -> list[Priority]:
    """Submitted tasks whose labeler changed most of what was shown: worth a second look."""
    found = []
    for task in tasks:
        changed = sum(box.verdict != "kept" for box in task.boxes)
        share = changed / max(1, len(task.boxes))
        found.append(Priority(task.task, share, f"{changed} of {len(task.boxes)} boxes changed"))
    return _sorted(found)


def write_queue(
    priorities: Iterable[Priority],
    connection: Connection,
    project: int,
    model_version: str,
    on_progress: OnProgress = ignore_progress,
) -> int:
    """Set the score of the tasks' predictions of this version to 1 - urgency; returns how many.

    Setting a score twice is setting it once, so a lost answer is simply sent again. `on_progress`
    is called after each.

    Raises:
        LabelStudioError: the server refuses, or no task has a prediction of this version.
    """
    wanted: dict[int, Priority] = {}
    for one in priorities:  # of a task with several images the most urgent one counts
        if one.task not in wanted or wanted[one.task].urgency < one.urgency:
            wanted[one.task] = one
    found = _predictions(connection, project, model_version).items()
    ranked = [(task, ident) for task, ident in found if task in wanted]
    for done, (task, ident) in enumerate(ranked, 1):
        score = round(1 - wanted[task].urgency, 6)
        for attempt in range(3):
            try:
                connection.write("PATCH", f"/api/predictions/{ident}/", json={"score": score})
                break
            except LabelStudioError as error:
                if not error.lost or attempt == 2:
                    raise
        on_progress(done, len(ranked))
    if not ranked:
        raise LabelStudioError(
            f"project {project} has no predictions of {model_version}; push the run first"
        )
    return len(ranked)


def _predictions(connection: Connection, project: int, version: str) -> Mapping[int, int]:
    fields = {"fields": "all", "include": "id,predictions"}
    return {
        task["id"]: made["id"]
        for task in connection.pages({"project": project, **fields})
        for made in task.get("predictions", ())
        if made.get("model_version") == version
    }


def _sorted(found: Iterable[Priority]) -> list[Priority]:
    return sorted(found, key=lambda one: (-one.urgency, one.task))
