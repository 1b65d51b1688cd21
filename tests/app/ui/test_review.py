"""Photos of a run with their boxes: which photo, which boxes, and what stands in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import supervision as sv
from PIL import Image

from app.engine import Engine
from app.photo_cache import PREVIEW
from app.runs import sources
from app.runs.settings import settings_of
from app.runs.store import Run
from app.ui.batch.actions import BatchActions
from app.ui.batch.review import Review, small
from app.ui.shared.run_folders import RunFolders
from tests.app.ui.visitors import ELSEWHERE, HERE, RULES

BOXES = np.array([[2, 2, 30, 30], [20, 5, 60, 40]], np.float32)


@pytest.fixture
def review(shared_engine: Engine, tmp_path: Path) -> Review:
    runs = RunFolders(tmp_path / "runs", RULES)
    return Review(runs, BatchActions(shared_engine, runs, RULES, tmp_path / "zips").reader)


@pytest.fixture
def run(review: Review, shared_engine: Engine, photos: Path) -> Run:
    """broken.png failed; the others have a cat of 0.9 and a cup of 0.4, which says @0.2."""
    settings = settings_of(shared_engine, "cat\ncup @0.2")
    run = Run.create(review.runs.root / "mine", settings, sources.find_images([photos]))
    found = sv.Detections(BOXES, confidence=np.array([0.9, 0.4]), class_id=np.array([0, 1]))
    for row in run.images():
        if row.file_name == "broken.png":
            run.fail(row, "the picture is broken <b>")
        else:
            run.save(row, found, "", (64, 48), 0.1)
    return run


def show(review: Review, photo: str | None, threshold: float = 0.3, who: Any = HERE) -> Any:
    return review.show("mine", photo, threshold, "", None, who)


def test_a_photo_has_the_boxes_of_the_sliders_threshold(review: Review, run: Run) -> None:
    before = run.view
    name, picture, said = show(review, "coffee.jpg")
    assert name == "coffee.jpg" and picture.visible
    assert "coffee.jpg: 2 boxes at 0.3" in said
    _, fewer, said = show(review, "coffee.jpg", 0.95)
    assert "1 box at 0.95" in said, "a class's own threshold goes first"
    assert not np.array_equal(np.asarray(picture.value), np.asarray(fewer.value))
    assert "at 0.05" in show(review, "coffee.jpg", 0.0)[2], "lower ones were not stored"
    assert run.view == before, "looking changes nothing"


def test_turning_the_pages_passes_over_what_failed(review: Review, run: Run) -> None:
    def turn(photo: str | None, after: bool) -> Any:
        return (review.on if after else review.back)("mine", photo, 0.3, "", None, HERE)[0]

    names = [row.file_name for row in run.images("done", "empty")]
    assert len(names) == 3
    assert turn(None, True) == names[0]
    assert turn("broken.png", True) == names[0]
    assert [turn(name, True) for name in names[:2]] == names[1:]
    assert [turn(name, False) for name in names[1:]] == names[:2]
    for name, after in ((names[-1], True), (names[0], False)):
        assert turn(name, after) == gr.skip(), "there is no other"


def test_what_cannot_be_shown_says_why(review: Review, run: Run, photos: Path) -> None:
    _, picture, said = show(review, "broken.png")
    assert not picture.visible
    assert "the picture is broken &lt;b&gt;" in said
    (photos / "coffee.jpg").unlink()
    _, picture, said = show(review, "coffee.jpg")
    assert not picture.visible
    assert "no such file" in said
    assert "Choose a photo" in show(review, None)[2]
    name, picture, said = show(review, "of another run.jpg")
    assert name is None and not picture.visible and "Choose a photo" in said


def test_nobody_looks_at_photos_of_others(review: Review, run: Run) -> None:
    for said in (
        show(review, "coffee.jpg", who=ELSEWHERE)[2],
        review.on("mine", None, 0.3, "", None, ELSEWHERE)[2],
        review.show("../mine", "coffee.jpg", 0.3, "", None, HERE)[2],
    ):
        assert "error" in said


def test_a_large_photo_is_drawn_small_with_its_boxes_where_they_belong() -> None:
    large = Image.new("RGB", (4 * PREVIEW, 2 * PREVIEW), "white")
    found = sv.Detections(
        np.array([[0, 0, 2 * PREVIEW, 2 * PREVIEW]], np.float32),
        confidence=np.array([0.5]),
        class_id=np.array([0]),
        data={"class_name": np.array(["cat"])},
    )
    drawn = small(large, found)
    assert drawn.size == (PREVIEW, PREVIEW // 2)
    columns = (np.asarray(drawn.convert("L")) < 250).any(axis=0).nonzero()[0]
    assert columns.max() == pytest.approx(PREVIEW / 2, abs=8)
