"""The Detect tab without a browser: page and endpoint share one middle."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from app.engine import Engine
from app.engine_types import Result
from app.ui.detect.actions import Actions, DetectOutputs, Session
from app.ui.detect.drawings import Drawings
from app.ui.detect.endpoints import Endpoints
from app.ui.detect.find import DetectControls, DetectInputs, find
from app.ui.shared.events import SKIP
from app.ui.shared.trouble import Trouble
from detclipv2.serving import DEFAULTS

LOW = (0.02, 0.6, 100, 1, "thorough", False, False)


@pytest.fixture
def photo(photos: Path) -> str:
    return str(photos / "coffee.jpg")


@pytest.mark.parametrize(
    ("prompts", "threshold", "why"),
    [("", 0.3, "No words yet"), ("cup", 7, "threshold must lie in 0..1"), ("cup @x, @", 0.3, "@")],
)
def test_page_and_endpoint_say_the_same(
    shared_engine: Engine, photo: str, tmp_path: Path, prompts: str, threshold: float, why: str
) -> None:
    controls = DetectControls.of(DEFAULTS)._replace(threshold=threshold)
    found = find(shared_engine, DetectInputs(photo, prompts, controls))
    assert isinstance(found, Trouble) and why in found.message
    drawings = Drawings(tmp_path / "drawn")
    with pytest.raises(gr.Error) as raised:
        Endpoints(shared_engine, drawings).detect(photo, prompts, threshold)
    assert raised.value.message == found.message, "as it is, not as HTML"
    assert not drawings.folder.exists(), "nothing is drawn for an error"


def test_an_endpoint_draws_one_picture(shared_engine: Engine, photo: str, tmp_path: Path) -> None:
    drawings = Drawings(tmp_path / "drawn")
    dataset, picture = Endpoints(shared_engine, drawings).detect(photo, "cup", *LOW)
    files = [path for path in drawings.folder.rglob("*") if path.is_file()]
    assert files == [Path(picture)] and picture.endswith("coffee.boxes.png")
    assert dataset["categories"][0]["name"] == "cup"


def test_handlers_name_what_they_set(shared_engine: Engine, photo: str, tmp_path: Path) -> None:
    actions = Actions(shared_engine, Drawings(tmp_path / "drawn"))
    shown = actions.detect(photo, Session(), "cup", *LOW, progress=None)
    assert isinstance(shown.session.result, Result) and shown.prompts == SKIP
    assert shown.class_column.visible and Path(shown.photo).name == "boxes.jpg"
    # the panel shows our drawing now: the photo itself is looked at again, not the drawing
    again = actions.detect(shown.photo, shown.session, "cup", *LOW, progress=None)
    assert again.session.source == photo
    wrong = actions.detect(shown.photo, shown.session, "", *LOW, progress=None)
    assert wrong.photo == photo and "No words yet" in wrong.status
    assert not wrong.results.visible and wrong.boxes == SKIP
    assert actions.refilter(Session(), "cup", *LOW) == DetectOutputs()
    rows = [["cup", 0.9, 0, None]]
    edited = actions.edit_thresholds(rows, shown.session, "cup", *LOW)
    assert edited.prompts == "cup @0.9" and edited.photo != SKIP
