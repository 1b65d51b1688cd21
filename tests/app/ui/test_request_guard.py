"""Which requests the page's server answers: header tricks one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from app.ui.request_guard import RequestGuard, ServedNameError, ServedNames
from app.ui.shared.access import TOKEN_HEADER
from tests.app.ui.visitors import TOKEN, finished

Headers = Sequence[tuple[str, str]]


LOCAL = ("Host", "127.0.0.1:7860")


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it was told of the visitor."""
    seen = {n.decode(): v.decode() for n, v in scope["headers"]}
    body = json.dumps({"client": scope["client"][0], "scheme": scope["scheme"], "headers": seen})
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})


def ask(
    headers: Headers,
    *,
    names: ServedNames | None = None,
    proxies: Sequence[str] = (),
    client: str = "127.0.0.1",
    kind: str = "http",
    path: str = "/gradio_api/queue/join",
    method: str = "POST",
) -> tuple[int, dict[str, Any] | str]:
    """Status and answer of one request; 101 for a web socket that was accepted."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    guard = RequestGuard(_echo, names or ServedNames.of("127.0.0.1"), proxies)
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "scheme": "http",
        "client": (client, 1),
        "headers": [(n.lower().encode(), v.encode("latin-1")) for n, v in headers],
    }
    finished(guard(scope, None, send))  # type: ignore[arg-type]
    if kind == "websocket":
        return (101 if sent[0]["type"] == "websocket.accept" else 403), ""
    body = sent[1]["body"].decode()
    return sent[0]["status"], json.loads(body) if sent[0]["status"] == 200 else body


@pytest.mark.parametrize(
    "headers",
    [
        [LOCAL],
        [("Host", "localhost:7860")],
        [("Host", "LocalHost.")],
        [("Host", "[::1]:7860")],
        [("Host", "127.8.8.8:1234")],
        [LOCAL, ("Origin", "http://127.0.0.1:7860")],
        [LOCAL, ("Origin", "http://127.0.0.1:7860"), ("Sec-Fetch-Site", "same-origin")],
        [("Host", "localhost"), ("Origin", "http://localhost:80")],
    ],
)
def test_its_own_page_and_programs_are_answered(headers: Headers) -> None:
    assert ask(headers)[0] == 200
    assert ask(headers, kind="websocket")[0] == 101


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Host", "")],
        [("Host", "evil.example:7860")],
        [("Host", "evil.example:7860"), ("Origin", "http://evil.example:7860")],
        [("Host", "127.0.0.1.evil.example")],
        [("Host", "localhost.evil.example")],
        [("Host", "evil.example@127.0.0.1:7860")],
        [("Host", "127.0.0.1:7860@evil.example")],
        [("Host", "127.0.0.1:7860/evil.example")],
        [("Host", "127.0.0.1 evil.example")],
        [LOCAL, ("Host", "evil.example")],
        [("Host", "192.168.0.7:7860")],
        [("Host", "0.0.0.0:7860")],
        [("Host", "[::ffff:8.8.8.8]:7860")],
        [("Host", "[127.0.0.1")],
        [("Host", "127.0.0.1:99999999")],
        [LOCAL, ("Origin", "null")],
        [LOCAL, ("Origin", "")],
        [LOCAL, ("Origin", "http://evil.example")],
        [LOCAL, ("Origin", "http://127.0.0.1:8080")],
        [LOCAL, ("Origin", "http://localhost:7860")],
        [LOCAL, ("Origin", "https://127.0.0.1")],
        [LOCAL, ("Origin", "http://127.0.0.1:7860.evil.example")],
        [LOCAL, ("Origin", "http://evil@127.0.0.1:7860")],
        [LOCAL, ("Origin", "file://")],
        [LOCAL, ("Origin", "http://[bad")],
        [LOCAL, ("Origin", "http://127.0.0.1:7860"), ("Origin", "http://evil.example")],
        [LOCAL, ("Sec-Fetch-Site", "cross-site")],
        [LOCAL, ("Sec-Fetch-Site", "same-site")],
        [LOCAL, ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        [LOCAL, ("X-Forwarded-Host", "localhost"), ("Origin", "http://evil.example")],
        [("Host", "evil.example"), ("X-Forwarded-Host", "localhost:7860")],
        [("Host", "evil.example"), ("Forwarded", "host=localhost;for=127.0.0.1")],
        [("Host", "evil.example"), ("X-Original-Host", "127.0.0.1")],
    ],
)
def test_foreign_names_and_pages_are_refused(headers: Headers) -> None:
    status, said = ask(headers)
    assert status == 403 and "Refused: " in str(said)
    assert ask(headers, kind="websocket")[0] == 403


def test_a_link_on_another_page_opens_the_page_and_nothing_else() -> None:
    link = [LOCAL, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")]
    document, frame = ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Dest", "iframe")
    assert ask([*link, document], method="GET", path="/")[0] == 200
    assert ask([*link, document], method="POST", path="/")[0] == 403
    assert ask([*link, document], method="GET", path="/gradio_api/file=/etc/passwd")[0] == 403
    assert ask([*link, frame], method="GET", path="/")[0] == 403


def test_hosts_that_were_allowed() -> None:
    named = ServedNames.of("127.0.0.1", ["Photos.example", "10.0.0.8"])
    for host in ("photos.example", "photos.example:443", "10.0.0.8:7860", "localhost"):
        assert ask([("Host", host)], names=named)[0] == 200
    assert ask([("Host", "other.example")], names=named)[0] == 403
    everywhere = ServedNames.of("0.0.0.0")
    assert ask([("Host", "192.168.0.7:7860")], names=everywhere)[0] == 200
    assert ask([("Host", "[2001:db8::7]:7860")], names=everywhere)[0] == 200
    assert ask([("Host", "evil.example:7860")], names=everywhere)[0] == 403
    assert ask([("Host", "192.168.0.7")], names=ServedNames.of("192.168.0.7"))[0] == 200
    for wrong in ("http://photos.example", "a b", "", "*"):
        with pytest.raises(ServedNameError, match="no host name"):
            ServedNames.of("127.0.0.1", [wrong])


@pytest.mark.parametrize(
    "said",
    [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Real-IP", "::1"),
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 tunnel"),
        ("CF-Connecting-IP", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
    ],
)
def test_behind_a_proxy_that_nobody_named_there_is_no_token(said: tuple[str, str]) -> None:
    _, seen = ask([LOCAL, (TOKEN_HEADER, TOKEN)])
    assert isinstance(seen, dict) and seen["headers"][TOKEN_HEADER] == TOKEN
    _, seen = ask([LOCAL, (TOKEN_HEADER, TOKEN), said])
    assert isinstance(seen, dict) and TOKEN_HEADER not in seen["headers"]
    assert said[0].lower() not in seen["headers"]
    assert (seen["client"], seen["scheme"]) == ("127.0.0.1", "http")


def test_a_trusted_proxy_says_where_visitors_come_from() -> None:
    said = [
        ("Host", "photos.example"),
        ("X-Forwarded-For", "127.0.0.1, 203.0.113.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        (TOKEN_HEADER, TOKEN),
    ]
    names = ServedNames.of("127.0.0.1", ["photos.example"])
    _, seen = ask(said, names=names, proxies=["10.0.0.0/8"], client="10.1.2.3")
    assert isinstance(seen, dict)
    assert (seen["client"], seen["scheme"]) == ("203.0.113.7", "https")
    assert seen["headers"][TOKEN_HEADER] == TOKEN and "x-forwarded-host" not in seen["headers"]
    _, seen = ask(said, names=names, proxies=["10.0.0.0/8"], client="127.0.0.1")
    assert isinstance(seen, dict), "another proxy is not believed"
    assert seen["client"] == "127.0.0.1" and TOKEN_HEADER not in seen["headers"]
