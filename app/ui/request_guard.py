"""Which HTTP requests the page's server answers: those under its own names, from its own page.

A browser lets every web page send requests to this machine, and a foreign name may resolve to it.
So the `Host` header, the `Origin` and the browser's own account of where a request comes from
(`Sec-Fetch-*`) are checked before any handler runs, for pages, files, uploads and web sockets.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.ui.shared.access import TOKEN_HEADER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What proxies say of the visitor behind them; anybody can write it.
_FORWARDED = re.compile(
    rb"x-forwarded-.*|forwarded|via|x-real-ip|x-client-ip|x-cluster-client-ip|true-client-ip|"
    rb"cf-connecting-ip|fly-client-ip|fastly-client-ip|x-original-.*|x-rewrite-url|x-envoy-.*"
)
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_OWN = ("same-origin", "none")
_HEADERS = (
    # Nothing of the page comes from elsewhere, so that nothing can report elsewhere either; gradio
    # runs inline scripts and makes functions of texts.
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
        b"base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class ServedNameError(ValueError):
    """A name given with `--allow-host` that no Host header can have."""


@dataclass(frozen=True)
class ServedNames:
    """The names and addresses under which a server answers.

    Attributes:
        names: host names and addresses, in lower case, without ports.
        any_address: whether every IP address counts, as for a server on all of a machine's
            addresses. An address is no risk: only a name can be made to lead here.
    """

    names: frozenset[str] = frozenset()
    any_address: bool = False

    @classmethod
    def of(cls, host: str, allowed: Iterable[str] = ()) -> ServedNames:
        """The names of a server that listens on `host`, and those that were allowed.

        Raises:
            ServedNameError: an allowed name that cannot be one.
        """
        names = set()
        for name in allowed:
            read = _read_host(name)
            if read is None:
                raise ServedNameError(
                    f"{name!r} is no host name; write it as browsers do, e.g. photos.example"
                )
            names.add(read[0])
        everywhere = is_wildcard(host)
        own = _read_host(f"[{host}]" if ":" in host else host)
        names.add(socket.gethostname().lower() if everywhere or own is None else own[0])
        return cls(frozenset(names), everywhere)

    def __contains__(self, name: str) -> bool:
        if is_loopback(name) or name in self.names:
            return True
        return self.any_address and _address(name) is not None


def is_wildcard(host: str) -> bool:
    """Whether a server on `host` listens on all addresses of its machine."""
    address = _address(host)
    return not host or (address is not None and address.is_unspecified)


def is_loopback(host: str) -> bool:
    """Whether a server on `host` can be reached from its own machine only."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


class RequestGuard:
    """ASGI middleware that refuses requests under foreign names and from foreign pages.

    What proxies say of visitors counts only from those that are trusted. Whoever comes through
    another has no session token here, whatever they send.
    """

    def __init__(
        self, app: ASGIApp, names: ServedNames, trusted_proxies: Sequence[str] = ()
    ) -> None:
        """Stand before `app`.

        Args:
            app: what answers.
            names: the names under which it does.
            trusted_proxies: addresses or networks of proxies that are believed when they say where
                a visitor comes from and by which scheme.

        Raises:
            ValueError: a proxy that is neither address nor network.
        """
        self._names = names
        self._networks = tuple(ip_network(proxy, strict=False) for proxy in trusted_proxies)
        self._app = app
        self._behind_proxy = ProxyHeadersMiddleware(
            _without_forwarded(app), list(map(str, self._networks))
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse in one line that names the fix."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = refuse(scope, self._names)
        if refusal is not None:
            await _refuse(scope, send, refusal)
        elif self._trusts(scope.get("client")):
            await self._behind_proxy({**scope}, receive, _with_headers(send))  # type: ignore[arg-type]
        else:
            await self._app(_unproxied(scope), receive, _with_headers(send))

    def _trusts(self, client: tuple[str, int] | None) -> bool:
        address = None if client is None else _address(client[0])
        return address is not None and any(address in network for network in self._networks)


def _unproxied(scope: Scope) -> Scope:
    """A request without what proxies said; one of which they said something has no token."""
    headers = _own_headers(scope)
    if len(headers) < len(scope["headers"]):
        headers = [(n, v) for n, v in headers if n.lower() != TOKEN_HEADER.encode()]
    return {**scope, "headers": headers}


def _without_forwarded(app: ASGIApp) -> Any:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        if "headers" in scope:
            scope = {**scope, "headers": _own_headers(scope)}
        await app(scope, receive, send)

    return inner


def _own_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    return [(n, v) for n, v in scope["headers"] if not _FORWARDED.fullmatch(n.lower())]


def refuse(scope: Scope, names: ServedNames) -> str | None:
    """Why a request is not answered; None for one that is."""
    hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
    host = _read_host(hosts[0]) if len(hosts) == 1 else None
    if host is None or host[0] not in names:
        shown = ", ".join(hosts)[:100] or "none"
        return (
            f"unknown Host ({shown}): open the page under the address that was printed when it "
            "started, or start it with --allow-host NAME"
        )
    if len(origins) > 1 or any(not _same_origin(origin, host) for origin in origins):
        return f"requests of other pages are refused (Origin: {', '.join(origins)[:100]})"
    for site in _values(scope, b"sec-fetch-site"):
        if site.strip().lower() not in _OWN and not _is_followed_link(scope):
            return f"requests of other pages are refused (Sec-Fetch-Site: {site[:40]})"
    return None


def _is_followed_link(scope: Scope) -> bool:
    """Whether a browser opens the page itself, in a tab of its own."""
    asked = [_values(scope, name) for name in (b"sec-fetch-mode", b"sec-fetch-dest")]
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and scope["path"].removeprefix(scope.get("root_path", "")) in ("", "/")
        and asked == [["navigate"], ["document"]]
    )


def _same_origin(origin: str, host: tuple[str, int | None]) -> bool:
    try:
        parts = urlsplit(origin.strip().lower())
        own = (parts.hostname or "", parts.port)
    except ValueError:
        return False
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    if usual is None or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return False
    return (own[0], own[1] or usual) == (host[0].strip("[]"), host[1] or usual)


def _read_host(text: str) -> tuple[str, int | None] | None:
    """Name and port of a Host header; None for one that is no host."""
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^\[\]:/@\s]+)(?::(\d{1,5}))?", text.strip().lower())
    if found is None:
        return None
    name, port = found[1].removesuffix("."), found[2]
    if _address(name) is None and not _NAME.fullmatch(name):
        return None
    return name, None if port is None else int(port)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name.strip("[]"))
    except ValueError:
        return None


def _values(scope: Scope, name: bytes) -> list[str]:
    return [v.decode("latin-1") for n, v in scope["headers"] if n.lower() == name]


async def _refuse(scope: Scope, send: Send, why: str) -> None:
    if scope["type"] == "websocket":  # before it is accepted: the handshake is answered with 403
        await send({"type": "websocket.close", "code": 1008, "reason": why})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": f"Refused: {why}.\n".encode()})


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await send(message)

    return sent
