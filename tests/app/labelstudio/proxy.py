"""A real HTTP proxy before the real server: passes everything on, and fails as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

Fault = Callable[[str, str], str]
"""(method, path) → "pass", "lose" (do it, drop the answer), "double" (do it twice), "slow" (do it,
answer late), "hold" (hang up, keep the request), "release" (do what is held, then this one), "drop"
(drop the request), or a status to answer, e.g. "500"."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: str
    prefix: str
    fault: Fault
    held: list[Callable[[], httpx.Response]]

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        what = type(self).fault(self.command, self.path)
        if what == "drop":
            self.close_connection = True
            return
        if what.isdigit():
            self._answer(int(what), b'{"detail": "injected"}', "application/json")
            return
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        if not self.path.startswith(f"{self.prefix}/"):
            self._answer(404, b"nothing here", "text/plain")
            return
        method, url = self.command, self.target + self.path.removeprefix(self.prefix)

        def ask() -> httpx.Response:
            return httpx.request(method, url, content=body, headers=headers, timeout=120)

        if what == "hold":
            self.held.append(ask)
            self.close_connection = True
            return
        while what == "release" and self.held:
            self.held.pop()()
        answer = ask()
        if what == "double":
            answer = ask()
        if what == "slow":
            time.sleep(8)
        if what == "lose":
            self.close_connection = True
            return
        kind = answer.headers.get("content-type", "application/json")
        self._answer(answer.status_code, answer.content, kind, answer.headers.get("location"))

    do_GET = do_POST = do_PATCH = do_DELETE = _pass

    def _answer(self, status: int, content: bytes, kind: str, location: str | None = None) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def faulty(target: str, fault: Fault) -> Iterator[str]:
    """Address of a proxy before `target` that fails as it is told."""
    with _proxy(target, "", fault) as url:
        yield url


@contextmanager
def mounted(target: str, prefix: str) -> Iterator[str]:
    """Address of a proxy that has `target` under a sub-path, and nothing else."""
    with _proxy(target, prefix, lambda method, path: "pass") as url:
        yield url + prefix


@contextmanager
def _proxy(target: str, prefix: str, fault: Fault) -> Iterator[str]:
    members = {"target": target, "prefix": prefix, "fault": staticmethod(fault), "held": []}
    with serving(type("Handler", (_Handler,), members)) as url:
        yield url


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Address of an HTTP server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
