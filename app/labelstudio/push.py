"""Push: a plan from what the server has, then writes in chunks, each read back before the next.

The server neither deduplicates nor tells the ids of what it made, and an answer can get lost. So
its state decides, never its answer: whatever a write says, the chunk's tasks are read again; what
is missing is sent again, what is there twice is reduced to one, and what was replaced is deleted
last. A push that was killed is a push that was not finished: the same command goes on.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from app.labelstudio.config_map import LabelMap, read_config
from app.labelstudio.connection import Connection, LabelStudioError
from app.labelstudio.images import address_of, read_address
from app.labelstudio.payload import fingerprint, prediction
from app.runs.records import ImageRow
from app.runs.store import Run

log = logging.getLogger(__name__)

MAX_COUNT = 250
MAX_REQUEST = 8 * 2**20
"""Bytes of one request; the server's limit is 250 MB, proxies' are lower."""
OURS = "detclipv2-"
_TRIES = 5
_SETTLE = 0.5

Old = Literal["keep", "replace"]
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Existing:
    """A prediction the server has."""

    id: int
    task: int
    model_version: str
    shows: str


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
        project: its number.
        title: its name.
        model_version: of the predictions.
        labels: classes and where they go.
        create: tasks without a prediction of this version.
        replace: tasks whose prediction of this version shows something else.
        skip: tasks that have it already.
        doubled: surplus copies that an interrupted writer left; they go.
        older: predictions of other detclipv2 versions; they go when old is "replace".
        old: whether they stay.
        unmatched: images of the run without a task.
        boxes: regions by label.
        left_out: boxes of classes without a label.
        active: the version labelers see at present.
    """

    project: int
    title: str
    model_version: str
    labels: LabelMap
    create: tuple[Item, ...]
    replace: tuple[Item, ...]
    skip: tuple[Item, ...]
    doubled: tuple[int, ...]
    older: tuple[int, ...]
    old: Old
    unmatched: tuple[str, ...]
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
        switch = self.active != self.model_version or not self.shown
        return 2 * len(list(chunks(self.writes))) + self.deletions + int(switch)

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
            said.append(f"left out, because no label takes them: {lost}; add to the configuration:")
            said += self.labels.addition.splitlines()
        if self.unmatched:
            names = ", ".join(self.unmatched[:5])
            said.append(f"{len(self.unmatched)} images have no task in the project: {names} …")
        empty = sum(not item.payload["result"] for item in (*self.writes, *self.skip))
        said.append(
            f"a labeler will see version {self.model_version}: "
            f"{len(self.writes) + len(self.skip) - empty} tasks with boxes, {empty} without"
        )
        return said


@dataclass
class Report:
    """What a push did."""

    created: int = 0
    replaced: int = 0
    skipped: int = 0
    deleted: int = 0
    retried: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Predictions written a second."""
        return (self.created + self.replaced) / self.seconds if self.seconds else 0.0


def plan(
    run: Run, connection: Connection, project: int, *, old: Old = "keep",
    control: str | None = None, document_root: Path | None = None,
) -> Plan:  # fmt: skip
    """Compare a run with a project; writes nothing.

    Args:
        run: finished or not; only images that were looked at count.
        connection: the server.
        project: its number.
        old: what becomes of other detclipv2 versions' predictions on these tasks.
        control: the RectangleLabels to use, None for the one that knows most classes.
        document_root: LOCAL_FILES_DOCUMENT_ROOT, for runs over files below it.

    Raises:
        LabelStudioError: the server or the project cannot be used.
        ConfigError: no control of the project takes boxes.
    """
    found = connection.get(f"/api/projects/{project}/", what=f"project {project}")
    view = run.view
    labels = read_config(found["label_config"], view.vocabulary, control)
    version = run.model_version
    key = labels.target.data_key
    urls: dict[int, str] = {}
    digests: dict[str, list[int]] = {}
    there: dict[int, list[Existing]] = {}
    for task in connection.pages(
        {"project": project, "fields": "all", "include": "id,data,predictions"}
    ):
        url = address_of(task["data"], key)
        if url is not None:
            urls[task["id"]] = url
            digests.setdefault(str(task["data"].get("sha256")), []).append(task["id"])
            there[task["id"]] = [_existing(task["id"], made) for made in task["predictions"]]
    rows = list(run.images("done", "empty"))
    tasks, unmatched = match_tasks(rows, urls, document_root, digests)
    create, replace, skip = [], [], []
    doubled: list[int] = []
    older: list[int] = []
    boxes: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for row, task_id in tasks:
        shown = run.boxes(row, view)
        left_out.update(box.name for box in shown if box.name not in labels.labels)
        payload = prediction(shown, row.size, labels.target, labels.labels, version, task=task_id)
        boxes.update(r["value"]["rectanglelabels"][0] for r in payload["result"])
        item = Item(task_id, payload, fingerprint(payload), row.file_name)
        same = [e for e in there[task_id] if e.model_version == version]
        equal = [e for e in same if e.shows == item.shows]
        older += [
            e.id
            for e in there[task_id]
            if e.model_version.startswith(OURS) and e.model_version != version
        ]
        if equal:
            skip.append(item)
            doubled += [e.id for e in same if e is not equal[0]]
        elif same:
            ids = tuple(e.id for e in same)
            replace.append(Item(task_id, payload, item.shows, row.file_name, ids))
        else:
            create.append(item)
    _validate(labels, [*create, *replace])
    return Plan(
        project, str(found["title"]), version, labels, tuple(create), tuple(replace), tuple(skip),
        tuple(doubled), tuple(older), old, tuple(unmatched), dict(boxes), dict(left_out),
        str(found.get("model_version") or ""), bool(found.get("show_collab_predictions")),
    )  # fmt: skip


def push(made: Plan, connection: Connection, tell: Tell = lambda done, total: None) -> Report:
    """Carry a plan out; see the module for what makes it safe to repeat.

    Raises:
        LabelStudioError: it could not be finished; the message says what to do, and the same push
            goes on where this one stopped.
    """
    start = time.perf_counter()
    report = Report(skipped=len(made.skip))
    total = len(made.writes)
    _same_configuration(made, connection)
    done = 0
    for chunk in chunks(made.writes):
        _write_chunk(chunk, made, connection, report)
        done += len(chunk)
        tell(done, total)
    report.created, report.replaced = len(made.create), len(made.replace)
    for ident in (*made.doubled, *(made.older if made.old == "replace" else ())):
        _delete(ident, connection, report)
    if made.active != made.model_version or not made.shown:
        # Labelers are shown the project's version only.
        change = {"model_version": made.model_version, "show_collab_predictions": True}
        connection.write(
            "PATCH", f"/api/projects/{made.project}/", json=change, what=f"project {made.project}"
        )
    report.seconds = time.perf_counter() - start
    return report


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


def match_tasks(
    rows: Iterable[ImageRow], urls: dict[int, str], document_root: Path | None = None,
    digests: Mapping[str, list[int]] | None = None,
) -> tuple[list[tuple[ImageRow, int]], list[str]]:  # fmt: skip
    """Which task each image belongs to, and the names of images that have none.

    The task the image came from; else tasks whose data has the digest of its content, as our
    uploads have; else the same file below the document root; else the only task whose address ends
    like the image's name. Of doubled tasks each gets the boxes.
    """
    by_key: dict[str, list[int]] = {}
    by_name: dict[str, list[int]] = {}
    for task, url in urls.items():
        address = read_address(url)
        by_key.setdefault(address.key, []).append(task)
        by_name.setdefault(_last_part(address.path, address.kind == "upload"), []).append(task)
    root = None if document_root is None else document_root.resolve()
    pairs, unmatched = [], []
    for row in rows:
        if row.task is not None:
            found = [row.task] if row.task in urls else []
        else:
            found = (digests or {}).get(row.sha256 or "", []) or by_key.get(_key(row, root), [])
            if not found and root is None:
                found = _ending(row, by_name, urls)
        pairs += [(row, task) for task in found]
        if not found:
            unmatched.append(row.file_name)
    return pairs, unmatched


def _key(row: ImageRow, root: Path | None) -> str:
    if root is not None and row.member is None and Path(row.place).is_relative_to(root):
        return f"local file:{Path(row.place).relative_to(root).as_posix()}"
    return read_address(row.place).key


def _ending(row: ImageRow, by_name: dict[str, list[int]], urls: dict[int, str]) -> list[int]:
    """Tasks of one image whose address ends with the image's path; several images: none."""
    last = row.file_name.rpartition("/")[2]
    candidates = by_name.get(last, [])
    keys = {read_address(urls[task]).key for task in candidates}
    if len(keys) > 1:
        whole = "/" + row.file_name
        candidates = [t for t in candidates if ("/" + read_address(urls[t]).path).endswith(whole)]
        keys = {read_address(urls[task]).key for task in candidates}
    return candidates if len(keys) == 1 else []


def _last_part(path: str, upload: bool) -> str:
    last = path.split("?", 1)[0].rpartition("/")[2]
    # the server puts eight hex digits before the name of an upload
    return last[9:] if upload and last[8:9] == "-" else last


def _existing(task: int, made: dict[str, Any]) -> Existing:
    return Existing(int(made["id"]), task, str(made.get("model_version") or ""), fingerprint(made))


def _validate(labels: LabelMap, items: Iterable[Item]) -> None:
    """With the SDK's own rules: some servers drop what they do not like without saying so."""
    from label_studio_sdk.label_interface.interface import LabelInterface

    interface = LabelInterface(labels.config)
    for item in items:
        check: Any = interface.validate_prediction
        problems = check(item.payload, return_errors=True)
        if problems:
            raise LabelStudioError(f"{item.file_name}: the server would refuse it: {problems[0]}")


def _same_configuration(made: Plan, connection: Connection) -> None:
    now = connection.get(f"/api/projects/{made.project}/", what=f"project {made.project}")
    if now["label_config"] != made.labels.config:
        raise LabelStudioError(
            f"the labeling configuration of project {made.project} was changed since the dry run; "
            "look at a new dry run, then push"
        )


def _write_chunk(chunk: Sequence[Item], made: Plan, connection: Connection, report: Report) -> None:
    """Send what is missing until reading back shows every item exactly once."""
    missing = list(chunk)
    for attempt in range(_TRIES):
        problem: LabelStudioError | None = None
        try:
            connection.write(
                "POST", f"/api/projects/{made.project}/import/predictions",
                json=[item.payload for item in missing], what=f"project {made.project}",
            )  # fmt: skip
        except LabelStudioError as error:
            if error.status in (400, 401, 403, 404, 413):
                raise
            problem = error
            log.warning("a write failed and is checked: %s", error)
        there = _read_back(chunk, made, connection, settle=problem is not None)
        surplus: list[int] = []
        missing = []
        for item in chunk:
            same = [e for e in there.get(item.task, []) if e.model_version == made.model_version]
            equal = [e for e in same if e.shows == item.shows]
            if not equal:
                missing.append(item)
            else:  # verified: now what it replaces, and any double, may go
                surplus += [e.id for e in same if e is not equal[0]]
        for ident in surplus:
            _delete(ident, connection, report)
        if not missing:
            return
        report.retried += len(missing)
        if attempt < _TRIES - 1:
            time.sleep(0.3 * 2**attempt)
    gone = [item.task for item in missing if item.task not in there]
    raise LabelStudioError(
        f"{len(missing)} predictions do not arrive ("
        + (f"tasks {gone[:3]} are gone" if gone else str(problem or "the server drops them"))
        + "); start the same push again, what arrived is not sent twice"
    )


def _read_back(
    chunk: Sequence[Item], made: Plan, connection: Connection, *, settle: bool
) -> dict[int, list[Existing]]:
    """What the server has for a chunk's tasks.

    After a lost answer it may still be writing, so then it is read until two readings agree.
    """
    before: dict[int, list[Existing]] | None = None
    for _ in range(20):
        now = _read_tasks(chunk, made, connection)
        if not settle or now == before:
            return now
        before = now
        time.sleep(_SETTLE)
    return before or {}


def _read_tasks(
    chunk: Sequence[Item], made: Plan, connection: Connection
) -> dict[int, list[Existing]]:
    ids = [item.task for item in chunk]
    span = {
        "filter": "filter:tasks:id", "operator": "in", "type": "Number",
        "value": {"min": min(ids), "max": max(ids)},
    }  # fmt: skip
    query = json.dumps({"filters": {"conjunction": "and", "items": [span]}})
    wanted = set(ids)
    tasks = connection.pages(
        {"project": made.project, "fields": "all", "include": "id,predictions", "query": query}
    )
    return {
        task["id"]: [_existing(task["id"], one) for one in task["predictions"]]
        for task in tasks
        if task["id"] in wanted
    }


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
