"""Push: a plan carried out in chunks, each read back before the next.

The server neither deduplicates nor gives the ids of what it made, and an answer can get lost. So
its state decides, never its answer: whatever a write says, the chunk's tasks are read again; what
is missing is sent again, what is there twice is reduced to one, and what was replaced is deleted
last. A push that was killed is a push that was not finished: the same command goes on.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.server_tasks import Task, read_task
from app.labelstudio.push.planned import Item, Plan, chunks
from app.progress import OnProgress, ignore_progress

log = logging.getLogger(__name__)

_TRIES = 5
_SETTLE = 0.5


@dataclass
class Report:
    """What a push did."""

    created: int = 0
    replaced: int = 0
    skipped: int = 0
    deleted: int = 0
    retried: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Predictions written a second."""
        return (self.created + self.replaced) / self.seconds if self.seconds else 0.0


def push(
    made: Plan,
    connection: Connection,
    on_progress: OnProgress = ignore_progress,
    *,
    allow_empty: bool = False,
) -> Report:
    """Carry a plan out; see the module for what makes it safe to repeat.

    Args:
        made: the plan.
        connection: to the server that it was made for.
        on_progress: called after every chunk, with predictions.
        allow_empty: write predictions also where no label takes what was found, and all are empty.

    Raises:
        LabelStudioError: it could not be finished; the message says what to do, and the same push
            goes on where this one stopped.
    """
    made.check_server(connection)
    if made.writes and made.without_labels and not allow_empty:
        raise LabelStudioError(
            f"no label of project {made.project} takes what was found, so every prediction would "
            "be empty; add labels to its configuration first (--add-labels, or the page's button)"
        )
    start = time.perf_counter()
    report = Report(skipped=len(made.skip))
    total = len(made.writes)
    check_configuration(made, connection)
    done = 0
    uncertain = []
    for chunk in chunks(made.writes):
        if _write_chunk(chunk, chunk, made, connection, report):
            uncertain.append(chunk)
        done += len(chunk)
        on_progress(done, total)
    for chunk in uncertain:
        # a write that was given up may have arrived after its chunk was read back
        missing = _settle(chunk, made, connection, report, wait=True)
        if missing:
            _write_chunk(chunk, missing, made, connection, report)
    report.created, report.replaced = len(made.create), len(made.replace)
    deletions = (*made.doubled, *(made.older if made.old == "replace" else ()))
    kept = _reviewed_predictions(made, connection) if deletions else set()
    for ident in deletions:
        if ident not in kept:
            _delete(ident, connection, report)
    if made.switches:
        # Labelers are shown the project's version only.
        change = {"model_version": made.model_version, "show_collab_predictions": True}
        connection.write(
            "PATCH", f"/api/projects/{made.project}/", json=change, what=f"project {made.project}"
        )
    report.seconds = time.perf_counter() - start
    return report


def check_configuration(made: Plan, connection: Connection) -> None:
    """Refuse a project whose configuration is another than the plan was made for.

    Raises:
        LabelStudioError: it is another.
    """
    if connection.project(made.project).get("label_config") != made.labels.config:
        raise LabelStudioError(
            f"the labeling configuration of project {made.project} was changed since the dry run; "
            "look at a new dry run, then push"
        )


def _write_chunk(
    chunk: Sequence[Item],
    missing: Sequence[Item],
    made: Plan,
    connection: Connection,
    report: Report,
) -> bool:
    """Send what is missing until reading back shows every item exactly once.

    Returns:
        Whether an answer was lost on the way.
    """
    lost = False
    for attempt in range(_TRIES):
        problem: LabelStudioError | None = None
        try:
            connection.write(
                "POST",
                f"/api/projects/{made.project}/import/predictions",
                json=[item.payload for item in missing],
                what=f"project {made.project}",
            )
        except LabelStudioError as error:
            if error.status in (400, 401, 403, 404, 413):
                raise
            problem = error
            lost = lost or error.lost
            log.warning("a write failed and is checked: %s", error)
        missing = _settle(chunk, made, connection, report, wait=problem is not None)
        if not missing:
            return lost
        report.retried += len(missing)
        if attempt < _TRIES - 1:
            time.sleep(0.3 * 2**attempt)
    there = _read_tasks(chunk, made, connection)
    gone = [item.task for item in missing if item.task not in there]
    raise LabelStudioError(
        f"{len(missing)} predictions do not arrive ("
        + (f"tasks {gone[:3]} are gone" if gone else str(problem or "the server drops them"))
        + "); start the same push again, what arrived is not sent twice"
    )


def _settle(
    chunk: Sequence[Item], made: Plan, connection: Connection, report: Report, *, wait: bool
) -> list[Item]:
    """Read a chunk back, delete doubles and what it replaces, return what is missing."""
    there = _read_back(chunk, made, connection, settle=wait)
    surplus: list[int] = []
    missing = []
    for item in chunk:
        task = there.get(item.task)
        same = task.of_version(made.model_version) if task else []
        equal = next((e for e in same if e.shows == item.shows), None)
        if task is None or equal is None:
            missing.append(item)
        elif not task.annotated:  # verified: now what it replaces, and any double, may go
            surplus += [e.id for e in same if e is not equal]
    for ident in surplus:
        _delete(ident, connection, report)
    return missing


def _read_back(
    chunk: Sequence[Item], made: Plan, connection: Connection, *, settle: bool
) -> dict[int, Task]:
    """What the server has for a chunk's tasks.

    After a lost answer it may still be writing, so then it is read until two readings agree.
    """
    before: dict[int, Task] | None = None
    for _ in range(20):
        now = _read_tasks(chunk, made, connection)
        if not settle or now == before:
            return now
        before = now
        time.sleep(_SETTLE)
    return before or {}


def _read_tasks(chunk: Sequence[Item], made: Plan, connection: Connection) -> dict[int, Task]:
    ids = [item.task for item in chunk]
    span = {
        "filter": "filter:tasks:id",
        "operator": "in",
        "type": "Number",
        "value": {"min": min(ids), "max": max(ids)},
    }
    query = json.dumps({"filters": {"conjunction": "and", "items": [span]}})
    wanted = set(ids)
    fields = {"fields": "all", "include": "id,predictions,total_annotations"}
    tasks = connection.pages({"project": made.project, **fields, "query": query})
    return {task.id: task for task in map(read_task, tasks) if task.id in wanted}


def _reviewed_predictions(made: Plan, connection: Connection) -> set[int]:
    """Predictions whose tasks have labels by now; some may have got them since the dry run."""
    fields = {"fields": "all", "include": "id,predictions,total_annotations"}
    tasks = connection.pages({"project": made.project, **fields})
    return {one.id for task in map(read_task, tasks) if task.annotated for one in task.predictions}


def _delete(ident: int, connection: Connection, report: Report) -> None:
    for attempt in range(_TRIES):
        try:
            connection.write("DELETE", f"/api/predictions/{ident}/", what=f"prediction {ident}")
            break
        except LabelStudioError as error:
            if error.status == 404:  # an answer that was lost
                break
            if attempt == _TRIES - 1 or error.status in (401, 403):
                raise
            time.sleep(0.3 * 2**attempt)
    report.deleted += 1
