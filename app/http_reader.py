"""HTTP answers, read within limits: bytes once unpacked, seconds in all, redirects.

httpx bounds the wait for the next bytes only, and unpacks whatever they become: an answer that
drips never ends there, and one of a few megabytes can fill the memory.
"""

from __future__ import annotations

import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

Check = Callable[[httpx.URL], Mapping[str, str]]
"""Called with every address before it is asked: raises if it is not allowed, else gives the headers
that this address may see."""


class ResponseError(ValueError):
    """An answer that is not taken; the message names the limit that it broke."""


@dataclass(frozen=True)
class Limits:
    """What one answer may take, all redirects together.

    Attributes:
        size: bytes, once unpacked.
        seconds: from the first byte sent to the last received.
        redirects: how often it may lead elsewhere.
    """

    size: int
    seconds: float
    redirects: int = 5


@dataclass(frozen=True)
class Response:
    """An answer that was read to its end.

    Attributes:
        url: where it came from in the end.
        status: its HTTP status.
        content: its bytes, unpacked.
    """

    url: httpx.URL
    status: int
    content: bytes


@dataclass
class _ThreadClient:
    """The client of one thread, and its sockets, which its deadline may shut down."""

    client: httpx.Client
    sockets: list[socket.socket] = field(default_factory=list)

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Every socket that is opened, as httpcore traces it."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self.sockets = [one for one in self.sockets if one.fileno() >= 0]
            self.sockets.append(info["return_value"].get_extra_info("socket"))

    def shut_down(self) -> None:
        """End whatever is being read or sent."""
        for one in self.sockets:
            with suppress(OSError):  # closed by now
                one.shutdown(socket.SHUT_RDWR)


class Reader:
    """Asks, and reads answers within limits. Thread-safe.

    Args:
        timeout: seconds to wait for the next bytes, and for a connection at most 10.
        transport: sends the requests; None for the network.
    """

    def __init__(self, timeout: float, transport: httpx.BaseTransport | None = None) -> None:
        self._timeout = httpx.Timeout(timeout, connect=min(10.0, timeout))
        self._transport = transport
        self._local = threading.local()
        self._clients: list[httpx.Client] = []

    def ask(
        self, method: str, url: httpx.URL, check: Check, limits: Limits, **content: Any
    ) -> Response:
        """Send a request; redirects of reads are followed, as far as `check` allows them.

        Args:
            method: e.g. GET; only GET is sent again where a redirect leads.
            url: where to.
            check: see `Check`.
            limits: of the answer.
            content: of the request, as for `httpx.Client.build_request`.

        Raises:
            AnswerError: the answer breaks a limit.
            httpx.TransportError: there is no answer.
        """
        own = self._thread_client()
        with _deadline(own, url, limits.seconds) as late:
            for _ in range(limits.redirects + 1):
                headers = {"Accept-Encoding": "gzip", **check(url)}
                request = own.client.build_request(method, url, headers=headers, **content)
                request.extensions["trace"] = own.note
                try:
                    answer = own.client.send(request, stream=True)
                except httpx.InvalidURL as error:  # httpx looks at redirects, too
                    raise ResponseError(f"{url}: redirected to no address ({error})") from error
                try:
                    target = _target(answer)
                    if target is None:
                        body = _body(answer, limits)
                        if late.is_set():  # an end that we made ourselves
                            raise httpx.ReadError("hung up")
                        return Response(url, answer.status_code, body)
                finally:
                    answer.close()
                _may_lead(url, target, method, check)
                url = target
                content.pop("params", None)  # they are part of the address that was redirected
        raise ResponseError(f"{url}: redirected {limits.redirects} times; use the final address")

    def close(self) -> None:
        """Close all sockets."""
        for client in self._clients:
            client.close()

    def _thread_client(self) -> _ThreadClient:
        own: _ThreadClient | None = getattr(self._local, "own", None)
        if own is None:
            client = httpx.Client(timeout=self._timeout, transport=self._transport)
            own = self._local.own = _ThreadClient(client)
            self._clients.append(client)
        return own


@contextmanager
def _deadline(own: _ThreadClient, url: httpx.URL, seconds: float) -> Iterator[threading.Event]:
    late = threading.Event()

    def end() -> None:
        late.set()
        own.shut_down()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield late
    except httpx.TransportError as error:
        if late.is_set():
            raise ResponseError(f"{url}: the answer did not end within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()


def _target(answer: httpx.Response) -> httpx.URL | None:
    """Where a redirect leads; None when it is none."""
    if not answer.has_redirect_location:
        return None
    try:
        return answer.url.join(answer.headers["location"])
    except httpx.InvalidURL as error:
        raise ResponseError(f"{answer.url}: redirected to no address ({error})") from error


def _may_lead(url: httpx.URL, target: httpx.URL, method: str, check: Check) -> None:
    if url.scheme == "https" and target.scheme != "https":
        raise ResponseError(f"{url}: redirected from https to {target}, which anybody could read")
    check(target)
    if method != "GET":
        raise ResponseError(f"{url}: redirected to {target}, and a write is not sent twice")


def _body(answer: httpx.Response, limits: Limits) -> bytes:
    """The content, unpacked no further than the limit."""
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise ResponseError(f"{answer.url}: the answer is packed as {coding[:40]!r}, not as gzip")
    packed = None if coding == "identity" else zlib.decompressobj(wbits=31)
    content = bytearray()
    try:
        for chunk in answer.iter_raw():
            if packed is not None:
                chunk = packed.decompress(chunk, limits.size - len(content) + 1)
            content += chunk
            if len(content) > limits.size:
                raise ResponseError(f"{answer.url}: the answer has more than {limits.size:,} bytes")
    except zlib.error as error:
        raise ResponseError(f"{answer.url}: the answer is no gzip ({error})") from error
    if packed is not None and content and not packed.eof:
        raise ResponseError(f"{answer.url}: the answer ends too early")
    return bytes(content)
