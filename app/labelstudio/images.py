"""Addresses of images in tasks ↔ files: one resolver for every spelling Label Studio knows."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote, unquote_plus

import httpx

from app.answers import Answer, AnswerError
from app.labelstudio.connection import Connection, LabelStudioError
from app.progress import Tell, untold
from app.runs.files import MAX_BYTES, SourceError
from app.runs.records import ImageRef
from app.runs.sources import Hosts, fetch

Kind = Literal["local file", "upload", "cloud", "address", "inline"]

_LOCAL = "/data/local-files/"
_UPLOAD = "/data/upload/"
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
class Address:
    """What an image's address in a task means.

    Attributes:
        kind: where it leads.
        path: of a local file relative to the document root, of an upload its name on the server,
            else the address itself.
    """

    kind: Kind
    path: str

    @property
    def key(self) -> str:
        """Equal for all spellings of the same image."""
        return f"{self.kind}:{self.path}"

    @property
    def file_name(self) -> str:
        """The image's folders and name; of addresses and clouds without host or bucket."""
        path = self.path
        if self.kind == "address":  # elsewhere "#" and "?" are part of the name
            path = re.split(r"[?#]", path, maxsplit=1)[0]
        if self.kind in ("address", "cloud") and "://" in path:
            path = path.split("://", 1)[1].partition("/")[2]
        return path.strip("/")


@dataclass(frozen=True)
class Checked:
    """One task's image as it was found: address, what it means, and what came of opening it."""

    task: int
    url: str
    kind: str
    place: str
    status: str
    ok: bool


def read_address(url: str) -> Address:
    """Take an address apart: host prefixes and sub-paths go, percent signs are decoded."""
    if url.startswith("data:"):
        return Address("inline", url)
    if _LOCAL in url and "?d=" in url:
        # A raw "#" is part of the name here, though a browser would cut it off.
        path = unquote_plus(url.split("?d=", 1)[1].split("&", 1)[0]).replace("\\", "/")
        return Address("local file", str(PurePosixPath(path)).lstrip("/"))
    if _UPLOAD in url:
        return Address("upload", unquote_plus(url.split(_UPLOAD, 1)[1].split("?", 1)[0]))
    if (original := _unresolved(url)) is not None:
        return Address("cloud", original)
    if re.match(r"(s3|gs|azure-blob|azure-spi|redis)://", url):
        return Address("cloud", url)
    return Address("address", url)


def _unresolved(url: str) -> str | None:
    """The address in a cloud behind the one that the server makes of it for its pages."""
    found = re.search(r"/(?:tasks|projects)/\d+/(?:resolve|presign)/\?fileuri=([\w=-]+)", url)
    if found is None:
        return None
    try:
        return base64.urlsafe_b64decode(found[1]).decode()
    except ValueError:  # somebody else's address that looks like it
        return None


def local_address(relative: str, sub_path: str = "") -> str:
    """The address that storage sync gives a file.

    Args:
        relative: its path below the document root.
        sub_path: of the server, which pages need in front of it.
    """
    return f"{sub_path}{_LOCAL}?d={quote(relative)}"


class TaskImages:
    """Reads images of tasks, from the disk where it can, else through the server.

    Args:
        connection: the server; its key goes to that server only.
        document_root: Label Studio's LOCAL_FILES_DOCUMENT_ROOT when this machine has it.
        hosts: other hosts that task data, and the server's redirects, may name; the storage of a
            task in a cloud is one of them already.
    """

    def __init__(
        self, connection: Connection, *, document_root: Path | None = None,
        hosts: Hosts | None = None,
    ) -> None:  # fmt: skip
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
            path = _UPLOAD + quote(address.path)
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
        storage is not None and parts.scheme == "https" and parts.port is None
        and re.search(storage, parts.host) is not None
    )  # fmt: skip


def _advice(address: Address, answer: Answer) -> str:
    if address.kind == "local file":
        return (
            "the file is gone, LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED is off, or no storage "
            "of kind “local files” covers its folder"
        )
    if address.kind == "cloud":
        return "check the project's cloud storage"
    return "the file is gone from the server" if answer.status == 404 else "check the key"


def address_of(data: Mapping[str, Any], key: str) -> str | None:
    """The image's address in a task's data; None when the task has none."""
    value = data.get(key)
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str) and value else None


def images_of_tasks(tasks: Iterable[Mapping[str, Any]], key: str) -> list[ImageRef]:
    """One reference a task; tasks without an image are left out, names are unique."""
    images: list[ImageRef] = []
    taken: set[str] = set()
    for task in tasks:
        url = address_of(task.get("data", {}), key)
        if url is None:
            continue
        address = read_address(url)
        name = f"{task['id']}.jpg" if address.kind == "inline" else address.file_name
        name = name or str(task["id"])
        if name in taken:
            name = f"{task['id']}/{name}"
        taken.add(name)
        images.append(ImageRef(name, url, None, int(task["id"])))
    return images


def images_of_project(
    connection: Connection, project: int, *, only_unlabelled: bool = False, key: str | None = None,
    tell: Tell = untold,
) -> list[ImageRef]:  # fmt: skip
    """The images of a project's tasks.

    Args:
        connection: the server.
        project: its number.
        only_unlabelled: leave out tasks that have an annotation.
        key: which part of the task's data holds the image; None asks the configuration.
        tell: see `Connection.pages`.
    """
    if key is None:
        key = image_key(connection, project)
    tasks = connection.pages({"project": project, "include": "id,data,total_annotations"}, tell)
    return images_of_tasks(
        (t for t in tasks if not (only_unlabelled and t.get("total_annotations"))), key
    )


def image_key(connection: Connection, project: int) -> str:
    """Which part of a task's data holds the image, by the project's configuration."""
    found = connection.project(project)
    match = re.search(r"<Image\b[^>]*\bvalue\s*=\s*[\"']\$(\w+)", found.get("label_config") or "")
    if match is None:
        raise LabelStudioError(
            f'project {project} has no <Image value="$…"> in its labeling configuration'
        )
    return match[1]


def check_images(
    connection: Connection, project: int, images: TaskImages, count: int = 5,
    tell: Tell = untold,
) -> list[Checked]:  # fmt: skip
    """Open the images of a few tasks, spread over the project, and say what came of each.

    Args:
        connection: the server.
        project: its number.
        images: opens them.
        count: how many.
        tell: called page by page while the tasks are read, then after every image.
    """
    from detclipv2.inference.images import open_image

    refs = images_of_project(connection, project, tell=tell)
    chosen = refs[:: max(1, len(refs) // count)][:count]
    found: list[Checked] = []
    for ref in chosen:
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
        tell(len(found), len(chosen))
    return found
