"""Label Studio's keys: which kind one is, and how requests to its server are signed with it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Generator
from typing import Any

import httpx

from app.labelstudio.errors import LabelStudioError

Explain = Callable[[httpx.Response], LabelStudioError]


class KeyAuth(httpx.Auth):
    """`Token …` for legacy keys; personal tokens are exchanged for access tokens as they expire.

    Args:
        server: the address that the key belongs to; requests to others are refused, not signed.
        key: a personal access token, a short-lived access token or a legacy token.
        explain: puts a refusal of the key in words.
    """

    requires_response_body = True

    def __init__(self, server: str, key: str, explain: Explain) -> None:
        self._server = httpx.URL(server)
        self._key = key
        self._explain = explain
        self._personal = _claims(key).get("token_type") == "refresh"
        self._access = "" if self._personal else key

    def __repr__(self) -> str:
        return "<key>"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """httpx's way to sign requests.

        Raises:
            LabelStudioError: the request would leave the key's server.
        """
        if not is_below(request.url, self._server):
            raise LabelStudioError(
                f"the key of {self._server} is not sent to {request.url.scheme}://"
                f"{request.url.netloc.decode('ascii')}{request.url.path}"
            )
        if not self._personal:
            bearer = "Bearer" if _claims(self._key) else "Token"
            request.headers["Authorization"] = f"{bearer} {self._key}"
            yield request
            return
        if not self._access:
            yield from self._refresh()
        request.headers["Authorization"] = f"Bearer {self._access}"
        answer = yield request
        if answer.status_code == 401:
            yield from self._refresh()
            request.headers["Authorization"] = f"Bearer {self._access}"
            yield request

    def _refresh(self) -> Generator[httpx.Request, httpx.Response]:
        answer = yield httpx.Request(
            "POST", f"{str(self._server).rstrip('/')}/api/token/refresh/",
            json={"refresh": self._key},
        )  # fmt: skip
        if answer.status_code == 200:
            self._access = str(answer.json().get("access", ""))
        elif answer.status_code in (400, 401, 403):
            raise self._explain(answer)


def is_below(url: httpx.URL, server: httpx.URL) -> bool:
    """Whether an address is of this server: the same scheme, host and port, and its sub-path."""
    same = (url.scheme, url.host, url.port) == (server.scheme, server.host, server.port)
    if not same or ".." in url.path.split("/"):
        return False
    return f"{url.path}/".startswith(f"{server.path.rstrip('/')}/")


def kind_of_key(key: str) -> str:
    """Which of Label Studio's keys it is, from its form alone."""
    kind = _claims(key).get("token_type")
    if kind == "refresh":
        return "personal access token"
    return "short-lived access token" if kind else "legacy token"


def _claims(key: str) -> dict[str, Any]:
    """What a JWT says of itself, unverified; empty for other keys."""
    try:
        _, body, _ = key.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}
