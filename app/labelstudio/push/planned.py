"""The plan of a push: what it would create, replace and delete; nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.labelstudio.api.config_map import LabelMap
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.images import no_images

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
        """Whether the project is set to show this version.

        Never one that no task has, nor an empty one for want of labels.
        """
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
        lines = [
            f"project {self.project} “{self.title}”, version {self.model_version}",
            f"{len(self.create)} predictions to create, {len(self.replace)} to replace, "
            f"{len(self.skip)} there already; {self.deletions} deletions; "
            f"about {self.requests} requests",
            "boxes: " + (", ".join(f"{k} {v}" for k, v in self.boxes.items()) or "none"),
        ]
        lines += [
            f"class {m.name!r} → " + (f"label {m.label!r} ({m.how})" if m.label else "NO LABEL")
            for m in self.labels.matches
        ]
        if self.left_out:
            lost = ", ".join(f"{k} {v}" for k, v in self.left_out.items())
            lines.append(f"left out, because no label takes them: {lost}")
        if self.labels.missing:
            lines.append(f"labels to add to {self.labels.extended!r} in the configuration:")
            lines += self.labels.addition.splitlines()
        lines += [f"no boxes for {one}" for one in self.labels.refused]
        if self.unmatched:
            names = ", ".join(self.unmatched[:5]) + (" …" if len(self.unmatched) > 5 else "")
            lines.append(
                f"{len(self.unmatched)} images have no task in the project: {names}; make tasks "
                "for them first"
            )
        if self.without_image:
            lines.append(no_images(self.without_image, [tag for tag, _ in self.labels.images]))
        if self.by_name:
            lines.append(
                f"{self.by_name} tasks were found by the image's name only; open one of them "
                "before you push, or name the document root"
            )
        if self.learned:
            lines.append(
                f"{self.learned} older predictions stay: their tasks are labelled, and thresholds "
                "are learned from them"
            )
        empty = sum(not item.payload["result"] for item in (*self.writes, *self.skip))
        lines.append(
            f"a labeler will see version {self.model_version}: "
            f"{len(self.writes) + len(self.skip) - empty} tasks with boxes, {empty} without"
        )
        if self.without_labels:
            lines[-1] = f"no label takes what was found, so {lines[-1].rpartition(': ')[2]}"
        return lines


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
