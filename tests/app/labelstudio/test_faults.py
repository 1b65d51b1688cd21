"""What can go wrong on the way: a message that says what to do, and nothing lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import pytest
from label_studio_sdk import LabelStudio

from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.keys import kind_of_key
from app.labelstudio.api.payload import to_boxes
from app.labelstudio.push.plan import plan
from app.labelstudio.push.push import push
from app.runs.store import Run
from tests.app.labelstudio.conftest import TOKEN, Server
from tests.app.labelstudio.proxy import faulty
from tests.places import REPO

ManyRun = Callable[..., tuple[Run, int]]


def shown(connection: Connection, project: int) -> list[tuple]:
    """(task, version, boxes) of every prediction."""
    fields = {"fields": "all", "include": "id,predictions"}
    return sorted(
        (task["id"], one["model_version"], sorted(box for _, box in _corners(one)))
        for task in connection.pages({"project": project, **fields})
        for one in task["predictions"]
    )


def _corners(one: dict) -> list[tuple]:
    boxes = to_boxes(one["result"], (640, 640))
    return [(0, (b.name, *(round(v, 1) for v in b.xyxy))) for _, b in boxes]


def wanted(run: Run) -> list[tuple]:
    return sorted(
        (
            row.task,
            run.model_version,
            sorted((b.name, *(round(v, 1) for v in b.xyxy)) for b in run.boxes(row)),
        )
        for row in run.images("done", "empty")
    )


def same(run: Run, connection: Connection, project: int) -> bool:
    """Every prediction exactly once, boxes to 0.1 px and a rounding."""
    a, b = shown(connection, project), wanted(run)
    if [(t, v, len(x)) for t, v, x in a] != [(t, v, len(x)) for t, v, x in b]:
        return False
    return all(
        p[0] == q[0] and all(abs(m - n) < 0.25 for m, n in zip(p[1:], q[1:], strict=True))
        for (_, _, x), (_, _, y) in zip(a, b, strict=True)
        for p, q in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("what", ["lose", "double", "500", "429", "drop", "slow"])
def test_one_fault_on_a_write_is_healed(
    what: str, server: Server, connection: Connection, many_run: ManyRun
) -> None:
    run, project = many_run(12)
    left = [1]

    def fault(method: str, path: str) -> str:
        if method == "POST" and "import/predictions" in path and left:
            left.pop()
            return what
        return "pass"

    with faulty(server.url, fault) as url:
        through = Connection(url, TOKEN, timeout=4)
        push(plan(run, through, project), through)
    assert not left and same(run, connection, project)


def test_a_write_that_arrives_after_it_was_given_up_leaves_no_double(
    server: Server, connection: Connection, many_run: ManyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, project = many_run(24)
    monkeypatch.setattr("app.labelstudio.push.planned.MAX_COUNT", 3)
    # The first chunk's write arrives after its repetition was read back, with the second chunk's.
    writes = iter(["hold", "pass", "release"])

    def fault(method: str, path: str) -> str:
        return next(writes, "pass") if "import/predictions" in path else "pass"

    with faulty(server.url, fault) as url:
        through = Connection(url, TOKEN)
        report = push(plan(run, through, project), through)
    assert report.retried == report.deleted == 3, "sent again, and the late copies deleted"
    assert same(run, connection, project)


@pytest.mark.parametrize(
    ("what", "message"),
    [("500", "start again|same push"), ("429", "same push again|slow down"), ("drop", "same push")],
)
def test_a_fault_that_stays_is_told_and_the_push_can_be_repeated(
    what: str, message: str, server: Server, connection: Connection, many_run: ManyRun
) -> None:
    run, project = many_run(6)

    def fault(method: str, path: str) -> str:
        return what if method == "POST" and "import/predictions" in path else "pass"

    with faulty(server.url, fault) as url:
        through = Connection(url, TOKEN)
        made = plan(run, through, project)
        with pytest.raises(LabelStudioError, match=message):
            push(made, through)
    assert shown(connection, project) == []
    push(plan(run, connection, project), connection)
    assert same(run, connection, project)


def test_reads_are_repeated(server: Server) -> None:
    count = [0]

    def fault(method: str, path: str) -> str:
        count[0] += 1
        return ("500", "drop", "429", "pass")[min(count[0] - 1, 3)]

    with faulty(server.url, fault) as url:
        assert Connection(url, TOKEN).get("/api/version")["release"]
    assert count[0] == 4


def test_keys_of_either_kind_and_wrong_ones(server: Server) -> None:
    legacy = server.connect()
    assert legacy.check().key_kind == "legacy token"
    personal = legacy.write("POST", "/api/token/")["token"]
    assert kind_of_key(personal) == "personal access token"
    account = server.connect(personal).check()
    assert account.email and account.server.startswith("1.")
    assert personal not in repr(server.connect(personal)) + repr(vars(server.connect(personal)))
    for key in ("0" * 40, personal[:-4] + "AAAA"):
        with pytest.raises(LabelStudioError, match=r"does not accept this .* Account") as e:
            server.connect(key).check()
        assert key not in str(e.value)
    legacy.write("POST", "/api/token/blacklist/", json={"refresh": personal})
    with pytest.raises(LabelStudioError, match="revoked"):
        server.connect(personal).check()


def test_messages_for_what_is_not_there(server: Server, many_run: ManyRun) -> None:
    run, _ = many_run(1)
    with pytest.raises(LabelStudioError, match="project 99999 does not exist"):
        plan(run, server.connect(), 99999)
    with pytest.raises(LabelStudioError, match="cannot be reached"):
        Connection("http://127.0.0.1:9", TOKEN).check()
    with pytest.raises(LabelStudioError, match="no address"):
        Connection("localhost:8080", TOKEN)
    with pytest.raises(LabelStudioError, match="there is no key"):
        Connection(server.url, " ")


@pytest.mark.parametrize("names", [("URL", "API_KEY"), ("HOST", "ACCESS_TOKEN")])
def test_both_spellings_of_the_environment(
    names: tuple[str, str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("URL", "HOST", "API_KEY", "ACCESS_TOKEN"):
        monkeypatch.delenv(f"LABEL_STUDIO_{name}", raising=False)
    monkeypatch.setenv(f"LABEL_STUDIO_{names[0]}", server.url)
    monkeypatch.setenv(f"LABEL_STUDIO_{names[1]}", TOKEN)
    assert Connection.from_environment().check().url == server.url


@pytest.mark.slow
def test_a_thousand_tasks_and_the_sdk_beside(
    connection: Connection, many_run: ManyRun, server: Server
) -> None:
    run, project = many_run(1000, boxes=10)
    report = push(plan(run, connection, project), connection)
    assert same(run, connection, project)
    sdk = LabelStudio(base_url=server.url, api_key=TOKEN)
    sample = plan(run, connection, project).skip[:60]
    start = time.perf_counter()
    for item in sample:
        payload = {**item.payload, "model_version": "loop"}
        sdk.predictions.create(**payload)
    loop = len(sample) / (time.perf_counter() - start)
    print(f"\npush {report.rate:.1f} tasks/s with read-back, SDK loop {loop:.1f} tasks/s")
    assert report.rate >= loop


@pytest.mark.slow
def test_twenty_faults_in_a_row(server: Server, connection: Connection, many_run: ManyRun) -> None:
    run, project = many_run(60)
    generator = random.Random(0)
    injected = []

    def fault(method: str, path: str) -> str:
        if method in ("POST", "DELETE") and len(injected) < 20 and generator.random() < 0.8:
            injected.append(generator.choice(["lose", "double"]))
            return injected[-1]
        return "pass"

    with faulty(server.url, fault) as url:
        through = Connection(url, TOKEN)
        for round_ in range(30):
            run.apply(f"cat @{0.3 + 0.01 * round_:.2f}, cup")
            push(plan(run, through, project, old="replace"), through)
            assert same(run, connection, project)
            if len(injected) >= 20:
                break
    assert len(injected) == 20 and {"lose", "double"} <= set(injected)


@pytest.mark.slow
def test_killed_twenty_times(
    server: Server, connection: Connection, many_run: ManyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, project = many_run(200)
    program = """
import sys
from pathlib import Path
from app.labelstudio.push import planned
from app.labelstudio.push.plan import plan
from app.labelstudio.api.connection import Connection
from app.labelstudio.push.push import push
from app.runs.store import Run
planned.MAX_COUNT = 8
connection = Connection(sys.argv[1], sys.argv[2])
run = Run(Path(sys.argv[3]))
print("go", flush=True)
made = plan(run, connection, int(sys.argv[4]), old="replace")
push(made, connection)
print("done", flush=True)
"""
    command = [sys.executable, "-c", program, server.url, TOKEN, str(run.folder), str(project)]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    generator = random.Random(1)
    kills = 0
    for attempt in range(80):
        process = subprocess.Popen(
            command, env=environment, cwd=REPO, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdout.readline() == "go\n"
        last = kills >= 20
        try:
            process.wait(timeout=None if last else generator.uniform(0.05, 2.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        process.stdout.close()
        tasks = [
            task for task, version, _ in shown(connection, project) if version == run.model_version
        ]
        if process.returncode == 0:
            assert same(run, connection, project)
            if last:
                break
            run.apply(f"cat @{0.3 + 0.005 * attempt:.3f}, cup")  # more to do
        else:
            # a kill can leave a write on its way, which the next start heals; never a loss of more
            assert len(tasks) <= 200 + 8
    assert kills >= 20 and same(run, connection, project)


def test_the_proxy_passes_things_on(server: Server) -> None:
    with faulty(server.url, lambda method, path: "pass") as url:
        assert httpx.get(f"{url}/health").json() == {"status": "UP"}
