"""The images of a project's tasks, and their content: from disk, the server or allowed hosts."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus

import httpx

from app.http_reader import Answer, AnswerError
from app.labelstudio.api import shapes
from app.labelstudio.api.addresses import UPLOAD, Address, local_address, read_address
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.labeling_config import ConfigError, ImageTag, read_labeling_config
from app.progress import Tell, untold
from app.runs.files import MAX_BYTES, SourceError
from app.runs.records import ImageRef
from app.runs.sources import Hosts, fetch

__all__ = [
    "Checked",
    "TaskImages",
    "check_images",
    "data_for_photos",
    "images_of_project",
    "images_of_tasks",
    "local_address",
    "no_images",
    "read_address",
    "tags_of",
]

log = logging.getLogger(__name__)

Missed = Callable[[Sequence[int], Sequence[ImageTag]], None]
"""Told the numbers of tasks without an image, and where one was looked for."""

_NO_FILES = frozenset({"admin", "api", "django-rq", "logout", "organization", "user"})
"""What a server's addresses begin with that are no files."""
_STORAGES = {
    "s3": r"(^|\.)s3[.-]([a-z0-9-]+\.)*amazonaws\.com(\.cn)?$",
    "gs": r"(^|\.)storage\.googleapis\.com$",
    "azure-blob": r"\.blob\.core\.windows\.net$",
    "azure-spi": r"\.blob\.core\.windows\.net$",
}
"""Hosts that the clouds hand files out from, by the scheme of a task's address."""


@dataclass(frozen=True)
class Checked:
    """One task's image as it was found: address, what it means, and what came of opening it."""

    task: int
    url: str
    kind: str
    place: str
    status: str
    ok: bool


class TaskImages:
    """Reads images of tasks, from the disk where it can, else through the server.

    Args:
        connection: the server; its key goes to that server only.
        document_root: Label Studio's LOCAL_FILES_DOCUMENT_ROOT when this machine has it.
        hosts: other hosts that task data, and the server's redirects, may name; the storage of a
            task in a cloud is one of them already.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        document_root: Path | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        self._connection = connection
        self._root = None if document_root is None else document_root.resolve()
        self._hosts = hosts or Hosts.of()

    def read(self, image: ImageRef) -> bytes:
        """The file's content.

        Raises:
            SourceError: it is gone, not allowed, or the server does not hand it out.
        """
        address = read_address(image.place)
        if address.kind == "inline":
            try:
                return base64.b64decode(image.place.partition(",")[2], validate=True)
            except ValueError as error:
                raise SourceError(f"{image.file_name}: the inline image is damaged") from error
        if address.kind == "local file" and self._root is not None:
            path = self.file(address)
            if path.is_file():
                if path.stat().st_size > MAX_BYTES:
                    raise SourceError(f"{path}: more than {MAX_BYTES:,} bytes; scale it down")
                return path.read_bytes()
        if address.kind == "address" and not self._is_own(image.place):
            return fetch(image.place, self._hosts)
        return self._through_server(image, address)

    def file(self, address: Address) -> Path:
        """The file of a local address on this machine.

        Raises:
            SourceError: it would lie outside the document root.
        """
        assert self._root is not None
        path = (self._root / address.path).resolve()
        if not path.is_relative_to(self._root):
            raise SourceError(f"{address.path} leads outside the document root {self._root}")
        return path

    def place(self, url: str) -> str:
        """Where the bytes would come from, for people."""
        address = read_address(url)
        if address.kind == "local file" and self._root is not None:
            path = self.file(address)
            return str(path) if path.is_file() else f"through the server ({path} is not here)"
        if address.kind == "address" and not self._is_own(url):
            return url
        return "inline" if address.kind == "inline" else "through the server"

    def _is_own(self, url: str) -> bool:
        return url.startswith((self._connection.url + "/", "/"))

    def _through_server(self, image: ImageRef, address: Address) -> bytes:
        path = self._path(image, address)

        def elsewhere(url: str) -> None:
            if address.kind != "cloud" or not _is_storage(url, address.path):
                self._hosts.check(url)

        try:
            answer = self._connection.fetch(path, elsewhere)
        except (AnswerError, LabelStudioError, httpx.HTTPError) as error:
            raise SourceError(
                f"{image.place[:500]}: the server does not hand it out ({error})"
            ) from error
        if answer.status != 200:
            raise SourceError(
                f"{image.place[:500]}: the server answers {answer.status}; "
                + _advice(address, answer)
            )
        return answer.content

    def _path(self, image: ImageRef, address: Address) -> str:
        """Where the server has the image."""
        if address.kind == "local file":
            return local_address(address.path)
        if address.kind == "upload":
            path = UPLOAD + quote(address.path)
        elif address.kind == "cloud":
            uri = base64.urlsafe_b64encode(address.path.encode()).decode()
            return f"/tasks/{image.task}/resolve/?fileuri={uri}"
        else:
            path = image.place.removeprefix(self._connection.url)
        segments = unquote_plus(path).split("?")[0].split("/")
        # the key must not make requests that whoever wrote the task may not make
        if ".." in segments or not path.startswith("/") or segments[1] in _NO_FILES:
            raise SourceError(f"{image.place[:500]}: no address of an image; correct the task")
        return path


def _is_storage(url: str, place: str) -> bool:
    """Whether an address is one that the cloud signs for its own storage."""
    storage = _STORAGES.get(place.partition("://")[0])
    parts = httpx.URL(url)
    return (
        storage is not None
        and parts.scheme == "https"
        and parts.port is None
        and re.search(storage, parts.host) is not None
    )


def _advice(address: Address, answer: Answer) -> str:
    if address.kind == "local file":
        return (
            "the file is gone, LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED is off, or no storage "
            "of kind “local files” covers its folder"
        )
    if address.kind == "cloud":
        return "check the project's cloud storage"
    return "the file is gone from the server" if answer.status == 404 else "check the key"


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
    tasks: Iterable[shapes.Task], tags: Sequence[ImageTag], missed: Missed | None = None
) -> list[ImageRef]:
    """One reference for each image of the tasks; names are unique.

    Args:
        tasks: as the server tells them.
        tags: of the labeling configuration.
        missed: told of the tasks that have no image; None says so in the log.
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
        (missed or _say)(without, tags)
    return images


def no_images(tasks: Sequence[int], tags: Sequence[ImageTag]) -> str:
    """How many tasks have no image, which, and where one was looked for."""
    named = ", ".join(map(str, tasks[:5])) + (" …" if len(tasks) > 5 else "")
    where = ", ".join(tag.value for tag in tags)
    return f"{len(tasks)} tasks have no image in {where} and are left out: {named}"


def _say(tasks: Sequence[int], tags: Sequence[ImageTag]) -> None:
    log.warning("%s", no_images(tasks, tags))


def images_of_project(
    connection: Connection,
    project: int,
    *,
    only_unlabelled: bool = False,
    missed: Missed | None = None,
    tell: Tell = untold,
) -> list[ImageRef]:
    """The images of a project's tasks.

    Args:
        connection: the server.
        project: its number.
        only_unlabelled: leave out tasks that have an annotation.
        missed: see `images_of_tasks`.
        tell: see `Connection.pages`.
    """
    tags = tags_of(connection, project)
    tasks = connection.pages({"project": project, "include": "id,data,total_annotations"}, tell)
    chosen = (t for t in tasks if not (only_unlabelled and t.get("total_annotations")))
    return images_of_tasks(chosen, tags, missed)


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


def check_images(
    connection: Connection, project: int, images: TaskImages, count: int = 5, tell: Tell = untold
) -> list[Checked]:
    """Open the images of a few tasks, spread over the project, and say what came of each.

    Args:
        connection: the server.
        project: its number.
        images: opens them.
        count: how many.
        tell: called page by page while the tasks are read, then after every image.
    """
    from detclipv2.inference.images import open_image

    found: list[Checked] = []

    def missed(tasks: Sequence[int], tags: Sequence[ImageTag]) -> None:
        said = no_images(tasks, tags)
        found.append(Checked(tasks[0], "", "no image", "nowhere", said, False))

    refs = images_of_project(connection, project, missed=missed, tell=tell)
    chosen = refs[:: max(1, len(refs) // count)][:count]
    for done, ref in enumerate(chosen, 1):
        address = read_address(ref.place)
        assert ref.task is not None
        place = "nowhere"
        try:
            place = images.place(ref.place)
            picture = open_image(images.read(ref))
            status, ok = f"ok, {picture.width} x {picture.height} px", True
        except (OSError, ValueError) as error:
            status, ok = str(error), False
        found.append(Checked(ref.task, ref.place[:200], address.kind, place[:300], status, ok))
        tell(done, len(chosen))
    return found
