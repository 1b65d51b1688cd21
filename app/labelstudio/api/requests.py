"""Requests to one server, signed with its key; what goes wrong in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from app.http_reader import Limits, Reader, Response, ResponseError
from app.labelstudio.api import shapes
from app.labelstudio.api.environment import server_address
from app.labelstudio.api.errors import LabelStudioError, refused
from app.labelstudio.api.keys import Key, is_below
from app.labelstudio.api.shapes import checked, parse_json
from app.runs.files import MAX_BYTES

MAX_JSON = 128 * 2**20
"""Bytes of one answer; a page of tasks with hundreds of boxes each has a tenth of it."""
_PATIENCE = 3  # times the longest wait for the next bytes, for a whole answer


class SignedRequests:
    """A server and a key. The key is kept in memory only; no message shows it.

    Args:
        url: the server's address.
        key: a personal access token or a legacy token.
        timeout: seconds to wait for the next bytes; a whole answer may take three times as long.
        transport: sends the requests; None for the network.

    Raises:
        LabelStudioError: an address or a key that cannot be one.
    """

    def __init__(
        self, url: str, key: str, timeout: float, transport: httpx.BaseTransport | None
    ) -> None:
        self.url = server_address(url)
        self._key = Key(self.url, key)
        self.key_kind = self._key.kind
        self._seconds = timeout * _PATIENCE
        self._reader = Reader(timeout, transport)

    def fetch(self, path: str, elsewhere: Callable[[str], None]) -> Response:
        """The raw answer to a read, e.g. a file.

        Args:
            path: on the server.
            elsewhere: called with an address on another server where the file is said to lie;
                raises if it may not be asked. It never sees the key.

        Raises:
            LabelStudioError: the key is refused.
            AnswerError: the answer breaks a limit.
            httpx.TransportError: there is no answer.
        """

        def check(url: httpx.URL) -> Mapping[str, str]:
            if is_below(url, self._key.server):
                return self._key.sign(url)
            elsewhere(str(url))
            return {}

        return self._ask("GET", self._address(path), check, MAX_BYTES)

    def close(self) -> None:
        """Close its sockets."""
        self._reader.close()

    def send(self, method: str, path: str, *, what: str = "", **content: Any) -> Any:
        """Send a request once; returns the answer's JSON, None for an empty one.

        Raises:
            LabelStudioError: with `lost` when a write may have happened nevertheless.
        """
        try:
            answer = self._ask(method, self._address(path), self._own, MAX_JSON, **content)
        except httpx.ConnectError as error:
            raise LabelStudioError(
                f"{self.url} cannot be reached ({error}); check the address, and that it runs",
                busy=True,
            ) from error
        except httpx.TransportError as error:
            raise LabelStudioError(
                f"{self.url} did not answer ({str(error) or type(error).__name__}); it may be "
                "busy; start again, what arrived is not sent twice",
                lost=True,
                busy=True,
            ) from error
        except ResponseError as error:
            raise LabelStudioError(f"{error}; is this Label Studio?", lost=True) from error
        if answer.status >= 400:
            raise refused(answer.status, self._reason(answer), what or path, self.key_kind)
        if answer.status >= 300:
            raise LabelStudioError(
                f"{self.url}{path} answers {answer.status} without saying where to go instead; "
                "check the address, with its sub-path",
                status=answer.status,
                lost=True,
            )
        return self._json(answer, path) if answer.content else None

    def _json(self, answer: Response, path: str) -> Any:
        try:
            return parse_json(answer.content)
        except ValueError as error:
            raise LabelStudioError(
                f"{self.url}{path} answers no JSON ({str(error)[:200]}); is this Label Studio, "
                "with its sub-path?",
                status=answer.status,
                lost=True,
            ) from error

    def _ask(
        self,
        method: str,
        url: httpx.URL,
        check: Callable[[httpx.URL], Mapping[str, str]],
        size: int,
        **content: Any,
    ) -> Response:
        """Ask once; again if a personal token's access token has expired."""
        limits = Limits(size, self._seconds)
        if not self._key.access:
            self._exchange()
        answer = self._reader.ask(method, url, check, limits, **content)
        if answer.status == 401 and self._key.personal:
            self._exchange()
            answer = self._reader.ask(method, url, check, limits, **content)
        return answer

    def _exchange(self) -> None:
        """Get an access token for a personal one."""
        path = "/api/token/refresh/"

        def check(url: httpx.URL) -> Mapping[str, str]:
            self._own(url)
            return {}

        limits = Limits(MAX_JSON, self._seconds)
        answer = self._reader.ask(
            "POST", self._address(path), check, limits, json=self._key.exchange
        )
        if answer.status != 200:
            status = 401 if answer.status in (400, 403) else answer.status
            raise refused(status, self._reason(answer), "the key", self.key_kind)
        self._key.access = checked(shapes.AccessToken, self._json(answer, path), path)["access"]

    def _own(self, url: httpx.URL) -> Mapping[str, str]:
        """The key's header, for addresses of this server."""
        if not is_below(url, self._key.server):
            raise LabelStudioError(
                f"{self.url} sends its requests on to {url}, and the key is not sent there; if "
                "this is the same Label Studio, use its address as it is there"
            )
        return self._key.sign(url)

    def _address(self, path: str) -> httpx.URL:
        try:
            url = httpx.URL(self.url + path)
        except httpx.InvalidURL as error:
            raise LabelStudioError(f"{path[:200]!r} is no path ({error})") from error
        if not path.startswith("/") or not is_below(url, self._key.server):
            raise LabelStudioError(f"{path[:200]!r} is no path on {self.url}; it is not asked for")
        return url

    def _reason(self, answer: Response) -> str:
        """What the server says went wrong."""
        try:
            body = parse_json(answer.content)
            reason = str(body.get("validation_errors") or body.get("detail") or body)
        except (ValueError, AttributeError):
            reason = answer.content[:2000].decode("utf-8", "replace")
        return self._key.hidden(reason)[:400]
