"""What comes over HTTP: headers of requests to the page, bodies to the live backend."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.ui.request_guard import RequestGuard, ServedNames
from tests.app.ui.visitors import finished
from tests.fuzz.backend_bodies import odd_bodies
from tests.fuzz.bending import bent_text
from tests.fuzz.driver import Surface
from tests.fuzz.words import CONFIG, PIECES


def request_surfaces(checkpoint: Path) -> list[Surface]:
    """Those of requests."""
    return [
        Surface("requests", _requests, _request, ()),
        Surface("bodies to the live backend", _bodies, _Backend(checkpoint), (Refused,)),
    ]


def _requests(chance: random.Random) -> Iterator[list[tuple[bytes, bytes]]]:
    hosts = ("127.0.0.1:7860", "localhost", "[::1]:1", "evil.example", "127.0.0.1.evil.example")
    names = (
        "host",
        "origin",
        "sec-fetch-site",
        "x-forwarded-for",
        "forwarded",
        "via",
        "cookie",
        "x-forwarded-host",
        "sec-fetch-mode",
        "x-detclipv2-token",
        "",
    )
    while True:
        headers = [(b"host", chance.choice(hosts).encode())]
        for _ in range(chance.randrange(6)):
            value = chance.choice((*hosts, "http://localhost", "null", "cross-site", "navigate"))
            value = bent_text(value, PIECES, chance)[:4000]
            headers.append((chance.choice(names).encode(), value.encode("utf-8", "surrogatepass")))
        chance.shuffle(headers)
        yield headers


def _request(headers: list[tuple[bytes, bytes]]) -> None:
    """Answered or refused, and never answered under a foreign name."""
    passed, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "client": ("127.0.0.1", 1),
        "headers": headers,
    }
    guard = RequestGuard(app, ServedNames.of("127.0.0.1"))
    finished(guard(scope, None, send))  # type: ignore[arg-type]
    assert bool(passed) != (bool(sent) and sent[0]["status"] == 403)
    if passed:
        hosts = [value for name, value in headers if name == b"host"]
        assert len(hosts) == 1 and b"evil" not in hosts[0]
        assert not any(b"evil" in value for name, value in headers if name == b"origin")


class Refused(Exception):
    """The backend's answer to a body that it does not take."""


def _bodies(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    return odd_bodies(chance.randrange(2**32), 10**9)


class _Backend:
    """The real service, with a model of random weights and no Label Studio behind it."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        self._client: Any = None

    def __call__(self, given: tuple[str, bytes]) -> None:
        path, body = given
        if self._client is None:
            self._client = self._open()
        answer = self._client.post(path, content=body, headers={"Content-Type": "application/json"})
        if answer.status_code in (400, 422):
            raise Refused(answer.json()["detail"])
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text[:500]}"

    def _open(self) -> Any:
        from fastapi.testclient import TestClient

        from app.engine import Engine
        from app.labelstudio.api.connection import Connection
        from app.labelstudio.api.image_reader import TaskImages
        from app.labelstudio.backend.http import build_backend
        from app.labelstudio.backend.service import Backend

        predictor = Engine.load(str(self._checkpoint)).predictor
        connection = Connection("http://127.0.0.1:9", "0" * 40, timeout=1)
        backend = Backend(lambda: predictor, TaskImages(connection), connection)
        list(backend.predict([], CONFIG, "0"))  # waits for the model
        return TestClient(build_backend(backend), raise_server_exceptions=True)
