"""The app as a service: gradio_client against the real server."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import jsonschema
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from app.ui.detect.find import DetectControls
from tests.places import DEMO, REPO

COFFEE = DEMO / "coffee.jpg"
CLOSED = '"additionalProperties": false, "properties"'
LOW = 0.02  # a threshold that the scores of a random tiny model pass


@pytest.fixture(scope="module")
def client(served: str) -> Client:
    return Client(served, verbose=False)


def ask(client: Client, photo: Path | None, prompts: str, **settings: Any) -> Any:
    return client.predict(
        photo=None if photo is None else handle_file(str(photo)),
        prompts=prompts,
        api_name="/detect",
        **settings,
    )


def test_detect_returns_coco_and_the_picture(client: Client) -> None:
    dataset, picture = ask(client, DEMO / "coffee.jpg", "cup, a red mug", threshold=LOW)
    assert [c["name"] for c in dataset["categories"]] == ["cup", "a red mug"]
    assert dataset["annotations"]
    assert dataset["images"][0]["file_name"] == "coffee.jpg"
    assert dataset["info"]["threshold"] == LOW
    with Image.open(picture) as drawn:
        assert drawn.size == (600, 400)


def test_settings_reach_the_engine(client: Client) -> None:
    dataset, _ = ask(client, DEMO / "coffee.jpg", "cup", threshold=LOW, max_boxes=2)
    assert len(dataset["annotations"]) == 2
    close, _ = ask(client, DEMO / "coffee.jpg", "cup", threshold=LOW, max_boxes=300, tiles=2)
    assert close["info"]["tiles"] == 2
    nothing, _ = ask(client, DEMO / "coffee.jpg", "cup", threshold=1)
    assert nothing["annotations"] == []


@pytest.mark.parametrize(
    ("photo", "prompts", "message"),
    [
        (None, "cup", "No photo yet"),
        (DEMO / "coffee.jpg", " ", "No words yet"),
        (DEMO / "coffee.jpg", "cup @2", "line 1"),
        (DEMO / "CREDITS.md", "cup", "not a picture"),
    ],
)
def test_errors_say_what_to_do(
    client: Client, photo: Path | None, prompts: str, message: str
) -> None:
    with pytest.raises(AppError, match=message):
        ask(client, photo, prompts)


def test_info_names_the_model(client: Client) -> None:
    info = client.predict(api_name="/info")
    assert len(info["checkpoint"]) == 64
    assert info["milliseconds_per_photo"] > 0


def test_align_returns_scores_phrases_and_evidence(client: Client) -> None:
    photo = handle_file(str(DEMO / "coffee.jpg"))
    told = client.predict(
        photo=photo, caption="A red mug beside a dog", regions=20, api_name="/align"
    )
    assert [p["text"] for p in told["phrases"]] == ["A red mug", "a dog", "A red mug beside a dog"]
    assert told["phrases"][0]["span"] == [0, 9]
    assert len(told["scores"]) == len(told["boxes"]) <= 20
    assert all(p["present"] == (p["evidence"] >= told["least_evidence"]) for p in told["phrases"])
    given = client.predict(
        photo=photo, caption="", phrases="a cat\na kite", whole=False, api_name="/align"
    )
    assert [p["text"] for p in given["phrases"]] == ["a cat", "a kite"]
    with pytest.raises(AppError, match="No caption yet"):
        client.predict(photo=photo, caption="", api_name="/align")
    with pytest.raises(AppError, match="luck is not in the list"):
        client.predict(photo=photo, caption="a cat", ranking="luck", api_name="/align")


def test_compare_names_every_change(client: Client) -> None:
    told = client.predict(
        photo=handle_file(str(DEMO / "coffee.jpg")),
        words_a="cup",
        words_b="cup, zebra",
        threshold=LOW,
        api_name="/compare",
    )
    assert told["counts"]["lost"] == 0
    gained = {c["after"]["name"] for c in told["changes"] if c["kind"] == "gained"}
    assert gained <= {"zebra"}
    assert sum(told["counts"].values()) == len(told["changes"])


def test_answers_are_as_their_types_say(client: Client) -> None:
    offered = client.view_api(return_format="dict", print_info=False)
    assert isinstance(offered, dict)
    photo = handle_file(str(COFFEE))
    told = {
        "/detect": ask(client, COFFEE, "cup", threshold=LOW)[0],
        "/info": client.predict(api_name="/info"),
        "/align": client.predict(photo=photo, caption="A red mug", api_name="/align"),
        "/compare": client.predict(
            photo=photo, words_a="cup", words_b="cup, zebra", threshold=LOW, api_name="/compare"
        ),
    }
    for name, answer in told.items():
        schema = offered["named_endpoints"][name]["returns"][0]["type"]
        closed = json.loads(json.dumps(schema).replace('"properties"', CLOSED))
        jsonschema.validate(answer, closed)
    returns = offered["named_endpoints"]["/align"]["returns"][0]["python_type"]["type"]
    assert "phrases: list[dict(text: str" in returns and "evidence: float" in returns


def test_the_documents_example_runs(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (REPO / "docs" / "app.md").read_text(encoding="utf-8")
    section = readme.split("## As a service")[1]
    code = section.split("```python\n")[1].split("```")[0]
    code = code.replace("http://127.0.0.1:7860/", served).replace('"photo.jpg"', repr(str(COFFEE)))
    exec(compile(code, "app.md", "exec"), {})
    told = capsys.readouterr().out
    assert "a red mug" in told and "gained" in told


def cpu_seconds(pid: int) -> float:
    """Of all threads of a process so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def test_two_at_once_take_little_more_than_one_after_the_other(
    served: str, served_process: subprocess.Popen[str], tmp_path: Path
) -> None:
    clients = [Client(served, verbose=False) for _ in range(2)]
    shots = iter(range(100))
    with Image.open(COFFEE) as photo:  # large, so that work outweighs the queue's own pauses
        photo.resize((1800, 1200)).save(tmp_path / "large.jpg")

    def look(client: Client) -> None:
        path = tmp_path / f"{next(shots)}.jpg"  # a photo that nobody has seen: the tower runs
        path.write_bytes((tmp_path / "large.jpg").read_bytes() + str(path).encode())
        ask(client, path, "cup, a red mug", threshold=LOW)

    def in_turn() -> None:
        for client in clients:
            look(client)

    def together() -> None:
        threads = [threading.Thread(target=look, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def cost(work: Callable[[], object]) -> tuple[float, float]:
        cpu, began = cpu_seconds(served_process.pid), time.perf_counter()
        work()
        return cpu_seconds(served_process.pid) - cpu, time.perf_counter() - began

    in_turn()  # the first time also loads what the clients need
    costs = [(cost(in_turn), cost(together)) for _ in range(7)]
    # In units of one person alone. Other work on the machine changes what the clock says, from one
    # moment to the next, but hardly the work of the server: the clock gets a wider limit.
    work, clock = (
        median(2 * both[k] / one_by_one[k] for one_by_one, both in costs) for k in (0, 1)
    )
    assert work <= 2.2, costs
    assert clock <= 3, costs


def test_only_these_endpoints_are_offered(client: Client) -> None:
    offered = client.view_api(return_format="dict", print_info=False)
    assert isinstance(offered, dict)
    assert set(offered["named_endpoints"]) == {"/align", "/ask", "/compare", "/detect", "/info"}
    names = [p["parameter_name"] for p in offered["named_endpoints"]["/detect"]["parameters"]]
    assert names == ["photo", "prompts", *DetectControls._fields]
    names = [p["parameter_name"] for p in offered["named_endpoints"]["/ask"]["parameters"]]
    assert names == ["run", "prompts", "threshold"]
    json.dumps(offered)
