"""One way to a Label Studio server: key, errors in plain words, reads that are repeated.

The SDK repeats every request that fails, writes too, and the server does not notice a repeated
import; so writes go out once here, and whoever writes reads back what arrived. The SDK is used for
what it knows best, labeling configurations (`config_map`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from app.labelstudio.environment import (
    KEY_VARIABLES,
    URL_VARIABLES,
    environment_address,
    environment_key,
    server_address,
)
from app.labelstudio.errors import LabelStudioError
from app.labelstudio.keys import KeyAuth, kind_of_key
from app.progress import Tell, untold

__all__ = ["KEY_VARIABLES", "URL_VARIABLES", "Account", "Connection", "LabelStudioError"]

PAGE = 500
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
        timeout: seconds a request may take.

    Raises:
        LabelStudioError: an address or a key that cannot be one.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 100) -> None:
        self.url = server_address(url)
        if not key.strip():
            raise LabelStudioError(
                "there is no key; copy one from Label Studio's Account & Settings, or set "
                f"{KEY_VARIABLES[0]}"
            )
        self.key_kind = kind_of_key(key.strip())
        self.auth = KeyAuth(self.url, key.strip(), self._refused_key)
        self._http = httpx.Client(
            base_url=self.url, auth=self.auth, timeout=httpx.Timeout(timeout, connect=10)
        )

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
        me = self.get("/api/current-user/whoami")
        version = self.get("/api/version")
        projects = self.get("/api/projects/", params={"page_size": 1, "include": "id"})
        return Account(
            self.url, str(me.get("email", "?")), self.key_kind, str(version.get("release", "?")),
            int(projects.get("count", 0)),
        )  # fmt: skip

    def projects(self, most: int = 500) -> list[tuple[int, str]]:
        """Number and title of the account's projects, the newest first."""
        found: list[tuple[int, str]] = []
        for page in range(1, most // _PROJECTS + 1):
            answer = self.get(
                "/api/projects/",
                params={"include": "id,title", "ordering": "-id", "page": page,
                        "page_size": _PROJECTS},
            )  # fmt: skip
            found += [(int(one["id"]), str(one["title"])) for one in answer["results"]]
            if answer["next"] is None:
                break
        return found

    def get(self, path: str, *, params: Mapping[str, Any] | None = None, what: str = "") -> Any:
        """A read; repeated with growing pauses when the server is busy or does not answer."""
        for attempt in range(_TRIES):
            try:
                return self._once("GET", path, params=params, what=what)
            except LabelStudioError as error:
                busy = error.status is None or error.status == 429 or error.status >= 500
                if not busy or attempt == _TRIES - 1:
                    raise
                time.sleep(0.2 * 4**attempt)
        raise AssertionError("unreachable")

    def write(self, method: str, path: str, *, what: str = "", **body: Any) -> Any:
        """A write; sent once.

        Raises:
            LabelStudioError: with `lost` when it may have happened nevertheless.
        """
        return self._once(method, path, what=what, **body)

    def fetch(self, path: str) -> httpx.Response:
        """The raw answer to a read, e.g. a file; errors are left to the caller."""
        return self._http.get(path, follow_redirects=False)

    def pages(self, params: Mapping[str, Any], tell: Tell = untold) -> Iterator[dict[str, Any]]:
        """Tasks of a project, a page at a time; addresses in a cloud as they were written.

        Args:
            params: of the request.
            tell: called after every page, with tasks.
        """
        page, received = 1, 0
        while True:
            paging = {"resolve_uri": "false", "page": page, "page_size": PAGE}
            answer = self.get("/api/tasks/", params={**params, **paging})
            yield from answer["tasks"]
            received += len(answer["tasks"])  # a server may give fewer than it is asked for
            tell(min(received, answer["total"]), answer["total"])
            if not answer["tasks"] or received >= answer["total"]:
                return
            page += 1

    def close(self) -> None:
        """Close its sockets."""
        self._http.close()

    def _refused_key(self, answer: httpx.Response) -> LabelStudioError:
        return _explain(answer, "the key", self.key_kind, status=401)

    def _once(self, method: str, path: str, *, what: str = "", **more: Any) -> Any:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.ConnectError as error:
            raise LabelStudioError(
                f"{self.url} cannot be reached ({error}); check the address, and that it runs"
            ) from error
        except httpx.TransportError as error:
            raise LabelStudioError(
                f"{self.url} did not answer ({str(error) or type(error).__name__}); it may be "
                "busy; start again, what arrived is not sent twice",
                lost=True,
            ) from error
        if answer.status_code >= 400:
            raise _explain(answer, what or path, self.key_kind)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise LabelStudioError(
                f"{self.url}{path} answers no JSON; is this Label Studio, with its sub-path?",
                status=answer.status_code,
                lost=True,
            ) from error


def _explain(
    answer: httpx.Response, what: str, key_kind: str, *, status: int | None = None
) -> LabelStudioError:
    """A failed answer in words, with what to do."""
    status = status or answer.status_code
    try:
        body = answer.json()
        detail = str(body.get("validation_errors") or body.get("detail") or body)[:400]
    except (ValueError, AttributeError):
        detail = answer.text[:200]
    advice = {
        401: f"the server does not accept this {key_kind}: it is wrong, revoked, or of a kind "
        "that the organisation has switched off; copy a new one from Account & Settings",
        403: f"this account may not do this with {what}; ask the project's owner",
        404: f"{what} does not exist, or this account cannot see it; check the number",
        413: f"the server refuses a request of this size ({what}); use smaller chunks",
        429: "the server asks to slow down; wait a minute and start again",
    }
    if status in advice:
        message = advice[status]
    elif status >= 500:
        message = f"the server failed with {status} at {what}; look at its log and start again"
    else:
        message = f"the server refuses {what}"
    return LabelStudioError(f"{message} ({status}: {detail})", status=status, lost=status >= 500)
