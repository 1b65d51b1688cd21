"""Answers of hostile servers end: in bytes, in seconds, in redirects."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping

import httpx
import pytest

from app.http_reader import Limits, Reader, ResponseError
from app.runs.files import SourceError
from app.runs.sources import Hosts, fetch
from tests.app.labelstudio.hostile import Wire, bomb, drip, hostile

SMALL = Limits(10 * 2**20, 20)


def anywhere(url: httpx.URL) -> Mapping[str, str]:
    return {"Authorization": "Token x"}


def ask(url: str, limits: Limits = SMALL, method: str = "GET") -> bytes:
    return Reader(timeout=5).ask(method, httpx.URL(url), anywhere, limits).content


@pytest.mark.parametrize("coding", ["identity", "gzip", "x-gzip"])
def test_a_whole_answer_is_read(coding: str) -> None:
    content = bytes(range(256)) * 1000
    sent = content if coding == "identity" else bomb(2**20)
    with hostile(lambda wire: wire.body(sent, Content_Encoding=coding)) as (url, _):
        assert ask(url) == (content if coding == "identity" else bytes(2**20))


def test_what_a_few_bytes_become_is_bounded() -> None:
    """4.7 MB that become 2 GB, as a server would send them; and packed twice."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    packed = bomb(2 * 2**30 // 8)  # 256 MiB are enough to tell: the limit is 10
    assert len(packed) < 2**20
    with (
        hostile(lambda wire: wire.body(packed, Content_Encoding="gzip")) as (url, _),
        pytest.raises(ResponseError, match="more than 10,485,760 bytes"),
    ):
        ask(url)
    twice = bomb(2**30, layers=2)
    with (
        hostile(lambda wire: wire.body(twice, Content_Encoding="gzip, gzip")) as (url, _),
        pytest.raises(ResponseError, match="packed as 'gzip, gzip'"),
    ):
        ask(url)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150 * 1024, f"{grown} KiB more"


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, br"])
def test_only_what_was_asked_for_is_unpacked(coding: str) -> None:
    with (
        hostile(lambda wire: wire.body(b"xx", Content_Encoding=coding)) as (url, _),
        pytest.raises(ResponseError, match="packed as"),
    ):
        ask(url)


@pytest.mark.parametrize(
    ("content", "match"), [(b"no gzip at all", "no gzip"), (bomb(2**20)[:-20], "ends too early")]
)
def test_a_damaged_gzip_is_told(content: bytes, match: str) -> None:
    with (
        hostile(lambda wire: wire.body(content, Content_Encoding="gzip")) as (url, _),
        pytest.raises(ResponseError, match=match),
    ):
        ask(url)


def _body(wire: Wire) -> None:
    wire.head(Content_Length=10_000)
    drip(wire, b"x" * 10_000)


def _endless(wire: Wire) -> None:
    wire.head()
    drip(wire, b"x" * 10_000)


def _headers(wire: Wire) -> None:
    wire.wfile.write(b"HTTP/1.1 200 OK\r\n")
    drip(wire, b"X-Header: y\r\n" * 1000)


def _informed(wire: Wire) -> None:
    for _ in range(1000):
        wire.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        wire.wfile.flush()
        time.sleep(0.05)


@pytest.mark.parametrize("script", [_body, _endless, _headers, _informed])
def test_an_answer_that_drips_ends(script: object) -> None:
    start = time.monotonic()
    with (
        hostile(script) as (url, _),  # type: ignore[arg-type]
        pytest.raises(ResponseError, match="did not end within 1 s"),
    ):
        ask(url, Limits(10 * 2**20, 1))
    assert time.monotonic() - start < 20, "and not after the 50 s that it takes"


def test_one_deadline_does_not_end_the_answers_of_others() -> None:
    import threading

    reader = Reader(timeout=20)
    done: list[bytes] = []

    def slow(wire: Wire) -> None:
        wire.head(Content_Length=40)
        drip(wire, b"x" * 40)

    with hostile(slow) as (url, _):
        other = threading.Thread(
            target=lambda: done.append(reader.ask("GET", httpx.URL(url), anywhere, SMALL).content)
        )
        other.start()
        with pytest.raises(ResponseError, match="did not end"):
            reader.ask("GET", httpx.URL(url), anywhere, Limits(100, 0.5))
        other.join(20)
    assert done == [b"x" * 40]
    reader.close()


def test_redirects_are_counted() -> None:
    def round_and_round(wire: Wire) -> None:
        wire.body(b"", 302, Location=f"/{len(wire.path)}{wire.path}")

    with hostile(round_and_round) as (url, seen):
        with pytest.raises(ResponseError, match="redirected 5 times"):
            ask(url)
        assert len(seen) == 6


def test_a_write_is_not_sent_twice() -> None:
    for status in (301, 302, 303, 307, 308):
        with hostile(lambda wire, s=status: wire.body(b"", s, Location="/x")) as (url, seen):  # type: ignore[misc]
            with pytest.raises(ResponseError, match="a write is not sent twice"):
                ask(url, method="POST")
            assert len(seen) == 1


@pytest.mark.parametrize("location", ["http://[::1", "http://a:port/", "ftp://a/", "data:,x", ""])
def test_redirects_to_what_is_no_address(location: str) -> None:
    with (
        hostile(lambda wire: wire.body(b"", 302, Location=location)) as (url, _),
        pytest.raises((ResponseError, httpx.TransportError)),
    ):
        ask(url)


def test_https_does_not_become_http() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": "http://a.example/x"}, stream=Nothing())

    class Nothing(httpx.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield b""

    reader = Reader(timeout=5, transport=httpx.MockTransport(answer))
    with pytest.raises(ResponseError, match="redirected from https to http://"):
        reader.ask("GET", httpx.URL("https://a.example/"), anywhere, SMALL)


def test_every_hop_is_checked_and_sees_only_its_headers() -> None:
    with hostile(lambda wire: wire.body(b"inside")) as (inside, seen_inside):

        def leads(wire: Wire) -> None:
            wire.body(b"", 302, Location=f"{inside}/secret")

        with hostile(leads) as (outside, _):
            host, other = (url.removeprefix("http://") for url in (outside, inside))
            with pytest.raises(SourceError, match=f"the host '{other}' is not allowed"):
                fetch(f"{outside}/a.jpg", Hosts.of(host))
            assert seen_inside == []
            assert fetch(f"{outside}/a.jpg", Hosts.of(f"{host}, {other}")) == b"inside"


def test_addresses_of_images_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.runs.sources.MAX_BYTES", 1000)
    monkeypatch.setattr("app.runs.sources._SECONDS", 1.0)
    packed = bomb(2**20)
    for script, said in (
        (lambda wire: wire.body(packed, Content_Encoding="gzip"), "more than 1,000 bytes"),
        (_body, "did not end within 1 s"),
        (lambda wire: wire.body(b"", 302, Location=wire.path), "redirected 5 times"),
        (lambda wire: wire.body(b"", 302), "answers 302"),
        (lambda wire: wire.body(b"", 404), "answers 404"),
    ):
        with hostile(script) as (url, _), pytest.raises(SourceError, match=said):  # type: ignore[arg-type]
            fetch(f"{url}/a.jpg", Hosts.of(url.removeprefix("http://")))
