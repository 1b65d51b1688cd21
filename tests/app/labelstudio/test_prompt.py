"""What labelers type and draw for the live backend."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from app.box import Box
from app.engine import Engine
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.backend.detection import detect, detect_inside
from app.labelstudio.backend.http import build_backend
from app.labelstudio.backend.learned_state import LearnedState
from app.labelstudio.backend.service import Backend
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS, DetectSettings
from tests.app.labelstudio.conftest import APART, CONFIG, PROMPTED, typed
from tests.app.labelstudio.desk import Desk
from tests.app.labelstudio.test_usable_reviews import inline, loaded

NOTES = CONFIG.replace(
    "</View>",
    '<TextArea name="comment" toName="image"/>'
    '<TextArea name="prompt" toName="image" perRegion="true"/>'
    "</View>",
)


def live(engine: Engine, state: LearnedState | None = None) -> Backend:
    connection = Desk().connect()
    images = TaskImages(connection)
    made = Backend(
        lambda: engine.predictor,
        images,
        connection,
        settings=DetectSettings(threshold=0.02),
        state=state,
    )
    list(made.predict([], CONFIG, "0"))
    return made


def version(backend: Backend, config: str = PROMPTED) -> str:
    return str(backend.setup("7", config)["model_version"])


def said(answer: Any) -> list[str]:
    """The texts of an answer's text areas."""
    return [
        line
        for region in answer["result"]
        if region["type"] == "textarea"
        for line in region["value"]["text"]
    ]


def test_only_a_text_that_is_marked_is_a_prompt(tmp_path: Path) -> None:
    """A comment or a note on a region once silenced the backend for everybody, for good."""
    file = tmp_path / "state.json"
    backend = loaded(Desk(), LearnedState(file, "http://here"))
    for config, control in (
        (NOTES, "comment"),
        (NOTES, "prompt"),
        (PROMPTED, "label"),
        (CONFIG, "prompt"),
    ):
        before = version(backend, config)
        (answer,) = backend.predict([], config, "7", typed("dog", control))
        assert answer == [] and version(backend, config) == before
    assert not file.exists()
    marked = PROMPTED.replace('"prompt"', '"Prompt"')
    list(backend.predict([], marked, "7", typed("cup", "Prompt")))
    assert version(backend, marked) != version(backend, PROMPTED)


def test_a_prompt_is_kept_once_a_label_takes_a_class_of_it(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    backend = loaded(Desk(), LearnedState(file, "http://here"))
    before = version(backend)
    (answer,) = backend.predict([], PROMPTED, "7", typed("zebra"))
    assert said(answer)[0] == "zebra"
    assert "no label takes zebra; the labels here are cat, cup" in said(answer)[1]
    assert version(backend) == before and not file.exists()
    list(backend.predict([], PROMPTED, "7", typed(["cup: mug", "DetCLIPv2: words of ours"])))
    kept = version(backend)
    assert kept != before
    again = loaded(Desk(), LearnedState(file, "http://here"))
    assert version(again) == kept, "after a restart"
    (answer,) = again.predict([], PROMPTED, "7", typed("zebra"))
    assert version(again) == kept, "what cannot be used changes nothing"


@pytest.mark.parametrize("text", ["reset", " Reset ", "", " "])
def test_a_reset_makes_the_labels_count_again(text: str, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    backend = loaded(Desk(), LearnedState(file, "http://here"))
    before = version(backend)
    list(backend.predict([], PROMPTED, "7", typed("cup: mug")))
    assert version(backend) != before
    (answer,) = backend.predict([], PROMPTED, "7", typed(text))
    assert said(answer)[-1] == "DetCLIPv2: the project's labels count again"
    assert version(backend) == before
    assert version(loaded(Desk(), LearnedState(file, "http://here"))) == before, "after a restart"


def test_a_prompt_is_forgotten_by_request_and_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastapi.testclient import TestClient

    from app.cli import main

    file = tmp_path / "state.json"
    backend = loaded(Desk(), LearnedState(file, "http://127.0.0.1:9"))
    before = version(backend)
    client = TestClient(build_backend(backend))
    for forgotten in (True, False):
        if forgotten:
            list(backend.predict([], PROMPTED, "7", typed("cup: mug")))
        answer = client.delete("/prompt/7")
        assert answer.json() == {"status": "ok", "forgotten": forgotten}
        assert version(backend) == before
    assert client.delete("/prompt/x").status_code == 422
    list(backend.predict([], PROMPTED, "7", typed("cup: mug")))
    monkeypatch.setattr("uvicorn.run", lambda *_, **__: None)
    monkeypatch.setattr("app.engine.Engine.load", lambda *_, **__: None)
    key = tmp_path / "key"
    key.write_text("0" * 40)
    command = [
        "serve-backend",
        "--url",
        "http://127.0.0.1:9",
        "--key-file",
        str(key),
        "--state",
        str(file),
    ]
    assert main(command) == 0
    assert LearnedState(file, "http://127.0.0.1:9").prompt("7") is not None
    assert main([*command, "--forget-prompt", "7"]) == 0
    assert LearnedState(file, "http://127.0.0.1:9").prompt("7") is None


def test_a_disk_that_is_full_does_not_end_a_prediction(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.labelstudio.backend.learned_state.write_bytes", full)
    backend = loaded(Desk(), LearnedState(Path("/somewhere/state.json"), "http://here"))
    before = version(backend)
    list(backend.predict([], PROMPTED, "7", typed("cup: mug")))
    assert version(backend) != before and "a restart will forget" in caplog.text


def drawn(x: float, y: float, w: float, h: float, label: str, apart: bool = False) -> Any:
    sides = {"x": x, "y": y, "width": w, "height": h, "rotation": 0}
    shared = {"id": "r", "to_name": "image", "original_width": 64, "original_height": 48}
    if not apart:
        value = {**sides, "rectanglelabels": [label]}
        return [{**shared, "from_name": "label", "type": "rectanglelabels", "value": value}]
    return [
        {**shared, "from_name": "shape", "type": "rectangle", "value": sides},
        {**shared, "from_name": "name", "type": "labels", "value": {**sides, "labels": [label]}},
    ]


@pytest.mark.parametrize("apart", [False, True])
def test_a_drawn_rectangle_is_answered_inside_it_with_its_label(
    apart: bool, engine: Engine
) -> None:
    backend, config = live(engine), APART if apart else CONFIG
    task = {"id": 1, "data": {"image": inline((640, 480))}}
    for label, (x, y, w, h) in (("cup", (50, 50, 40, 40)), ("cat", (0, 0, 30, 100))):
        (answer,) = backend.predict([task], config, "7", drawn(x, y, w, h, label, apart))
        assert isinstance(answer, dict)
        kinds = [region["type"] for region in answer["result"]]
        assert kinds == (["rectangle", "labels"] if apart else ["rectanglelabels"])
        value = answer["result"][-1]["value"]
        assert value["labels" if apart else "rectanglelabels"] == [label]
        centre = value["x"] + value["width"] / 2, value["y"] + value["height"] / 2
        assert x <= centre[0] <= x + w and y <= centre[1] <= y + h
        assert answer["result"][0]["original_width"] == 640


def test_fast_looks_are_one_pass_and_another_version(looking_engine: Engine) -> None:
    connection, found = Desk().connect(), []
    for settings in (DEFAULTS, DetectSettings(looks="fast")):
        images = TaskImages(connection)
        made = Backend(lambda: looking_engine.predictor, images, connection, settings=settings)
        list(made.predict([], CONFIG, "0"))
        before = looking_engine.image_passes
        detect(
            looking_engine.predictor, Image.new("RGB", (64, 64)), Vocabulary.of(["cat"]), settings
        )
        found.append((looking_engine.image_passes - before, "+fast" in version(made, CONFIG)))
    assert found == [(3, False), (1, True)]


class Finds:
    """A detector that finds given boxes, in pixels of what it is shown."""

    def __init__(self, *boxes: tuple[float, ...], scores: tuple[float, ...] = ()) -> None:
        self.boxes, self.scores = boxes, scores or (0.5,) * len(boxes)
        self.shown: list[Image.Image] = []

    def encode_image(self, picture: Image.Image, *_: Any) -> Any:
        self.shown.append(picture)
        return SimpleNamespace(size=picture.size)

    def learned_thresholds(self, vocabulary: Vocabulary) -> Vocabulary:
        return vocabulary

    def detect(self, encoded: Any, vocabulary: Vocabulary, _: Any) -> sv.Detections:
        return sv.Detections(
            np.array(self.boxes, float).reshape(-1, 4),
            confidence=np.array(self.scores),
            class_id=np.zeros(len(self.boxes), int),
            data={"class_name": np.array(["cat"] * len(self.boxes), str)},
        )


def inside(detector: Finds, x1: float, y1: float, x2: float, y2: float) -> Box | None:
    picture = Image.new("RGB", (400, 300))
    around = Box("cat", 0.0, (x1, y1, x2, y2))
    return detect_inside(detector, picture, Vocabulary.parse("cat"), around, DEFAULTS)  # type: ignore[arg-type]


def test_what_lies_in_the_rectangle_and_fills_it_best_is_chosen() -> None:
    """The crop of (100, 100, 200, 200) begins at (85, 85)."""
    detector = Finds((10, 10, 110, 110), (20, 20, 40, 40), (0, 0, 5, 5), scores=(0.3, 0.6, 0.9))
    found = inside(detector, 100, 100, 200, 200)
    assert detector.shown[0].size == (131, 131), "only the rectangle and its margin are looked at"
    assert found == Box("cat", 0.3, (95, 95, 195, 195)), "in pixels of the whole photo"
    assert inside(Finds((0, 0, 5, 5)), 100, 100, 200, 200) is None, "its centre lies outside"
    assert inside(Finds(), 100, 100, 200, 200) is None
    assert inside(Finds((1, 1, 2, 2)), 100, 100, 101, 101) is None, "too small to look at"
    assert inside(Finds((1, 1, 2, 2)), -900, -900, -800, -800) is None, "outside the photo"


def test_a_rectangle_in_which_nothing_is_found_comes_back(engine: Engine) -> None:
    connection = Desk().connect()
    nothing: Any = Finds()
    nothing.fingerprint, nothing.name = "0" * 16, "nano"
    backend = Backend(lambda: nothing, TaskImages(connection), connection)
    task = {"id": 1, "data": {"image": inline((64, 48))}}
    (answer,) = backend.predict([task], CONFIG, "7", drawn(10, 20, 30, 40, "cup"))
    assert isinstance(answer, dict)
    value = answer["result"][0]["value"]
    assert [value[k] for k in ("x", "y", "width", "height")] == pytest.approx([10, 20, 30, 40])
    for context in (drawn(1, 1, 9, 9, "unknown"), [{"type": "keypointlabels", "value": {}}]):
        (answer,) = backend.predict([task], CONFIG, "7", context)
        assert answer == [], "of what is not served nothing is said"


def test_all_images_of_a_task_are_answered(engine: Engine) -> None:
    config = """<View><Image name="a" value="$left"/><Image name="p" valueList="$pages"/>
      <RectangleLabels name="r" toName="a,p"><Label value="cat"/></RectangleLabels></View>"""
    backend = live(engine)
    data = {"left": inline(), "pages": [inline(), inline((48, 64)), "http://nobody/x.jpg"]}
    (answer,) = backend.predict([{"id": 1, "data": data}], config, "7")
    assert answer == [], "not without one of them"
    data["pages"] = data["pages"][:2]
    (answer,) = backend.predict([{"id": 1, "data": data}], config, "7")
    assert isinstance(answer, dict)
    seen = {(r["to_name"], r.get("item_index"), r["original_width"]) for r in answer["result"]}
    assert seen == {("a", None, 64), ("p", 0, 64), ("p", 1, 48)}
    region = drawn(10, 10, 80, 80, "cat")[0] | {"from_name": "r", "to_name": "p", "item_index": 1}
    (answer,) = backend.predict([{"id": 1, "data": data}], config, "7", [region])
    assert isinstance(answer, dict)
    assert {(r["to_name"], r["item_index"], r["original_width"]) for r in answer["result"]} == {
        ("p", 1, 48)
    }
