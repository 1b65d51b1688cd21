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
answer late), "late" (hang up, do it a second later), "drop" (drop the request), or a status to
answer, e.g. "500"."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: str
    fault: Fault

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
        method, url = self.command, self.target + self.path

        def ask() -> httpx.Response:
            return httpx.request(method, url, content=body, headers=headers, timeout=120)

        if what == "late":
            threading.Timer(1.2, ask).start()
            self.close_connection = True
            return
        answer = ask()
        if what == "double":
            answer = ask()
        if what == "slow":
            time.sleep(8)
        if what == "lose":
            self.close_connection = True
            return
        kind = answer.headers.get("content-type", "application/json")
        self._answer(answer.status_code, answer.content, kind)

    do_GET = do_POST = do_PATCH = do_DELETE = _pass

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def faulty(target: str, fault: Fault) -> Iterator[str]:
    """Address of a proxy before `target`."""
    handler = type("Handler", (_Handler,), {"target": target, "fault": staticmethod(fault)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
