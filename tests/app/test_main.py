"""Starting the app: what can go wrong is said in one line; nothing leaves the machine."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.__main__ import PASSWORD_VARIABLE, build_parser, main
from app.engine import Engine
from app.ui.shared.access import Access


def test_defaults_serve_this_machine_only() -> None:
    arguments = build_parser().parse_args([])
    assert (arguments.host, arguments.port) == ("127.0.0.1", 7860)
    assert (arguments.model, arguments.size) == ("nano", None)


def test_an_unknown_model_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "nowhere"]) == 2
    assert "no checkpoint 'nowhere'" in capsys.readouterr().err


def test_a_taken_port_is_named(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--model", str(checkpoint), "--port", str(port)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"127.0.0.1:{port}" in said
    assert f"--port {port + 1}" in said


@pytest.fixture
def start(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Access]]:
    """Starts the app up to where it would serve; gives the rules that its page was built with."""
    from app.ui import build, serve

    rules: list[Access] = []
    build_app = build.build_app

    def building(engine: Engine, access: Access) -> Any:
        rules.append(access)
        return build_app(engine, access)

    def server(_: Any, started: Callable[[], None]) -> Any:
        return SimpleNamespace(run=lambda sockets: started())

    monkeypatch.setattr(build, "build_app", building)
    monkeypatch.setattr(serve, "server", server)

    def run(*options: str) -> list[Access]:
        assert main(["--model", str(checkpoint), "--port", "0", *options]) == 0
        return rules

    return run


def test_the_printed_address_opens_the_operators_page(
    start: Callable[..., list[Access]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="app"):
        first, second = start()[-1], start("--host", "::1")[-1]
    assert len(first.token) >= 32 and first.token != second.token
    said = caplog.text
    assert re.search(rf"Open http://127\.0\.0\.1:\d+/#token={first.token}  ", said)
    assert re.search(rf"Open http://\[::1\]:\d+/#token={second.token}  ", said)
    assert "Anybody" not in said
    assert first.token not in repr(first)


def test_open_to_all_without_a_password_nobody_is_the_operator(
    start: Callable[..., list[Access]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with caplog.at_level("INFO", logger="app"):
        assert start("--host", "0.0.0.0")[-1].token == ""
    assert "Anybody who reaches 0.0.0.0" in caplog.text and "--auth" in caplog.text
    assert re.search(r"Open http://127\.0\.0\.1:\d+/  ", caplog.text)
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    assert start("--host", "0.0.0.0", "--auth", "me")[-1].token


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--auth", "me"], PASSWORD_VARIABLE),
        (["--allow-host", "http://x"], "'http://x'"),
        (["--allow-folder", "/nowhere"], "/nowhere"),
        (["--trusted-proxy", "me.example"], "me.example"),
        (["--host", "203.0.113.7"], "cannot serve 203.0.113.7:7860"),
    ],
)
def test_options_that_cannot_be_are_named(
    options: list[str],
    named: str,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    assert main(["--model", str(checkpoint), *options]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("detclipv2 app: error: ") and named in said


def test_the_page_reports_nothing_and_loads_nothing_from_elsewhere(shared_engine: Engine) -> None:
    from app.ui.build import build_app, page_options

    app = build_app(shared_engine)
    assert not app.analytics_enabled
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    options = page_options()
    assert options["run_history"] is False
    assert options["theme"]._stylesheets == []
    for text in (options["css"], options["head"]):
        assert "http" not in text


def test_everything_that_runs_the_model_shares_one_slot(shared_engine: Engine) -> None:
    from app.ui.build import build_app

    app = build_app(shared_engine)
    running = [f for f in app.fns.values() if f.concurrency_id == "model"]
    assert {f.concurrency_limit for f in running} == {1}
    # the samples' handler is one function with the sample's number filled in
    functions = [getattr(f.fn, "func", f.fn) for f in running]
    names = {getattr(function, "__qualname__", "") for function in functions}
    handlers = ("detect", "refilter", "edit_thresholds", "pick_sample")
    assert {f"Actions.{name}" for name in handlers} <= names
    assert "Endpoints.detect" in names
