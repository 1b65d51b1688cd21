"""The size that an app was started with holds in every tab and in its API."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.browse.job import FOLDER_VARIABLE
from app.engine import Engine
from app.ui.align.actions import AlignActions
from app.ui.align.endpoints import Endpoints as AlignEndpoints
from app.ui.align.find import AlignSession
from app.ui.batch.actions import BatchActions
from app.ui.browse.actions import BrowseActions
from app.ui.compare.actions import CompareActions
from app.ui.compare.endpoints import Endpoints as CompareEndpoints
from app.ui.compare.find import Detectors
from app.ui.detect.actions import Actions, Session
from app.ui.detect.drawings import Drawings
from app.ui.detect.endpoints import Endpoints
from app.ui.shared.run_folders import RunFolders
from tests.app.ui.visitors import HERE, LOOKS, RULES
from tests.places import DEMO

SIZE = 96


@dataclass
class Seen:
    """An engine that was started with a size, and the long sides that its tower was given."""

    engine: Engine
    sides: list[int] = field(default_factory=list)


@pytest.fixture
def seen(checkpoint: Path) -> Seen:
    told = Seen(Engine.load(str(checkpoint), {"size": SIZE}))
    encoder = told.engine.predictor._encoder
    tower = encoder._tower

    def watched(pixels: Any) -> Any:
        told.sides.append(max(pixels.shape[-2:]))
        return tower(pixels)

    encoder._tower = watched
    return told


def detect(engine: Engine, folder: Path) -> None:
    photo = str(folder / "coffee.jpg")
    Actions(engine, Drawings(folder / "drawn")).detect(
        photo,
        Session(),
        "cup",
        0.3,
        0.6,
        100,
        1,
        "thorough",
        False,
        False,
        progress=lambda *_, **__: None,
    )


def detect_api(engine: Engine, folder: Path) -> None:
    endpoints = Endpoints(engine, Drawings(folder / "drawn"))
    told, _ = endpoints.detect(str(folder / "coffee.jpg"), "cup")
    assert told["info"]["size"] == SIZE and told["info"]["looks"] == [SIZE]


def align(engine: Engine, folder: Path) -> None:
    AlignActions(engine).align(
        str(folder / "coffee.jpg"),
        "a cup",
        AlignSession(),
        "max",
        0.1,
        "text_batch",
        100,
        progress=lambda *_, **__: None,
    )


def align_api(engine: Engine, folder: Path) -> None:
    AlignEndpoints(engine).align(str(folder / "coffee.jpg"), "a cup")


def compare(engine: Engine, folder: Path) -> None:
    asked = (
        None,
        str(folder),
        "cup",
        "mug",
        "",
        "",
        "",
        "",
        *LOOKS,
        0.3,
        HERE,
        lambda *_, **__: None,
    )
    assert "photos=1" in str(list(CompareActions(Detectors(engine), RULES).run(*asked)))


def compare_api(engine: Engine, folder: Path) -> None:
    CompareEndpoints(Detectors(engine), RULES).compare(
        str(folder / "coffee.jpg"), "cup", "mug", HERE
    )


def browse(engine: Engine, folder: Path) -> None:
    (folder / "captions.txt").write_text("image,caption\ncoffee.jpg,a cup on a table\n")
    actions = BrowseActions(engine, RULES)
    actions.start(str(folder), HERE)
    assert actions._job is not None
    actions._job.join(60)
    assert actions._job.run.counts().done == 1


def estimate(engine: Engine, folder: Path) -> None:
    batch = BatchActions(engine, RunFolders(folder / "runs", RULES), RULES, folder / "exports")
    photo = str(folder / "coffee.jpg")
    batch.estimate(
        None, photo, 1, None, False, "", "cup", 1, LOOKS[0], None, HERE, lambda *_, **__: None
    )


def run(engine: Engine, folder: Path) -> None:
    batch = BatchActions(engine, RunFolders(folder / "runs", RULES), RULES, folder / "exports")
    photo = str(folder / "coffee.jpg")
    batch.start(
        None,
        photo,
        1,
        None,
        False,
        "",
        "cup",
        1,
        LOOKS[0],
        0.3,
        "sized",
        None,
        HERE,
        lambda *_, **__: None,
    )
    assert batch.runs.jobs["sized"].wait(60)
    assert batch.runs.open("sized", HERE).settings.detection.size == SIZE


@pytest.mark.parametrize(
    "use",
    [detect, detect_api, align, align_api, compare, compare_api, browse, estimate, run],
    ids=lambda use: use.__name__,
)
def test_every_tab_looks_in_the_size_of_the_start(
    seen: Seen, tmp_path: Path, use: Callable[[Engine, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "browsed"))
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(DEMO / "coffee.jpg", folder / "coffee.jpg")
    use(seen.engine, folder)
    assert seen.sides and set(seen.sides) == {SIZE}
