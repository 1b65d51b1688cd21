"""A real Label Studio server for the session, projects on it, and a proxy that injects faults."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import supervision as sv
from PIL import Image

from app.cli import main
from app.engine import Engine
from app.labelstudio.api.addresses import local_address
from app.labelstudio.api.connection import Connection
from app.labelstudio.api.images import images_of_project
from app.runs.records import ImageRef
from app.runs.settings import RunSettings, settings_of
from app.runs.store import Run
from detclipv2.serving import DetectSettings
from tests.app.labelstudio.desk import CONFIG, Desk
from tests.app.labelstudio.proxy import mounted
from tests.app.ui.visitors import HERE
from tests.places import REPO

TOKEN = "abcdef0123456789abcdef0123456789abcdef01"
EMAIL, PASSWORD = "labeler@example.com", "a-long-password"


PROMPTED = CONFIG.replace("</View>", '<TextArea name="prompt" toName="image"/></View>')
"""With a text of the labelers' that the live backend follows."""
LOW = PROMPTED.replace('name="label"', 'name="label" model_score_threshold="0.02"')
"""Random weights are hardly ever sure."""
APART = """<View>
  <Image name="image" value="$image"/>
  <Labels name="name" toName="image"><Label value="cat"/><Label value="cup"/></Labels>
  <Rectangle name="shape" toName="image"/>
</View>"""
"""Labels and shapes as controls of their own."""


def typed(text: str | list[str], control: str = "prompt") -> list[dict[str, Any]]:
    """What the page sends of a text that a labeler has entered."""
    lines = [text] if isinstance(text, str) else text
    return [
        {"type": "textarea", "from_name": control, "to_name": "image", "value": {"text": lines}}
    ]


VISITOR = HERE
"""Of the page: the operator."""


@dataclass(frozen=True)
class Server:
    """The running server."""

    url: str
    files: Path

    def connect(self, key: str = TOKEN, **more: Any) -> Connection:
        return Connection(self.url, key, **more)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Label Studio as pip gives it: SQLite, legacy tokens on, local files served."""
    if given := os.environ.get("LABEL_STUDIO_TEST_SERVER"):  # "URL FOLDER", while writing tests
        url, root = given.split(" ", 1)
        yield Server(url, Path(root))
        return
    folder = tmp_path_factory.mktemp("label-studio")
    files = folder / "files"
    files.mkdir()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(folder, files, port, url):
        yield Server(url, files)


@pytest.fixture(scope="session")
def below(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A second server, deployed under a sub-path behind a reverse proxy."""
    folder = tmp_path_factory.mktemp("label-studio-below")
    (folder / "data").mkdir()
    name = "label_studio.sqlite3"  # copied, so that nothing has to be migrated
    with (
        closing(sqlite3.connect(server.files.parent / "data" / name)) as source,
        closing(sqlite3.connect(folder / "data" / name)) as copy,
    ):
        source.backup(copy)
    port = free_port()
    with (
        mounted(f"http://127.0.0.1:{port}", "/tools/labels") as url,
        running(folder, server.files, port, url),
    ):
        yield Server(url, server.files)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path, files: Path, port: int, host: str) -> Iterator[None]:
    """Label Studio on `port`, whose pages say that they are at `host`."""
    venv = Path(os.environ.get("LABEL_STUDIO_VENV", REPO / ".ls-venv"))
    program = venv / "bin" / "label-studio"
    if not program.exists():
        pytest.fail(f"no Label Studio in {venv}; run `make label-studio`, or set LABEL_STUDIO_VENV")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("LABEL_STUDIO")},
        "LABEL_STUDIO_USERNAME": EMAIL,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(files),
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"),
        "LABEL_STUDIO_HOST": host,
        "USE_DEFAULT_BANNED_SUBNETS": "false",  # the backend of the tests runs on this machine
        "COLLECT_ANALYTICS": "False",
        "LATEST_VERSION_CHECK": "False",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("PYTHONPATH", None)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                "start",
                "--no-browser",
                "--internal-host",
                "127.0.0.1",
                "--port",
                str(port),
                "--log-level",
                "WARNING",
            ],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 480  # about a minute alone, more on a busy machine
            while True:
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(
                        f"Label Studio did not start:\n{(folder / 'log').read_text()[-3000:]}"
                    )
                time.sleep(0.5)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def connection(server: Server) -> Iterator[Connection]:
    made = server.connect()
    yield made
    made.close()


@pytest.fixture
def make_project(connection: Connection) -> Callable[..., int]:
    """`make_project(urls, config)`: a project with one task an address; returns its number."""

    def make(urls: list[str], config: str = CONFIG, title: str = "test project") -> int:
        project = connection.write(
            "POST", "/api/projects/", json={"title": title, "label_config": config}
        )["id"]
        if urls:
            connection.write(
                "POST", f"/api/projects/{project}/import", json=[{"image": url} for url in urls]
            )
        return int(project)

    return make


@pytest.fixture
def photos_on_server(server: Server, request: pytest.FixtureRequest) -> Path:
    """A folder of three noisy photos below the document root; one is turned by EXIF."""
    folder = server.files / request.node.name.replace("[", "-").replace("]", "")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, turn in (("a.jpg", 1), ("b ü#1+%20.jpg", 1), ("turned.jpg", 6)):
        pixels = generator.integers(0, 255, (12, 16, 3), np.uint8)
        exif = Image.Exif()
        exif[0x0112] = turn
        image = Image.fromarray(pixels).resize((320, 240), Image.Resampling.NEAREST)
        image.save(folder / name, exif=exif)
    return folder


def folder_storage(
    connection: Connection, project: int, folder: Path, pattern: str, *, sync: bool = True
) -> None:
    """Let the project serve a folder's files whose names fit the pattern; synced, as tasks."""
    storage = connection.write(
        "POST",
        "/api/storages/localfiles",
        json={
            "project": project,
            "path": str(folder),
            "use_blob_urls": True,
            "regex_filter": pattern,
            "title": "theirs",
        },
    )
    if sync:
        connection.write("POST", f"/api/storages/localfiles/{storage['id']}/sync")


@pytest.fixture
def many_run(
    connection: Connection, make_project: Callable[..., int], shared_engine: Engine, tmp_path: Path
) -> Callable[..., tuple[Run, int]]:
    """`many_run(n)`: a project of n tasks and a run with boxes for each, one in five empty."""

    def make(count: int, boxes: int = 3) -> tuple[Run, int]:
        import supervision as sv

        project = make_project([local_address(f"none/{i}.jpg") for i in range(count)])
        # Its boxes lie anywhere: all of them are to count.
        plain = {"one_name": False, "whole_things": False}
        settings = settings_of(shared_engine, "cat, cup", threshold=0.3, **plain)
        images: list[ImageRef] = images_of_project(connection, project)
        run = Run.create(tmp_path / f"run{project}", settings, images)
        generator = np.random.default_rng(project)
        for row in run.images():
            corner = generator.uniform(0, 300, (boxes, 2))
            xyxy = np.concatenate([corner, corner + generator.uniform(5, 300, (boxes, 2))], 1)
            scores = -np.sort(-generator.uniform(0.31, 0.99, boxes))
            found = sv.Detections(xyxy, confidence=scores, class_id=generator.integers(0, 2, boxes))
            if row.id % 5 == 0:
                found = sv.Detections.empty()
            run.save(row, found, f"{row.id}", (640, 640), 0.01)
        return run, project

    return make


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """`make_run(images)`: a run with a surer and a less sure box of its first class on each."""

    def make(
        images: list[ImageRef],
        name: str = "run",
        prompts: str = "cat, cup",
        weaker: float = 0.4,
        **settings: Any,
    ) -> Run:
        chosen = RunSettings("nano", "0123456789abcdef", prompts, DetectSettings(**settings))
        run = Run.create(tmp_path / name, chosen, images)
        for row in run.images():
            found = sv.Detections(
                np.array([[1, 1, 50, 50], [2, 1, 60, 50]], np.float32),
                confidence=np.array([0.9, weaker]),
                class_id=np.zeros(2, int),
            )
            path = Path(row.place)
            content = path.read_bytes() if path.is_file() else row.file_name.encode()
            run.save(row, found, hashlib.sha256(content).hexdigest(), (100, 100), 0.1)
        return run

    return make


@pytest.fixture
def shell(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`shell("push", …)`: the command line, connected to the desk."""
    monkeypatch.setattr("app.commands.labelstudio.connect", lambda _: desk.connect())
    return lambda *words: main([str(word) for word in words])
