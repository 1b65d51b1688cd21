"""The images of a project's tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from app.labelstudio.api import shapes
from app.labelstudio.api.addresses import read_address
from app.labelstudio.api.config_xml import ConfigError
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.labeling_config import ImageTag, read_labeling_config
from app.progress import OnProgress, ignore_progress
from app.runs.records import ImageRef

log = logging.getLogger(__name__)

OnMissing = Callable[[Sequence[int], Sequence[ImageTag]], None]
"""Told the numbers of tasks without an image, and where one was looked for."""


def tags_of(connection: Connection, project: int) -> tuple[ImageTag, ...]:
    """The images that a project's tasks show: those that boxes can be drawn on, else all.

    Raises:
        LabelStudioError: its labeling configuration shows none, or cannot be read.
    """
    try:
        read = read_labeling_config(connection.project(project).get("label_config") or "")
    except ConfigError as error:
        raise LabelStudioError(f"project {project}: {error}") from error
    drawn = tuple(dict.fromkeys(control.image for control in read.controls))
    if not (drawn or read.images):
        raise LabelStudioError(
            f'project {project} has no <Image value="$…"> in its labeling configuration'
        )
    return drawn or read.images


def images_of_tasks(
    tasks: Iterable[shapes.Task], tags: Sequence[ImageTag], on_missing: OnMissing | None = None
) -> list[ImageRef]:
    """One reference for each image of the tasks; names are unique.

    Args:
        tasks: as the server gives them.
        tags: of the labeling configuration.
        on_missing: called with the tasks that have no image; None says so in the log.
    """
    images: list[ImageRef] = []
    taken: set[str] = set()
    without: list[int] = []
    for task in tasks:
        number, data = task["id"], task.get("data", {})
        places = [place for tag in tags for place in tag.addresses(data)]
        if not places:
            without.append(number)
        for index, (_, url) in enumerate(places):
            address = read_address(url)
            name = f"{number}.jpg" if address.kind == "inline" else address.file_name
            name = name or str(number)
            if name in taken:
                name = f"{number}/{name}"
            if name in taken:  # of one task, too
                name = f"{number}/{index}/{name.partition('/')[2]}"
            taken.add(name)
            images.append(ImageRef(name, url, None, number))
    if without:
        (on_missing or _log_missing)(without, tags)
    return images


def no_images(tasks: Sequence[int], tags: Sequence[ImageTag]) -> str:
    """How many tasks have no image, which, and where one was looked for."""
    named = ", ".join(map(str, tasks[:5])) + (" …" if len(tasks) > 5 else "")
    where = ", ".join(tag.value for tag in tags)
    return f"{len(tasks)} tasks have no image in {where} and are left out: {named}"


def _log_missing(tasks: Sequence[int], tags: Sequence[ImageTag]) -> None:
    log.warning("%s", no_images(tasks, tags))


def images_of_project(
    connection: Connection,
    project: int,
    *,
    only_unlabelled: bool = False,
    on_missing: OnMissing | None = None,
    on_progress: OnProgress = ignore_progress,
) -> list[ImageRef]:
    """The images of a project's tasks.

    Args:
        connection: the server.
        project: its number.
        only_unlabelled: leave out tasks that have an annotation.
        on_missing: see `images_of_tasks`.
        on_progress: see `Connection.pages`.
    """
    tags = tags_of(connection, project)
    tasks = connection.pages(
        {"project": project, "include": "id,data,total_annotations"}, on_progress
    )
    chosen = (t for t in tasks if not (only_unlabelled and t.get("total_annotations")))
    return images_of_tasks(chosen, tags, on_missing)


def data_for_photos(connection: Connection, project: int) -> Callable[[str], dict[str, Any]]:
    """What makes the data of a task from the address of its only photo.

    Raises:
        LabelStudioError: a task of this project shows more than one photo.
    """
    tags = tags_of(connection, project)
    (tag, *others) = tags
    key = tag.key
    if others or key is None:
        shown = ", ".join(f"{one.name} ({one.value})" for one in tags)
        raise LabelStudioError(
            f"tasks of project {project} show {shown}, and cannot be made from single photos; "
            "import them in Label Studio, or name a project with one <Image>"
        )
    return lambda address: {key: [address] if tag.many else address}
