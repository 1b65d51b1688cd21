"""Starting the app: what can go wrong is said in one line; nothing leaves the machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from app.__main__ import build_parser, main
from app.engine import Engine


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


def test_the_page_reports_nothing_and_loads_nothing_from_elsewhere(shared_engine: Engine) -> None:
    from app.ui.build import build_app, launch_options

    app = build_app(shared_engine)
    assert not app.analytics_enabled
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    options = launch_options()
    assert options["share"] is False
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
    names = {getattr(function, "__name__", "") for function in functions}
    assert {"detect", "refilter", "edit_thresholds", "pick_sample", "api_detect"} <= names
