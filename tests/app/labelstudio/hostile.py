"""A server whose answers never end, are too large, lead elsewhere or have the wrong shape."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

from app.labelstudio.api.connection import Connection
from tests.app.labelstudio.desk import CONFIG
from tests.app.labelstudio.proxy import serving

Script = Callable[["Wire"], None]


class Wire(BaseHTTPRequestHandler):
    """One request; `script` answers it."""

    protocol_version = "HTTP/1.1"
    script: Script
    seen: list[tuple[str, str, str | None]]

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.path, self.headers.get("Authorization")))
        self.close_connection = True
        with suppress(OSError):  # the client hung up, as it should
            type(self).script(self)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def head(self, status: int = 200, **headers: object) -> None:
        """Send a status and headers; `_` in a name stands for `-`."""
        self.send_response(status)
        for name, value in {"Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def body(self, content: bytes, status: int = 200, **headers: object) -> None:
        """Send a whole answer."""
        self.head(status, Content_Length=len(content), **headers)
        self.wfile.write(content)

    def json(self, value: Any) -> None:
        """Send JSON."""
        self.body(json.dumps(value).encode(), Content_Type="application/json")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hostile(script: Script) -> Iterator[tuple[str, list[tuple[str, str, str | None]]]]:
    """Address of a server that answers as `script` does, and the requests that it saw."""
    seen: list[tuple[str, str, str | None]] = []
    with serving(type("Hostile", (Wire,), {"script": staticmethod(script), "seen": seen})) as url:
        yield url, seen


def bomb(size: int, layers: int = 1) -> bytes:
    """A gzip of `size` zeros, which is packed again and again."""
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(2**20)
    content = b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()
    for _ in range(layers - 1):
        packer = zlib.compressobj(9, wbits=31)
        content = packer.compress(content) + packer.flush()
    return content


def drip(wire: Wire, content: bytes, pause: float = 0.05) -> None:
    """Send a byte, wait, send the next one."""
    for byte in content:
        wire.wfile.write(bytes([byte]))
        wire.wfile.flush()
        time.sleep(pause)


KEY = "7" * 40
PROJECT = {"id": 1, "title": "p", "label_config": CONFIG, "model_version": ""}


def at(url: str) -> Connection:
    return Connection(url, KEY, timeout=5)
