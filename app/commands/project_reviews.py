"""What labelers of a Label Studio project submitted, as decisions of the run behind it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from app.box import Box
from app.labelstudio.api.config_map import labels_of_project
from app.labelstudio.api.connection import Connection
from app.labelstudio.learn.pull import ReviewedTask, pull
from app.labelstudio.push.plan import tasks_of
from app.review.decision import Decision, PhotoReview
from app.review.decisions import Decisions
from app.runs.store import Run


def import_project(
    run: Run,
    decisions: Decisions,
    connection: Connection,
    project: int,
    document_root: Path | None,
    by: str,
) -> tuple[int, int]:
    """Take over every task's latest annotation, whatever it began as; again changes nothing.

    Tasks of several images are left out: which image a box is of is not told apart here.

    Returns:
        How many photos of the run are reviewed, and how many annotated tasks were left out, or are
        of none of its photos.

    Raises:
        LabelStudioError: the project cannot be read, or takes none of the run's classes.
        DecisionError: the run's decisions cannot be written.
    """
    labels = labels_of_project(connection, project, run.view.vocabulary)
    pairs = tasks_of(run, connection, project, document_root)
    images = Counter(task for _, task in pairs)
    image_of = {task: row.id for row, task in pairs if images[task] == 1}
    latest = {task.task: task for task in pull(connection, project, every=True)}
    name_of = {label: name for name, label in labels.items()}
    reviews = decisions.reviews()
    left = 0
    for number, task in latest.items():
        image = image_of.get(number)
        if image is None:
            left += 1
            continue
        review = reviews.get(image, PhotoReview(image))
        found = _decisions(task, name_of)
        boxes = [one.after for one in found if one.after is not None]
        if {*boxes} != {*review.boxes} or not review.classes.issuperset(labels):
            gone = [Decision.reject(box) for box in review.boxes if box not in boxes]
            decisions.decide(image, [*gone, *found], by=by, reviewed=list(labels))
    return len(latest) - left, left


def _decisions(task: ReviewedTask, name_of: dict[str, str]) -> list[Decision]:
    """What turns the boxes that a labeler was shown into those that were submitted."""
    found = []
    for one in task.boxes:
        before, after = (_named(box, name_of) for box in (one.predicted, one.labelled))
        if before is not None and after is not None:
            if one.verdict == "kept":
                found.append(Decision.accept(before))
            elif before.name != after.name:
                found.append(Decision("renamed", before, after))
            else:
                found.append(Decision("moved", before, after))
        elif before is not None:
            found.append(Decision.reject(before))
        elif after is not None:
            found.append(Decision.add(after.name, after.xyxy))
    return found


def _named(box: Box | None, name_of: dict[str, str]) -> Box | None:
    """The box under the run's name of its label; None for labels of other things."""
    if box is None or box.name not in name_of:
        return None
    return Box(name_of[box.name], box.score, box.xyxy)
