"""Whatever a server answers, the error names it, the work ends, and the key stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.cli import main
from app.labelstudio.api.connection import Connection, LabelStudioError
from tests.app.labelstudio.hostile import KEY, PROJECT, Wire, at, bomb, drip, hostile
from tests.app.labelstudio.one_task import TASK


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.labelstudio.api.requests._PATIENCE", 0.2)
    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.05)))


def ask(script: Callable[[Wire], None], match: str) -> list[tuple[str, str, str | None]]:
    """The error of a read, and the requests it took."""
    with hostile(script) as (url, seen):
        with pytest.raises(LabelStudioError, match=match) as told:
            at(url).project(1)
        assert KEY not in str(told.value)
        return seen


def test_what_is_too_large_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine 128 MiB take longer than the others' second.
    monkeypatch.setattr("app.labelstudio.api.requests._PATIENCE", 20.0)
    packed = bomb(256 * 2**20)
    seen = ask(lambda wire: wire.body(packed, Content_Encoding="gzip"), "more than 134,217,728")
    assert len(seen) == 1, "it is not asked for again"


def test_what_drips_ends() -> None:
    def slow(wire: Wire) -> None:
        wire.head(Content_Length=10_000)
        drip(wire, b"[" * 10_000)

    assert len(ask(slow, "did not end within 1 s")) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>", "answers no JSON"),
        (b"\xff\xfe[]", "answers no JSON"),
        (b"NaN", "is no JSON"),
        (b'{"id": Infinity}', "is no JSON"),
        (b"[" * 100_000, "inside one another"),
        (b"[" * 101 + b"]" * 101, "inside one another"),
        (b"9" * 5000, "answers no JSON"),
    ],
)
def test_what_is_no_json_is_told(content: bytes, said: str) -> None:
    ask(lambda wire: wire.body(content), said)


def test_a_key_that_is_sent_back_is_not_shown() -> None:
    def echo(wire: Wire) -> None:
        wire.body(json.dumps({"detail": wire.headers["Authorization"]}).encode(), 400)

    ask(echo, "Token <key>")
    ask(lambda wire: wire.body(wire.headers["Authorization"].encode(), 403), "Token <key>")


def test_redirects_name_the_address_to_use() -> None:
    with hostile(lambda wire: wire.json({})) as (elsewhere, seen):
        to = f"{elsewhere}/api/projects/1/"
        asked = ask(lambda wire: wire.body(b"", 301, Location=to), f"sends its requests on to {to}")
        assert len(asked) == 1 and seen == []
    ask(lambda wire: wire.body(b"", 302, Location=wire.path), "redirected 5 times")
    ask(lambda wire: wire.body(b"", 302), "answers 302 without saying where to go")
    with hostile(lambda wire: wire.body(b"", 301, Location=f"https://x.example{wire.path}")) as (
        url,
        seen,
    ):
        with pytest.raises(LabelStudioError, match=r"on to https://x\.example/api/current-user"):
            at(url).check()
        with pytest.raises(LabelStudioError, match=r"on to https://x\.example/api/projects"):
            at(url).write("POST", "/api/projects/", json={})
        assert main(["pull", "--project", "1", "--url", url, "--key-file", _key_file()]) == 2
        assert len(seen) == 3


def _key_file() -> str:
    import tempfile

    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(KEY)
    return file.name


def test_redirects_on_the_same_server_are_followed() -> None:
    def script(wire: Wire) -> None:
        if wire.path.endswith("/"):
            wire.body(b"", 301, Location=wire.path.rstrip("/"))
        else:
            wire.json(PROJECT)

    with hostile(script) as (url, seen):
        assert at(url).project(1)["title"] == "p"
        assert [key for _, _, key in seen] == [f"Token {KEY}"] * 2


def test_a_personal_token_is_not_redirected() -> None:
    personal = "e30.eyJ0b2tlbl90eXBlIjogInJlZnJlc2gifQ.x"
    with hostile(lambda wire: wire.json({"access": "stolen"})) as (elsewhere, seen):
        with (
            hostile(lambda wire: wire.body(b"", 307, Location=f"{elsewhere}/x")) as (url, _),
            pytest.raises(LabelStudioError, match="sends its requests on to"),
        ):
            Connection(url, personal).check()
        assert seen == []
    for answer in ({}, [], {"access": 7}, {"access": ""}, {"access": "a\r\nb: c"}):
        with hostile(lambda wire, a=answer: wire.json(a)) as (url, _):  # type: ignore[misc]
            with pytest.raises(LabelStudioError, match=r"not one of Label Studio's") as told:
                Connection(url, personal).check()
            assert personal not in str(told.value)


def pages(script: Callable[[int], Any]) -> Callable[[Wire], None]:
    def answer(wire: Wire) -> None:
        page = int(wire.path.split("page=")[1].split("&")[0])
        wire.json(script(page))

    return answer


def test_pages_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.labelstudio.api.connection.MAX_PAGES", 30)
    same = {"total": 10**9, "tasks": [TASK]}
    for script, said, count in (
        (lambda page: same, "gives the same tasks on page 2 again", 2),
        (lambda page: {"total": 10**9, "tasks": [{"id": page}]}, "more than 30 pages", 30),
    ):
        with hostile(pages(script)) as (url, seen):
            with pytest.raises(LabelStudioError, match=said):
                list(at(url).pages({"project": 1}))
            assert len(seen) == count
    with hostile(pages(lambda page: {"results": [PROJECT] * 100, "next": "more"})) as (url, seen):
        assert len(at(url).projects()) == 500
        assert len(seen) == 5


def test_a_task_that_moves_to_the_next_page_is_given_once() -> None:
    ids = {1: [1, 2], 2: [2, 3], 3: [4]}
    script = pages(lambda page: {"total": 5, "tasks": [{"id": one} for one in ids[page]]})
    with hostile(script) as (url, _):
        assert [task["id"] for task in at(url).pages({})] == [1, 2, 3, 4]
