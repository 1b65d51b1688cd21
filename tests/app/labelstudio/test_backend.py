"""The live backend, connected to the real server: retrieved predictions are named boxes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.labelstudio.api.addresses import local_address
from app.labelstudio.api.connection import Connection
from app.labelstudio.api.tasks import create_local_tasks
from app.labelstudio.push.plan import plan
from app.labelstudio.push.push import push
from app.runs import sources
from app.runs.store import Run
from tests.app.labelstudio.conftest import CONFIG, LOW, TOKEN, Server, typed
from tests.app.labelstudio.submissions import submit
from tests.places import REPO


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backend") / "state.json"


@pytest.fixture(scope="module")
def backend(server: Server, tiny_checkpoint: Path, state: Path) -> Iterator[str]:
    with started(server, tiny_checkpoint, state) as url:
        yield url


@contextmanager
def started(server: Server, tiny_checkpoint: Path, state: Path) -> Iterator[str]:
    """The command as users start it, with a password."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": TOKEN,
        "BACKEND_PASSWORD": "secret",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "app.cli",
            "serve-backend",
            "--model",
            str(tiny_checkpoint),
            # Of random weights any word takes the places of all others.
            "--no-one-name",
            "--port",
            str(port),
            "--basic-auth",
            "ls",
            "--state",
            str(state),
        ],
        cwd=REPO,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 240  # seconds alone, minutes on a busy machine
    while True:
        try:
            answer = httpx.get(f"{url}/health", auth=("ls", "secret"), timeout=5)
            if answer.json().get("model") == "ready":
                break
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline and process.poll() is None, "the backend does not start"
        time.sleep(0.2)
    try:
        yield url
    finally:
        process.terminate()
        process.wait(20)


def ask(backend: str, path: str, body: dict[str, Any], **more: Any) -> httpx.Response:
    return httpx.post(f"{backend}{path}", json=body, timeout=60, auth=("ls", "secret"), **more)


def connect(connection: Connection, project: int, backend: str) -> dict[str, Any]:
    """The backend as one of the project, as its settings' page makes it."""
    made: dict[str, Any] = connection.write(
        "POST",
        "/api/ml/",
        json={
            "project": project,
            "url": backend,
            "title": "DetCLIPv2",
            "is_interactive": True,
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": "ls",
            "basic_auth_pass": "secret",
        },
    )
    return made


def test_retrieve_predictions_gives_named_boxes(
    backend: str,
    server: Server,
    connection: Connection,
    photos_on_server: Path,
    make_project: Callable[..., int],
) -> None:
    project = make_project([], LOW)
    refs = sources.find_images([photos_on_server])
    create_local_tasks(connection, project, refs, server.files)
    connect(connection, project, backend)
    fields = {"fields": "all", "include": "id,predictions"}
    ids = [task["id"] for task in connection.pages({"project": project, "include": "id"})]
    connection.write(
        "POST",
        "/api/dm/actions",
        params={"id": "retrieve_tasks_predictions", "project": project},
        json={"selectedItems": {"all": False, "included": ids}},
    )
    made = [p for t in connection.pages({"project": project, **fields}) for p in t["predictions"]]
    assert len(made) == 3
    regions = [region for one in made for region in one["result"]]
    assert regions and {r["value"]["rectanglelabels"][0] for r in regions} <= {"cat", "cup"}
    assert all(one["model_version"].startswith("detclipv2-tiny@") for one in made)
    assert {(r["original_width"], r["original_height"]) for r in regions} == {
        (320, 240),
        (240, 320),
    }


def test_one_answer_a_task_also_when_an_image_is_gone(
    backend: str,
    photos_on_server: Path,
    server: Server,
    connection: Connection,
    make_project: Callable[..., int],
) -> None:
    project = make_project([], LOW)
    create_local_tasks(connection, project, sources.find_images([photos_on_server]), server.files)
    urls = [local_address(f"{photos_on_server.name}/{n}") for n in ("a.jpg", "gone.jpg")]
    tasks: list[dict[str, Any]] = [{"id": i, "data": {"image": url}} for i, url in enumerate(urls)]
    tasks.append({"id": 9, "data": {"text": "no image"}})
    body = {"tasks": tasks, "label_config": LOW, "project": f"{project}.17"}
    answer = ask(backend, "/predict", body).json()["results"]
    assert answer[0]["result"] and answer[1:] == [[], []], "nothing is stored of these"
    versions = set()
    for words in ("cat", "cup: mug, cat", "dog\ncup"):
        context = {"params": {"context": {"result": typed(words)}}}
        answer = ask(backend, "/predict", {**body, "tasks": tasks[:1], **context}).json()["results"]
        versions.add(answer[0]["model_version"])
        boxes = [r for r in answer[0]["result"] if r["type"] == "rectanglelabels"]
        said = [r for r in answer[0]["result"] if r["type"] == "textarea"]
        assert bool(said) is ("dog" in words), "what has no label is told"
        names = {r["value"]["rectanglelabels"][0] for r in boxes}
        assert names == ({"cat"} if words == "cat" else {"cup"})
    assert len(versions) == 3, "the version follows the prompts"
    remembered = ask(backend, "/predict", {**body, "tasks": tasks[:1]}).json()["results"][0]
    assert remembered["model_version"] in versions
    about: dict[str, Any] = {"id": project, "label_config": LOW, "model_version": "another"}
    for config, known in ((LOW, True), (LOW.replace("cat", "dog"), False)):
        event = {"action": "PROJECT_UPDATED", "project": {**about, "label_config": config}}
        assert ask(backend, "/webhook", event).json()["status"] == "ok"
        again = ask(backend, "/predict", {**body, "tasks": tasks[:1]}).json()["results"][0]
        assert (again["model_version"] in versions) is known, "only other labels forget a prompt"
    bad = {**body, "label_config": "<View><Text name='t' value='$t'/></View>"}
    answer_ = ask(backend, "/predict", bad)
    assert answer_.status_code == 422 and "Rectangle" in answer_.text


def test_start_training_sets_thresholds_from_what_labelers_kept(
    backend: str,
    server: Server,
    tiny_checkpoint: Path,
    state: Path,
    connection: Connection,
    many_run: Callable[..., tuple[Run, int]],
) -> None:
    run, project = many_run(40, boxes=4)
    push(plan(run, connection, project), connection)
    for row in run.images("done"):
        assert row.task is not None
        submit(connection, row.task, lambda regions: [r for r in regions if r["score"] > 0.55])
    found = connect(connection, project, backend)
    body = {"project": f"{project}.1", "schema": CONFIG}
    before = ask(backend, "/setup", body).json()["model_version"]
    connection.write("POST", f"/api/ml/{found['id']}/train", json={})
    deadline = time.monotonic() + 30
    while ask(backend, "/setup", body).json()["model_version"] == before:
        assert time.monotonic() < deadline, "other thresholds are another version"
        time.sleep(0.2)
    learned = ask(backend, "/setup", body).json()["model_version"]
    with started(server, tiny_checkpoint, state) as again:
        assert ask(again, "/setup", body).json()["model_version"] == learned, "after a restart"
    own = CONFIG.replace("<Label ", '<Label model_score_threshold="0.2" ')
    version = ask(backend, "/setup", {"project": f"{project}.1", "schema": own}).json()
    assert version == ask(backend, "/setup", {"project": "0", "schema": own}).json(), (
        "the configuration's own thresholds go first"
    )


def test_webhooks_get_the_password_that_label_studio_leaves_out(
    backend: str,
    connection: Connection,
    photos_on_server: Path,
    server: Server,
    make_project: Callable[..., int],
) -> None:
    project = make_project([], LOW)
    create_local_tasks(connection, project, sources.find_images([photos_on_server]), server.files)
    connect(connection, project, backend)
    deadline = time.monotonic() + 30
    while True:
        (hook,) = connection.get("/api/webhooks/", params={"project": project})
        if "Authorization" in hook["headers"]:
            break
        assert time.monotonic() < deadline, "the webhook is not signed"
        time.sleep(0.2)
    url = local_address(f"{photos_on_server.name}/a.jpg")
    body = {
        "tasks": [{"id": 1, "data": {"image": url}}],
        "label_config": LOW,
        "project": f"{project}.17",
    }

    def version(**more: Any) -> str:
        answer = ask(backend, "/predict", {**body, **more}).json()["results"][0]
        return str(answer["model_version"])

    plain = version()
    prompted = version(params={"context": {"result": typed("cup: mug")}})
    assert version() == prompted != plain
    for config in (LOW.replace("cat", "dog"), LOW):  # labelers' labels change, and change back
        connection.write("PATCH", f"/api/projects/{project}/", json={"label_config": config})
    while version() != plain:
        assert time.monotonic() < deadline, "the event does not arrive"
        time.sleep(0.2)


def test_setup_gives_the_version_and_a_wrong_password_nothing(backend: str) -> None:
    found = ask(backend, "/setup", {"project": "1.1", "schema": LOW}).json()
    assert found["model_version"].startswith("detclipv2-tiny@")
    other = LOW.replace('"cup"', '"mug"')
    assert ask(backend, "/setup", {"schema": other}).json() != found, (
        "other labels, another version"
    )
    assert httpx.get(f"{backend}/health").status_code == 401
    assert httpx.post(f"{backend}/predict", json={}, auth=("ls", "no")).status_code == 401
