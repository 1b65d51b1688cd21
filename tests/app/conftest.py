"""A tiny checkpoint on disk and a handful of photos; everything is real, only small."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from app.engine import Engine
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from detclipv2.serving import ServingConfig
from tests.places import REPO
from train.loop.snapshots import write_snapshot

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

DEMO = REPO / "detclipv2" / "assets" / "demo"


@pytest.fixture(scope="session")
def checkpoint(tiny_checkpoint: Path) -> Path:
    """The checkpoint folder that the app is tried on."""
    return tiny_checkpoint


@pytest.fixture(scope="session")
def shared_engine(checkpoint: Path) -> Engine:
    """One engine for tests that count relative to what they find."""
    return Engine.load(str(checkpoint))


@pytest.fixture
def engine(checkpoint: Path) -> Engine:
    """An engine with empty caches."""
    return Engine.load(str(checkpoint))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder: two photos, the same name again in a sub-folder, a broken one, a text file."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(DEMO / "coffee.jpg", folder / "coffee.jpg")
    shutil.copy(DEMO / "chelsea.jpg", folder / "cat ünïcode.jpg")
    shutil.copy(DEMO / "rocket.jpg", folder / "sub" / "coffee.jpg")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def make_image(tmp_path: Path) -> Callable[..., Path]:
    """Writes a one-colour image: `make_image("a.png", (64, 48), (200, 30, 30))`."""

    def make(
        name: str, size: tuple[int, int] = (64, 48), colour: tuple[int, int, int] = (200, 30, 30)
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)
        return path

    return make


@pytest.fixture
def training_run(tmp_path: Path, tiny_model: DetCLIPv2) -> Path:
    """A run of train/ half way, its last line being written."""
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text(json.dumps({"loop": {"steps": 40}, "seed": 7}))
    lines = [
        {
            "kind": "train",
            "step": s,
            "seconds": 10.0 * s,
            "pairs/loss": 1 / s,
            "pairs/gradient": 9,
            "detection/loss": 2 / s,
            "lr": 0.1,
            "images_per_second": 5.0,
        }
        for s in (10, 20)
    ]
    lines.append({"kind": "eval", "step": 20, "seconds": 201.0, "ap": 3.5, "ar100": 20.0})
    text = "\n".join(map(json.dumps, lines)) + '\n{"kind": "train", "step": 30, "sec'
    (folder / "log.jsonl").write_text(text)
    write_snapshot(tiny_model, folder, 10)
    write_snapshot(tiny_model, folder, 20)
    return folder


@pytest.fixture(scope="session")
def browse_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the served app keeps its browse runs."""
    return tmp_path_factory.mktemp("browse")


@pytest.fixture(scope="session")
def served_port() -> int:
    """Where the app is served."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def served(served_process: subprocess.Popen[str], served_port: int) -> str:
    """Address of the real app."""
    assert served_process.poll() is None, "the app has ended"
    return f"http://127.0.0.1:{served_port}/"


@pytest.fixture(scope="session")
def served_link(served: str, served_lines: list[str]) -> str:
    """The address that the app printed, which opens the operator's page."""
    link = next(line for line in served_lines if line.startswith("Open ")).split()[1]
    assert link.startswith(f"{served}#token=")
    return link


@pytest.fixture(scope="session")
def served_lines() -> list[str]:
    """What the app said while it started."""
    return []


@pytest.fixture(scope="session")
def served_process(
    checkpoint: Path,
    browse_folder: Path,
    served_port: int,
    served_lines: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[subprocess.Popen[str]]:
    """The real app, started as users start it."""
    model = str(checkpoint)  # "nano" drives the shipped model instead
    cache = tmp_path_factory.mktemp("served")
    environment = {
        **os.environ,
        "DETCLIPV2_CACHE": str(cache),
        "GRADIO_TEMP_DIR": str(cache / "gradio"),
        "DETCLIPV2_BROWSE": str(browse_folder),
        "DETCLIPV2_RUNS": str(cache / "runs"),
        "PYTHONPATH": str(
            REPO
        ),  # started elsewhere: gradio shows files of the current folder anyway
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "--model", model, "--port", str(served_port)],
        cwd=cache,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = served_lines
    for line in process.stderr:
        said.append(line)
        if line.startswith("Open "):
            break
    else:
        pytest.fail(f"the app did not start:\n{''.join(said)}")
    # keep the pipe from filling up; a traceback of a handler then shows in the test's output
    drain = threading.Thread(
        target=lambda: sys.stderr.writelines(process.stderr or ()), daemon=True
    )
    drain.start()
    assert any("ms here" in line for line in said), "the start says how long a photo takes"
    yield process
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture(scope="session")
def browser() -> Iterator[BrowserContext]:
    """One Chromium profile: the tabs share its cache, so that only the first one loads it all."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("this test drives Chromium and finds none; apt-get install chromium")
    with sync_playwright() as playwright:
        process = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        context = process.new_context(viewport={"width": 1280, "height": 900})
        # A page that is left aborts its own requests, and gradio's client reports that as an error.
        context.add_init_script(
            "addEventListener('beforeunload', () => { console.error = () => {} })"
        )
        yield context
        process.close()


@pytest.fixture
def page(browser: BrowserContext, served: str, served_link: str) -> Iterator[Page]:
    """A fresh tab of the operator; errors in its console and foreign requests fail the test."""
    wrong: list[str] = []
    page = browser.new_page()
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: wrong.append(f"uncaught: {error}"))
    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            wrong.append(f"request: {request.url}")
            if not request.url.startswith((served, "data:", "blob:"))
            else None
        ),
    )
    page.goto(served_link)
    page.wait_for_selector("#detect")
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def looking_engine(tiny_model: DetCLIPv2) -> Engine:
    """An engine with empty caches whose model looks three times at a photo."""
    serving = ServingConfig(size=64, half=0.25, second=128)
    thrice = DetCLIPv2(replace(tiny_model.config, similarity="dot"), serving=serving)
    thrice.load_state_dict(tiny_model.state_dict())
    return Engine(Predictor(thrice.eval(), device="cpu"), name="thrice")
