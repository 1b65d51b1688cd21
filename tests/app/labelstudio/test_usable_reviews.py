"""Thresholds are learned from a checkpoint's own scores, and the answer says from which."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from app.cli import main
from app.labelstudio.api.addresses import local_address
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.images import images_of_project
from app.labelstudio.backend.learned_state import LearnedState, Prompt
from app.labelstudio.backend.service import Backend
from app.labelstudio.learn.pull import ReviewedTask, pull
from app.labelstudio.learn.usable_reviews import usable_reviews
from app.runs.model_version import is_of_detclipv2
from app.runs.records import ImageRef
from app.runs.settings import RunSettings
from app.runs.store import Run
from app.ui.calibrate.actions import CalibrateActions
from app.ui.shared.run_folders import RunFolders
from tests.app.labelstudio.conftest import CONFIG, PROMPTED, VISITOR, typed
from tests.app.labelstudio.desk import Desk
from tests.app.ui.visitors import RULES

CHECKPOINT = "0123456789abcdef"
OWN, OTHER, FOREIGN = "detclipv2-nano@01234567+v1", "detclipv2-nano@ffffffff+v1", "yolo11x"


def region(score: float, **value: Any) -> dict[str, Any]:
    sides = {"x": 1, "y": 1, "width": 9, "height": 9, "rectanglelabels": ["cat"]}
    return {
        "id": "r",
        "original_width": 100,
        "original_height": 100,
        "score": score,
        "value": value or sides,
    }


def labelled(scores: dict[str, float]) -> tuple[Desk, int]:
    """A project where labelers kept thirty boxes of each version."""
    desk = Desk()
    project = desk.project(*(local_address(f"none/{i}.jpg") for i in range(30 * len(scores))))
    for number, (version, score) in enumerate(scores.items()):
        for task in range(30 * number + 1, 30 * number + 31):
            desk.predict(task, {"model_version": version, "result": [region(score)]})
            desk.submit(task)
    return desk, project


def inline(size: tuple[int, int] = (64, 48)) -> str:
    """A photo as an address."""
    stream = BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def loaded(desk: Desk, state: LearnedState) -> Backend:
    """The live backend, its model there."""
    connection = desk.connect()
    detector: Any = SimpleNamespace(
        fingerprint=CHECKPOINT, name="nano", learned_thresholds=lambda vocabulary: vocabulary
    )
    made = Backend(lambda: detector, TaskImages(connection), connection, state=state)
    list(made.predict([], CONFIG, "0"))
    return made


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of the checkpoint over one image."""
    settings = RunSettings("nano", CHECKPOINT, "cat, cup")
    return Run.create(tmp_path / "run", settings, [ImageRef("a.jpg", "/photos/a.jpg")])


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def call(desk: Desk, *words: object) -> int:
        monkeypatch.setattr("app.commands.labelstudio.connect", lambda _: desk.connect())
        return main([str(word) for word in words])

    return call


def test_versions_say_who_made_them(run: Run) -> None:
    assert is_of_detclipv2(run.model_version) and is_of_detclipv2(run.model_version, CHECKPOINT)
    assert is_of_detclipv2("detclipv2-a@b@01234567+v1+s640@0.2", CHECKPOINT), "any name and suffix"
    assert not is_of_detclipv2(run.model_version, "f" * 16)
    assert (
        not is_of_detclipv2(FOREIGN)
        and not is_of_detclipv2("")
        and not is_of_detclipv2(OTHER, CHECKPOINT)
    )
    tasks = [ReviewedTask(1, version, (), None) for version in (OWN, OWN, OTHER, FOREIGN, "")]
    assert usable_reviews(tasks).sentence() == (
        f"learned from {OWN} (2), {OTHER} (1); not from other models' scores: {FOREIGN} (1), "
        "no version (1)"
    )
    assert [task.model_version for task in usable_reviews(tasks, CHECKPOINT).tasks] == [OWN, OWN]
    assert usable_reviews([]).sentence() == "learned from nothing"


def test_calibrate_learns_from_our_scores_and_for_a_run_from_its_own(
    run: Run, shell: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    desk, project = labelled({OWN: 0.5, OTHER: 0.7, FOREIGN: 0.97})
    command = ("calibrate", "--project", project, "--precision", "0.85")
    assert shell(desk, *command) == 0
    said = capsys.readouterr().out
    assert "cat: threshold 0.500; precision 1.00 on 60 boxes" in said
    assert f"learned from {OWN} (30), {OTHER} (30); not from" in said
    assert shell(desk, *command, "--apply", run.folder) == 0
    said = capsys.readouterr().out
    assert "cat: threshold 0.500; precision 1.00 on 30 boxes" in said
    assert f"learned from {OWN} (30); not from other models' scores: {OTHER} (30)" in said
    assert run.view.vocabulary.thresholds == {0: 0.5}
    assert shell(desk, "pull", "--project", project) == 0
    assert "90 annotations began as predictions" in capsys.readouterr().out, "of all versions"
    alone, project = labelled({FOREIGN: 0.97})
    assert shell(alone, "calibrate", "--project", project) == 0
    said = capsys.readouterr().out
    assert (
        "no labels yet" in said
        and f"learned from nothing; not from other models' scores: {FOREIGN} (30)" in said
    )


def test_the_tab_applies_what_the_runs_own_checkpoint_taught(run: Run) -> None:
    page = CalibrateActions(RunFolders(run.folder.parent, RULES))
    bar = gr.Progress()
    desk, project = labelled({OWN: 0.5, OTHER: 0.45, FOREIGN: 0.97})
    fetched, said, table, _ = page.calibrate(desk.connect(), project, 0.85, VISITOR, bar)
    assert "90 submitted tasks" in said and f"{OWN} (30), {OTHER} (30); not from" in said
    assert table.value["data"][0][:2] == ["cat", 0.45]
    said = page.apply(fetched, "run", desk.connect(), project, VISITOR)
    assert "cat @0.5" in said and f"learned from {OWN} (30); not from" in said
    desk, project = labelled({OTHER: 0.45, FOREIGN: 0.97})
    fetched, *_ = page.calibrate(desk.connect(), project, 0.85, VISITOR, bar)
    said = page.apply(fetched, "run", desk.connect(), project, VISITOR)
    assert "no class has a proposal yet (learned from nothing; not from" in said
    assert run.view.vocabulary.thresholds == {0: 0.5}, "as it was"


def test_start_training_passes_other_models_scores_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for scores, thresholds in (
        ({OTHER: 0.45, FOREIGN: 0.97}, []),
        ({OWN: 0.5, OTHER: 0.45, FOREIGN: 0.97}, [0.5]),
    ):
        desk, project = labelled(scores)
        state = LearnedState()
        loaded(desk, state)._learn(str(project))
        learned = state.learned(str(project), CHECKPOINT)
        assert [one.threshold for one in learned] == thresholds
    assert f"learned from {OWN} (30); not from other models' scores: {OTHER} (30)" in caplog.text


@pytest.mark.parametrize(
    "value",
    [
        {"x": 1, "y": 1, "width": 0.5, "labels": ["eye"]},  # a key point
        {"x": 1, "y": 1, "radiusX": 3, "radiusY": 3, "rotation": 0, "labels": ["eye"]},
        {"points": [[1, 1], [2, 2], [1, 2]], "labels": ["eye"]},
        {"format": "rle", "rle": [0], "labels": ["eye"]},
    ],
)
def test_points_and_ellipses_among_the_boxes_are_passed_over(
    value: dict[str, Any], shell: Callable[..., int]
) -> None:
    desk, project = labelled({OWN: 0.5})
    desk.tasks[1]["annotations"][0]["result"] = [region(0.5), region(0, **value)]
    boxes = [box.verdict for task in pull(desk.connect(), project) for box in task.boxes]
    assert boxes == ["kept"] * 30
    assert shell(desk, "pull", "--project", project) == 0
    assert shell(desk, "calibrate", "--project", project) == 0


def test_names_of_local_files_and_clouds_stay_whole() -> None:
    names = ["photos/shot #1.jpg", "photos/shot #2.jpg", "cam:1.jpg", "what?.jpg"]
    cloud = ["s3://bucket/shots/shot #3?.jpg", "gs://bucket/a.jpg"]
    address = "https://host/folder/b.jpg?size=9#top"
    desk = Desk()
    project = desk.project(*map(local_address, names), *cloud, address, "/data/upload/1/a#.jpg")
    found = [image.file_name for image in images_of_project(desk.connect(), project)]
    assert found == [*names, "shots/shot #3?.jpg", "a.jpg", "folder/b.jpg", "1/a#.jpg"]


def test_a_prompt_that_cannot_be_used_is_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    backend = loaded(Desk(), LearnedState(file, "http://here"))
    before = backend.setup("7", PROMPTED)
    for text in ("cat @2", "zebra", "zebra, yak @0.3", "!cat"):
        (answer,) = backend.predict([], PROMPTED, "7", typed(text))
        (region,) = answer["result"]
        assert (region["type"], region["from_name"]) == ("textarea", "prompt")
        assert region["value"]["text"][0] == text
        assert region["value"]["text"][1].startswith("DetCLIPv2: "), "in words that the page shows"
        assert not file.exists()
        assert backend.setup("7", PROMPTED) == before


def test_a_remembered_prompt_that_cannot_be_used_any_more_is_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = LearnedState()
    backend = loaded(Desk(), state)
    list(backend.predict([], CONFIG, "7"))  # waits for the model
    before = backend.setup("7", CONFIG)
    for text in ("cat @2", "zebra"):  # the second was kept by an older version
        state.keep_prompt("7", Prompt(text, CONFIG))
        assert backend.setup("7", CONFIG) == before
    assert caplog.text.count("project 7: what was typed before is ignored") == 2
