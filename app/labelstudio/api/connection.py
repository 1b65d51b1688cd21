"""One way to a Label Studio server: key, errors in plain words, reads that are repeated.

The SDK repeats every request that fails, writes too, and the server does not notice a repeated
import; so writes go out once here, and whoever writes reads back what arrived. The SDK is used for
what it knows best, labeling configurations (`config_map`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from app.http_reader import Response
from app.labelstudio.api import shapes
from app.labelstudio.api.environment import (
    KEY_VARIABLES,
    URL_VARIABLES,
    environment_address,
    environment_key,
    server_address,
)
from app.labelstudio.api.errors import LabelStudioError
from app.labelstudio.api.requests import SignedRequests
from app.labelstudio.api.shapes import checked
from app.progress import OnProgress, ignore_progress

__all__ = ["KEY_VARIABLES", "URL_VARIABLES", "Account", "Connection", "LabelStudioError"]

PAGE = 500
MAX_PAGES = 20_000
"""Of tasks; servers that give few a page included, these are some millions."""
_PROJECTS = 100  # a page; the server gives no more
_TRIES = 4


@dataclass(frozen=True)
class Account:
    """Who the key belongs to, and what answered."""

    url: str
    email: str
    key_kind: str
    server: str
    projects: int


class Connection:
    """A server and a key. The key is kept in memory only; no message or repr shows it.

    Args:
        url: the server's address, with the sub-path if it is deployed under one.
        key: a personal access token or a legacy token.
        timeout: seconds to wait for the next bytes; a whole answer may take three times as long.
        transport: sends the requests; None for the network.

    Raises:
        LabelStudioError: an address or a key that cannot be one.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 100,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._requests = SignedRequests(url, key, timeout, transport)
        self.url = self._requests.url
        self.key_kind = self._requests.key_kind

    @classmethod
    def from_environment(cls, url: str | None = None, key: str | None = None) -> Connection:
        """Arguments first, then the environment; its key goes to its own server only.

        Args:
            url: the server; None for the one that the environment names.
            key: its key; None for the environment's.

        Raises:
            LabelStudioError: no address, no key, or a key of the environment for another server.
        """
        server = server_address(url) if url else environment_address()
        if server is None:
            raise LabelStudioError(f"no server is named; use --url or set {URL_VARIABLES[0]}")
        return cls(server, key or environment_key(server))

    @property
    def sub_path(self) -> str:
        """What the server's addresses begin with: "/labels", or nothing."""
        return httpx.URL(self.url).raw_path.decode("ascii").rstrip("/")

    def __repr__(self) -> str:
        return f"Connection({self.url!r}, {self.key_kind})"

    def check(self) -> Account:
        """Who am I, and is the server there?"""
        me = self.read(shapes.Person, "/api/current-user/whoami")
        version = self.read(shapes.Version, "/api/version")
        page = self.read(
            shapes.ProjectPage, "/api/projects/", params={"page_size": 1, "include": "id"}
        )
        return Account(
            self.url,
            me.get("email", "?"),
            self.key_kind,
            version.get("release", "?"),
            page.get("count", 0),
        )

    def project(self, number: int) -> shapes.Project:
        """A project's title, labeling configuration and what it shows to labelers."""
        return self.read(shapes.Project, f"/api/projects/{number}/", what=f"project {number}")

    def projects(self, most: int = 500) -> list[tuple[int, str]]:
        """Number and title of the account's projects, the newest first."""
        found: list[tuple[int, str]] = []
        for page in range(1, most // _PROJECTS + 1):
            answer = self.read(
                shapes.ProjectPage,
                "/api/projects/",
                params={
                    "include": "id,title",
                    "ordering": "-id",
                    "page": page,
                    "page_size": _PROJECTS,
                },
            )
            found += [(one["id"], one.get("title") or "") for one in answer["results"]]
            if answer.get("next") is None:
                break
        return found[:most]

    def read(
        self,
        kind: type[shapes.Shape],
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        what: str = "",
    ) -> shapes.Shape:
        """`get`, and the answer is as `kind` says."""
        return checked(kind, self.get(path, params=params, what=what), what or path)

    def get(self, path: str, *, params: Mapping[str, Any] | None = None, what: str = "") -> Any:
        """A read; repeated with growing pauses when the server is busy or does not answer."""
        for attempt in range(_TRIES):
            try:
                return self._requests.send("GET", path, params=params, what=what)
            except LabelStudioError as error:
                if not error.busy or attempt == _TRIES - 1:
                    raise
                time.sleep(0.2 * 4**attempt)
        raise AssertionError("unreachable")

    def write(self, method: str, path: str, *, what: str = "", **body: Any) -> Any:
        """A write; sent once.

        Raises:
            LabelStudioError: with `lost` when it may have happened nevertheless.
        """
        return self._requests.send(method, path, what=what, **body)

    def fetch(self, path: str, elsewhere: Callable[[str], None]) -> Response:
        """The raw answer to a read, e.g. a file; see `SignedRequests.fetch`."""
        return self._requests.fetch(path, elsewhere)

    def pages(
        self, params: Mapping[str, Any], on_progress: OnProgress = ignore_progress
    ) -> Iterator[shapes.Task]:
        """Tasks of a project, a page at a time; addresses in a cloud as they were written.

        Args:
            params: of the request.
            on_progress: called after every page, with tasks.
        """
        received, seen_ids = 0, set[int]()
        for page in range(1, MAX_PAGES + 1):
            paging = {"resolve_uri": "false", "page": page, "page_size": PAGE}
            answer = self.read(shapes.TaskPage, "/api/tasks/", params={**params, **paging})
            tasks, total = answer["tasks"], answer["total"]
            fresh = [task for task in tasks if task["id"] not in seen_ids]
            if tasks and not fresh:
                raise LabelStudioError(f"{self.url} gives the same tasks on page {page} again")
            seen_ids.update(task["id"] for task in fresh)
            yield from fresh
            received += len(tasks)  # a server may give fewer than it is asked for
            on_progress(min(received, total), total)
            if not tasks or received >= total:
                return
        raise LabelStudioError(f"{self.url} gives more than {MAX_PAGES:,} pages of tasks")

    def close(self) -> None:
        """Close its sockets."""
        self._requests.close()
