"""The environment's key goes to the environment's server and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from app.cli import main
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.environment import server_address
from app.labelstudio.api.image_reader import TaskImages
from app.runs.files import SourceError
from app.runs.records import ImageRef
from app.runs.sources import Hosts
from tests.app.labelstudio.proxy import serving

KEY = "1" * 40
OWN = "http://labels.example/tools"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", OWN)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", KEY)
    for name in ("LABEL_STUDIO_HOST", "LABEL_STUDIO_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def listening() -> Iterator[tuple[str, list[str | None]]]:
    """Address of a server, and the Authorization header of every request that it got."""
    seen: list[str | None] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.send_response(404 if self.path.startswith("/api/") else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_PATCH = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with serving(Listener) as url:
        yield url, seen


@pytest.mark.parametrize(
    "spelling",
    [
        OWN,
        f"{OWN}/",
        f" {OWN} ",
        "HTTP://LABELS.example:80/tools",
        "http://labels.example//tools",
        "http://labels.example/other/../tools",
    ],
)
def test_every_spelling_of_the_environments_server_gets_its_key(spelling: str) -> None:
    made = Connection.from_environment(spelling)
    assert made.url == OWN
    signed = made._requests._key.sign(httpx.URL(f"{OWN}/api/version"))
    assert signed == {"Authorization": f"Token {KEY}"}


@pytest.mark.parametrize(
    "other",
    [
        "https://labels.example/tools",
        "http://labels.example:8080/tools",
        "http://labels.example",
        "http://labels.example/tools2",
        "http://labels.example/Tools",
        "http://elsewhere/tools",
        "http://labels.example.elsewhere/tools",
        "http://sub.labels.example/tools",
    ],
)
def test_no_other_server_gets_the_environments_key(
    other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LabelStudioError) as told:
        Connection.from_environment(other)
    said = str(told.value)
    assert f"is the key of {OWN} and is not sent to {other}" in said and "--key-file" in said
    assert KEY not in said
    assert Connection.from_environment(other, "2" * 40).url == other, "its own key is its own"
    monkeypatch.delenv("LABEL_STUDIO_URL")
    with pytest.raises(LabelStudioError, match=f"set LABEL_STUDIO_URL={other}"):
        Connection.from_environment(other)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    with pytest.raises(LabelStudioError, match="there is no key"):
        Connection.from_environment(other)


def test_the_first_variable_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_HOST", "http://second.example")
    with pytest.raises(LabelStudioError, match="is not sent to http://second"):
        Connection.from_environment("http://second.example")
    monkeypatch.delenv("LABEL_STUDIO_URL")
    assert Connection.from_environment("http://second.example").url == "http://second.example"


@pytest.mark.parametrize(
    "written",
    [
        "localhost:8080",
        "ftp://labels.example",
        "http://",
        "http://me:secret@labels.example",
        "http://labels.example/?next=1",
        "http://labels.example/#x",
        "http://labels.example/%2e%2e/b",
        "http://[::1",
        "http://labels.example:port",
        "http://a\nb",
    ],
)
def test_what_is_no_address_is_told(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabelStudioError, match="is no address of a server"):
        server_address(written)
    monkeypatch.setenv("LABEL_STUDIO_URL", written)
    with pytest.raises(LabelStudioError, match="is no address of a server"):
        Connection.from_environment()


def test_the_command_line_sends_nothing_to_another_server(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with listening() as (url, seen):
        for command in (
            ["pull", "--project", "1"],
            ["calibrate", "--project", "1"],
            ["serve-backend", "--state", str(tmp_path / "state.json")],
        ):
            assert main([*command, "--url", url]) == 2
            assert f"is not sent to {url}" in capsys.readouterr().err
        assert seen == []
        key = tmp_path / "key"
        key.write_text("2" * 40)
        assert main(["pull", "--project", "1", "--url", url, "--key-file", str(key)]) == 2
        assert set(seen) == {"Token " + "2" * 40}


def test_the_key_is_not_sent_to_the_hosts_of_images() -> None:
    with listening() as (url, seen):
        host = url.removeprefix("http://")
        connection = Connection("http://127.0.0.1:9", KEY)
        images = TaskImages(connection, hosts=Hosts.of(host))
        assert images.read(ImageRef("a.jpg", f"{url}/a.jpg", None, 1)) == b"{}"
        assert seen == [None]
        for place in (f"//{host}/a.jpg", f"http://127.0.0.1:9@{host}/a.jpg"):
            with pytest.raises(SourceError):
                TaskImages(connection).read(ImageRef("a.jpg", place, None, 1))
        assert seen == [None]
        for path in (f"{url}/a.jpg", f"@{host}/a.jpg"):
            with pytest.raises(LabelStudioError, match="is no path"):
                connection.fetch(path, Hosts.of(host).check)
            with pytest.raises(LabelStudioError, match="is no path"):
                connection.get(path)
        with pytest.raises(LabelStudioError, match="is not sent to"):
            connection._requests._key.sign(httpx.URL(f"{url}/api/version"))
        assert seen == [None]


def test_a_key_stays_below_the_servers_path() -> None:
    with listening() as (url, seen):
        below = Connection(f"{url}/tools", KEY)
        for path in ("/../other", "/..%2fother", "2/other"):
            with pytest.raises(LabelStudioError, match="is no path"):
                below.fetch(path, Hosts().check)
        assert seen == []
        below.fetch("/data/x", Hosts().check)
        assert seen == [f"Token {KEY}"]


@pytest.mark.parametrize("key", ["", " ", "a b", "a\nb", "schlüssel"])
def test_what_cannot_be_a_key_is_told_and_not_shown(key: str) -> None:
    with pytest.raises(LabelStudioError, match=r"Account & Settings") as told:
        Connection(OWN, key)
    assert not key.strip() or key not in str(told.value)
