"""The live backend's door: odd bodies, pages of others, load, and who may come in."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from app.cli import main
from app.engine import Engine
from app.labelstudio.api.connection import Connection
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.backend.bodies import MAX_BODY
from app.labelstudio.backend.http import build_backend
from app.labelstudio.backend.learned_state import LearnedState
from app.labelstudio.backend.limited_pool import LimitedPool
from app.labelstudio.backend.service import Backend
from tests.app.labelstudio.conftest import CONFIG, PROMPTED, free_port, typed
from tests.app.labelstudio.test_usable_reviews import inline
from tests.fuzz.backend_bodies import odd_bodies

JSON = {"Content-Type": "application/json"}


@contextmanager
def serving(backend: Backend, **more: Any) -> Iterator[httpx.Client]:
    """The backend as it is served."""
    port = free_port()
    config = uvicorn.Config(build_backend(backend, **more), port=port, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def backend(engine: Engine) -> Backend:
    connection = Connection("http://127.0.0.1:9", "0" * 40, timeout=1)
    made = Backend(lambda: engine.predictor, TaskImages(connection), connection)
    list(made.predict([], CONFIG, "0"))  # waits for the model
    return made


def test_odd_bodies_are_answered_and_never_a_fault_of_ours(backend: Backend) -> None:
    counts: Counter[int] = Counter()
    with serving(backend) as client:
        for path, body in odd_bodies(seed=5, count=600):
            answer = client.post(path, content=body, headers=JSON)
            counts[answer.status_code] += 1
            assert answer.status_code in (200, 400, 422), f"{path} {body[:300]!r}: {answer.text}"
            assert answer.status_code == 200 or answer.json()["detail"]
        assert client.get("/health").json()["model"] == "ready"
    assert counts[200] > 50 and counts[400] > 20 and counts[422] > 100, counts


def test_a_body_is_counted_while_it_is_read(backend: Backend) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 10 * MAX_BODY:
            sent += 2**20
            yield b" " * 2**20

    with serving(backend) as client:
        told = HTTPConnection(client.base_url.host, client.base_url.port or 0)
        told.putrequest("POST", "/predict")
        for name, value in {**JSON, "Content-Length": str(MAX_BODY + 1)}.items():
            told.putheader(name, value)
        told.endheaders()  # and no byte of the body
        assert told.getresponse().status == 413
    with serving(backend) as client:
        with suppress(httpx.WriteError):  # it hangs up rather than read on
            assert client.post("/predict", content=endless(), headers=JSON).status_code == 413
        assert sent < 4 * MAX_BODY
        assert client.get("/health").status_code == 200


def test_pages_cannot_ask(backend: Backend) -> None:
    """A page of anybody, in the browser of whoever sits at this machine."""
    event = json.dumps({"action": "START_TRAINING", "project": {"id": 1}})
    with serving(backend) as client:
        for path in ("/predict", "/setup", "/webhook", "/train"):
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
                answer = client.post(path, content=event, headers={"Content-Type": kind})
                assert answer.status_code == 415
            answer = client.post(path, content=event, headers={**JSON, "Origin": "http://evil"})
            assert answer.status_code == 403
        answer = client.options("/webhook", headers={"Origin": "http://evil"})
        assert "access-control-allow-origin" not in answer.headers
        answer = client.delete("/prompt/1", headers={"Origin": "http://evil"})
        assert answer.status_code == 403


def test_nobody_else_comes_in_without_a_password(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, Any]] = []
    monkeypatch.setattr("uvicorn.run", lambda _, **more: started.append(more))
    monkeypatch.setattr("app.engine.Engine.load", lambda *_, **__: None)
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"):
        monkeypatch.delenv(name, raising=False)
    key = tmp_path / "key"
    key.write_text("0" * 40)
    command = [
        "serve-backend",
        "--url",
        "http://127.0.0.1:9",
        "--key-file",
        str(key),
        "--state",
        str(tmp_path / "state.json"),
    ]
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", ""):
        assert main([*command, "--host", host]) == 2
        said = capsys.readouterr().err
        assert f"--host {host}" in said and "--basic-auth" in said and "--allow-anyone" in said
    assert started == []
    assert main(command) == 0
    assert "No password: whoever reaches 127.0.0.1:9090" in capsys.readouterr().out
    assert main([*command, "--host", "0.0.0.0", "--allow-anyone"]) == 0
    assert "No password: whoever reaches 0.0.0.0:9090" in capsys.readouterr().out
    monkeypatch.setenv("BACKEND_PASSWORD", "secret")
    assert main([*command, "--host", "0.0.0.0", "--basic-auth", "ls"]) == 0
    assert "No password" not in capsys.readouterr().out
    assert [one["host"] for one in started] == ["127.0.0.1", "0.0.0.0", "0.0.0.0"]


class Slow:
    """The detector, which waits at a gate before each look."""

    def __init__(self, real: Any) -> None:
        self._real, self.gate, self.looks = real, threading.Semaphore(0), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def encode_image(self, *arguments: Any) -> Any:
        self.gate.acquire(timeout=60)
        self.looks += 1
        return self._real.encode_image(*arguments)


@pytest.fixture
def slow(engine: Engine) -> tuple[Slow, Backend]:
    connection = Connection("http://127.0.0.1:9", "0" * 40)
    detector = Slow(engine.predictor)
    state = LearnedState()
    made = Backend(lambda: detector, TaskImages(connection), connection, state=state)  # type: ignore[arg-type, return-value]
    list(made.predict([], CONFIG, "0"))
    return detector, made


def asking(client: httpx.Client, tasks: int, **more: Any) -> Callable[[], httpx.Response]:
    """A prediction that is asked for in a thread of its own; call it for the answer."""
    task = {"id": 1, "data": {"image": inline()}}
    body = {"tasks": [task] * tasks, "label_config": PROMPTED, "project": "1.1", **more}
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(client.post("/predict", json=body)))
    thread.start()

    def answer() -> httpx.Response:
        thread.join(60)
        return answers[0]

    return answer


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_health_and_setup_answer_while_all_predictions_wait(slow: tuple[Slow, Backend]) -> None:
    detector, backend = slow
    pool = LimitedPool(3, 50)
    with serving(backend, pool=pool) as client:
        waiting = [asking(client, 1) for _ in range(3)]
        wait_until(lambda: pool._running == 3)
        # nothing was looked at yet, and what is answered now waits for none of it
        assert client.get("/health").json()["model"] == "ready"
        body = {"project": "1.1", "schema": CONFIG}
        assert client.post("/setup", json=body).json()["model_version"].startswith("detclipv2-")
        event = {"action": "PROJECT_UPDATED", "project": {"id": 1}}
        assert client.post("/webhook", json=event).status_code == 200
        assert detector.looks == 0
        refused = asking(client, 1)()
        assert refused.status_code == 503 and refused.headers["Retry-After"]
        assert "3 requests are under way" in refused.json()["detail"]
        context = {"context": {"result": typed("cat")}}
        (answer,) = asking(client, 1, params=context)().json()["results"]
        (region,) = answer["result"]
        assert region["value"]["text"] == [
            "cat",
            "DetCLIPv2: 3 requests are under way; try again in a minute",
        ], "the labeler reads it"
        for _ in waiting:
            detector.gate.release()
        assert [one().status_code for one in waiting] == [200] * 3
    wait_until(lambda: pool._running == 0)


def test_what_is_there_in_time_is_answered(slow: tuple[Slow, Backend]) -> None:
    """A task without an answer is left open: an empty one would say that nothing is there."""
    detector, backend = slow
    pool = LimitedPool(2, 1.5)
    with serving(backend, pool=pool) as client:
        detector.gate.release(2)
        answer = asking(client, 5)()
        results = answer.json()["results"]
        assert [isinstance(one, dict) for one in results] == [True, True, False, False, False]
        assert results[2:] == [[], [], []]
        late = asking(client, 1)()
        assert late.status_code == 503 and "no answer within 1.5 s" in late.json()["detail"]
        detector.gate.release(50)
        wait_until(lambda: pool._running == 0)
        assert detector.looks <= 5, "what nobody waits for any more ends"
        assert asking(client, 1)().status_code == 200
