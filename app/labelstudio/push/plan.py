"""Making the plan of a push: a run compared with what a project has; nothing is written."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.labelstudio.api.config_map import LabelMap, read_config
from app.labelstudio.api.config_xml import ConfigError
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.images import tags_of
from app.labelstudio.api.labeling_config import ImageTag
from app.labelstudio.api.payload import fingerprint, prediction, regions_of, to_boxes
from app.labelstudio.api.server_tasks import Task, read_task
from app.labelstudio.push.matching import Matching, TaskImage, match_tasks
from app.labelstudio.push.planned import Item, Old, Plan
from app.progress import OnProgress, ignore_progress
from app.runs.model_version import is_of_detclipv2
from app.runs.records import ImageRow
from app.runs.store import Run


def plan(
    run: Run,
    connection: Connection,
    project: int,
    *,
    old: Old = "keep",
    control: str | None = None,
    document_root: Path | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Plan:
    """Compare a run with a project; writes nothing.

    Args:
        run: finished or not; only images that were looked at count.
        connection: the server.
        project: its number.
        old: what becomes of other detclipv2 versions' predictions on these tasks.
        control: the RectangleLabels to use, None for the one that knows most classes.
        document_root: LOCAL_FILES_DOCUMENT_ROOT, for runs over files below it.
        on_progress: see `Connection.pages`.

    Raises:
        LabelStudioError: the server or the project cannot be used.
        ConfigError: no control of the project takes boxes.
    """
    found = connection.project(project)
    view, version = run.view, run.model_version
    labels = read_config(found.get("label_config") or "", view.vocabulary, control)
    tasks = _read_tasks(connection, project, on_progress)
    tags = [tag for tag, _ in labels.images]
    matching = _match(run, tasks, tags, document_root)
    without_image = tuple(
        t.id for t in tasks.values() if not any(tag.addresses(t.data) for tag in tags)
    )
    places = {tag.name: where for tag, where in labels.images}
    create, replace, skip = [], [], []
    doubled: list[int] = []
    older: list[int] = []
    learned = 0
    boxes: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    by_task: dict[int, list[tuple[ImageRow, TaskImage]]] = {}
    for row, slot in matching.pairs:
        by_task.setdefault(slot.task, []).append((row, slot))
    for number, pairs in by_task.items():
        result: list[dict[str, Any]] = []
        for row, slot in pairs:
            shown = run.boxes(row, view)
            result += regions_of(shown, row.size, places[slot.image], slot.item)
            left_out.update(box.name for box in shown if box.name not in places[slot.image])
        payload = prediction(result, version, task=number)
        item = Item(number, payload, fingerprint(result), pairs[0][0].file_name)
        task = tasks[number]
        same = task.of_version(version)
        equal = next((e for e in same if e.shows == item.shows), None)
        surplus = tuple(e.id for e in same if e is not equal)
        others = [
            e.id
            for e in task.predictions
            if is_of_detclipv2(e.model_version) and e.model_version != version
        ]
        if task.annotated:
            learned += len(surplus) + len(others)
            if surplus and equal is None:
                continue  # its labelers worked from other boxes of this version
        else:
            older += others
        if equal is not None:
            skip.append(item)
            doubled += () if task.annotated else surplus
        elif surplus:
            replace.append(dataclasses.replace(item, replaces=surplus))
        else:
            create.append(item)
        boxes.update(box.name for _, box in to_boxes(payload["result"]))
    _validate(labels, [*create, *replace])
    return Plan(
        connection.url,
        project,
        found.get("title") or "",
        version,
        labels,
        tuple(create),
        tuple(replace),
        tuple(skip),
        tuple(doubled),
        tuple(older),
        learned,
        old,
        matching.unmatched,
        without_image,
        matching.by_name,
        dict(boxes),
        dict(left_out),
        found.get("model_version") or "",
        bool(found.get("show_collab_predictions")),
    )


def tasks_of(
    run: Run,
    connection: Connection,
    project: int,
    document_root: Path | None = None,
    on_progress: OnProgress = ignore_progress,
) -> list[tuple[ImageRow, int]]:
    """The run's images with the tasks that a push would give their boxes to."""
    tags = tags_of(connection, project)
    pairs = _match(run, _read_tasks(connection, project, on_progress), tags, document_root).pairs
    return [(row, slot.task) for row, slot in pairs]


def _match(
    run: Run, tasks: Mapping[int, Task], tags: Sequence[ImageTag], document_root: Path | None
) -> Matching:
    """The run's images and the images of the tasks."""
    urls: dict[TaskImage, str] = {}
    digests: dict[str, list[TaskImage]] = {}
    for task in tasks.values():
        found = {
            TaskImage(task.id, tag.name, item): url
            for tag in tags
            for item, url in tag.addresses(task.data)
        }
        urls |= found
        digest = task.data.get("sha256")
        if isinstance(digest, str) and len(found) == 1:  # our own uploads
            digests.setdefault(digest, []).extend(found)
    return match_tasks(run.images("done", "empty"), urls, document_root, digests)


def _read_tasks(connection: Connection, project: int, on_progress: OnProgress) -> dict[int, Task]:
    fields = {"fields": "all", "include": "id,data,predictions,total_annotations"}
    tasks = connection.pages({"project": project, **fields}, on_progress)
    return {task.id: task for task in map(read_task, tasks)}


def _validate(labels: LabelMap, items: Iterable[Item]) -> None:
    """With the SDK's own rules: some servers drop what they do not like without saying so."""
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        interface = LabelInterface(labels.config)
    except Exception as error:  # the SDK raises many kinds on what it does not expect
        raise ConfigError(
            f"Label Studio's own reader does not read the labeling configuration: {error!r}"
        ) from error
    for item in items:
        check: Any = interface.validate_prediction
        try:
            problems = check(item.payload, return_errors=True)
        except Exception as error:  # the SDK raises many kinds
            problems = [str(error)]
        if problems:
            raise LabelStudioError(f"{item.file_name}: the server would refuse it: {problems[0]}")
