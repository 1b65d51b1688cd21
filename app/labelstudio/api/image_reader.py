"""The content of tasks' images: from disk, the server or allowed hosts."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import quote, unquote_plus

import httpx

from app.http_reader import Response, ResponseError
from app.labelstudio.api.addresses import UPLOAD, Address, local_address, read_address
from app.labelstudio.api.connection import Connection
from app.labelstudio.api.errors import LabelStudioError
from app.runs.files import MAX_BYTES, SourceError
from app.runs.records import ImageRef
from app.runs.sources import Hosts, fetch

_NO_FILES = frozenset({"admin", "api", "django-rq", "logout", "organization", "user"})
"""What a server's addresses begin with that are no files."""
_STORAGES = {
    "s3": r"(^|\.)s3[.-]([a-z0-9-]+\.)*amazonaws\.com(\.cn)?$",
    "gs": r"(^|\.)storage\.googleapis\.com$",
    "azure-blob": r"\.blob\.core\.windows\.net$",
    "azure-spi": r"\.blob\.core\.windows\.net$",
}
"""Hosts that the clouds hand files out from, by the scheme of a task's address."""


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
        except (ResponseError, LabelStudioError, httpx.HTTPError) as error:
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


def _advice(address: Address, answer: Response) -> str:
    if address.kind == "local file":
        return (
            "the file is gone, LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED is off, or no storage "
            "of kind “local files” covers its folder"
        )
    if address.kind == "cloud":
        return "check the project's cloud storage"
    return "the file is gone from the server" if answer.status == 404 else "check the key"
