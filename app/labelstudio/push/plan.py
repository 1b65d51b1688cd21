"""The plan of a push: a run compared with what a project has; nothing is written."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.labelstudio.api.config_map import LabelMap, read_config
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.images import no_images, tags_of
from app.labelstudio.api.labeling_config import ConfigError, ImageTag
from app.labelstudio.api.payload import fingerprint, prediction, regions_of, to_boxes
from app.labelstudio.api.server_tasks import Task, read_task
from app.labelstudio.api.versions import made_by_us
from app.labelstudio.push.matching import Matching, TaskImage, match_tasks
from app.progress import Tell, untold
from app.runs.records import ImageRow
from app.runs.store import Run

MAX_COUNT = 250
MAX_REQUEST = 8 * 2**20
"""Bytes of one request; the server's limit is 250 MB, proxies' are lower."""

Old = Literal["keep", "replace"]


@dataclass(frozen=True)
class Item:
    """What one task is to have: the payload, what it shows, and what it takes the place of."""

    task: int
    payload: dict[str, Any]
    shows: str
    file_name: str
    replaces: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a push would do; nothing has been written yet.

    Attributes:
        server: the address of the Label Studio that it was made for; numbers of projects, tasks
            and predictions mean something else on another.
        project: its number.
        title: its name.
        model_version: of the predictions.
        labels: classes and where they go.
        create: tasks without a prediction of this version.
        replace: tasks whose prediction of this version shows something else.
        skip: tasks that have it already.
        doubled: surplus copies that an interrupted writer left; they go.
        older: predictions of other detclipv2 versions; they go when old is "replace".
        learned: predictions, of this version or another, that would go but stay: their tasks
            have labels, and what labelers made of them is what thresholds are learned from.
        old: whether they stay.
        unmatched: images of the run without a task.
        without_image: tasks without an image.
        by_name: tasks for which nothing but the image's name speaks.
        boxes: regions by label.
        left_out: boxes of classes without a label.
        active: the version labelers see at present.
        shown: whether the project shows predictions to labelers.
    """

    server: str
    project: int
    title: str
    model_version: str
    labels: LabelMap
    create: tuple[Item, ...]
    replace: tuple[Item, ...]
    skip: tuple[Item, ...]
    doubled: tuple[int, ...]
    older: tuple[int, ...]
    learned: int
    old: Old
    unmatched: tuple[str, ...]
    without_image: tuple[int, ...]
    by_name: int
    boxes: dict[str, int]
    left_out: dict[str, int]
    active: str
    shown: bool

    @property
    def writes(self) -> tuple[Item, ...]:
        """Predictions to send."""
        return (*self.create, *self.replace)

    @property
    def deletions(self) -> int:
        """Predictions that go once the new ones are verified."""
        replaced = sum(len(item.replaces) for item in self.replace)
        return replaced + len(self.doubled) + (len(self.older) if self.old == "replace" else 0)

    @property
    def requests(self) -> int:
        """How many requests it takes, the reading back included, as long as nothing fails."""
        return 2 * len(list(chunks(self.writes))) + self.deletions + int(self.switches)

    @property
    def switches(self) -> bool:
        """Whether the project is told to show this version; never one that no task has, nor an
        empty one for want of labels."""
        there = bool(self.writes or self.skip) and not self.without_labels
        return there and (self.active != self.model_version or not self.shown)

    @property
    def without_labels(self) -> bool:
        """Whether every prediction is empty because no label takes what was found."""
        return not self.labels.labels or (not self.boxes and bool(self.left_out))

    def check_server(self, connection: Connection) -> None:
        """Refuse another server than the plan was made for.

        Raises:
            LabelStudioError: it is another.
        """
        if self.server != connection.url:
            raise LabelStudioError(
                f"the dry run is of {self.server}, and this is {connection.url}; look at a new "
                "dry run, then push"
            )

    def lines(self) -> list[str]:
        """The plan in words."""
        said = [
            f"project {self.project} “{self.title}”, version {self.model_version}",
            f"{len(self.create)} predictions to create, {len(self.replace)} to replace, "
            f"{len(self.skip)} there already; {self.deletions} deletions; "
            f"about {self.requests} requests",
            "boxes: " + (", ".join(f"{k} {v}" for k, v in self.boxes.items()) or "none"),
        ]
        said += [
            f"class {m.name!r} → " + (f"label {m.label!r} ({m.how})" if m.label else "NO LABEL")
            for m in self.labels.matches
        ]
        if self.left_out:
            lost = ", ".join(f"{k} {v}" for k, v in self.left_out.items())
            said.append(f"left out, because no label takes them: {lost}")
        if self.labels.missing:
            said.append(f"labels to add to {self.labels.extended!r} in the configuration:")
            said += self.labels.addition.splitlines()
        said += [f"no boxes for {one}" for one in self.labels.refused]
        if self.unmatched:
            names = ", ".join(self.unmatched[:5]) + (" …" if len(self.unmatched) > 5 else "")
            said.append(
                f"{len(self.unmatched)} images have no task in the project: {names}; make tasks "
                "for them first"
            )
        if self.without_image:
            said.append(no_images(self.without_image, [tag for tag, _ in self.labels.images]))
        if self.by_name:
            said.append(
                f"{self.by_name} tasks were found by the image's name only; open one of them "
                "before you push, or name the document root"
            )
        if self.learned:
            said.append(
                f"{self.learned} older predictions stay: their tasks are labelled, and thresholds "
                "are learned from them"
            )
        empty = sum(not item.payload["result"] for item in (*self.writes, *self.skip))
        said.append(
            f"a labeler will see version {self.model_version}: "
            f"{len(self.writes) + len(self.skip) - empty} tasks with boxes, {empty} without"
        )
        if self.without_labels:
            said[-1] = f"no label takes what was found, so {said[-1].rpartition(': ')[2]}"
        return said


def plan(
    run: Run,
    connection: Connection,
    project: int,
    *,
    old: Old = "keep",
    control: str | None = None,
    document_root: Path | None = None,
    tell: Tell = untold,
) -> Plan:
    """Compare a run with a project; writes nothing.

    Args:
        run: finished or not; only images that were looked at count.
        connection: the server.
        project: its number.
        old: what becomes of other detclipv2 versions' predictions on these tasks.
        control: the RectangleLabels to use, None for the one that knows most classes.
        document_root: LOCAL_FILES_DOCUMENT_ROOT, for runs over files below it.
        tell: see `Connection.pages`.

    Raises:
        LabelStudioError: the server or the project cannot be used.
        ConfigError: no control of the project takes boxes.
    """
    found = connection.project(project)
    view, version = run.view, run.model_version
    labels = read_config(found.get("label_config") or "", view.vocabulary, control)
    tasks = _read_tasks(connection, project, tell)
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
            if made_by_us(e.model_version) and e.model_version != version
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
    tell: Tell = untold,
) -> list[tuple[ImageRow, int]]:
    """The run's images with the tasks that a push would give their boxes to."""
    tags = tags_of(connection, project)
    pairs = _match(run, _read_tasks(connection, project, tell), tags, document_root).pairs
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


def _read_tasks(connection: Connection, project: int, tell: Tell) -> dict[int, Task]:
    fields = {"fields": "all", "include": "id,data,predictions,total_annotations"}
    told = connection.pages({"project": project, **fields}, tell)
    return {task.id: task for task in map(read_task, told)}


def chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Groups bounded by count and by bytes, in the order of task ids."""
    group: list[Item] = []
    size = 0
    for item in sorted(items, key=lambda item: item.task):
        weight = len(json.dumps(item.payload))
        if group and (len(group) >= MAX_COUNT or size + weight > MAX_REQUEST):
            yield group
            group, size = [], 0
        group.append(item)
        size += weight
    if group:
        yield group


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
