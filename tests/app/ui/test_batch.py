"""What the Batch tab's handlers do to runs: names are taken at once, thresholds move, exports."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import supervision as sv

from app.engine import Engine
from app.runs import sources
from app.runs.files import SourceError
from app.runs.jobs import Job
from app.runs.records import ImageRef
from app.runs.settings import settings_of
from app.runs.store import Run
from app.ui.batch.actions import BatchActions
from app.ui.shared.run_folders import RunFolders
from tests.app.ui.visitors import HERE, RULES


@pytest.fixture
def actions(shared_engine: Engine, tmp_path: Path) -> BatchActions:
    return BatchActions(
        shared_engine, RunFolders(tmp_path / "runs", RULES), RULES, tmp_path / "exports"
    )


@pytest.fixture
def finished(actions: BatchActions, photos: Path) -> Run:
    """A run of three photos with a cat of 0.9 and one of 0.4 each."""
    (photos / "broken.png").unlink()
    settings = settings_of(actions.engine, "cat, cup")
    run = Run.create(actions.runs.root / "finished", settings, sources.find_images([photos]))
    boxes = np.array([[1, 1, 9, 9], [20, 1, 30, 9]], np.float32)
    found = sv.Detections(boxes, confidence=np.array([0.9, 0.4]), class_id=np.array([0, 0]))
    for row in run.images():
        run.save(row, found, "", (64, 48), 0.1)
    return run


def test_a_start_that_fails_leaves_the_faster_one_alone(
    actions: BatchActions, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_images, started = sources.find_images, []

    def start() -> tuple[Any, ...]:
        places = str(photos / "sub")
        return actions.start(
            None, places, 1, None, False, "", "cat", 1, "fast", 0.3, "cats", None, HERE
        )

    def slow(paths: list[str], every: float) -> list[ImageRef]:
        if started:
            return find_images(paths, every=every)
        started.append("somebody else starts while the photos are listed")
        started.append(start()[1])
        raise SourceError("the folder is gone")

    monkeypatch.setattr(sources, "find_images", slow)
    assert "the folder is gone" in start()[1]
    assert "Started" in started[1]
    (name,) = actions.runs.names(HERE)
    assert [path.name for path in actions.runs.root.iterdir()] == [name]
    assert actions.runs.jobs[name].wait(20)
    assert Run(actions.runs.root / name).counts().pending == 0


def test_a_threshold_is_applied_without_the_model(actions: BatchActions, finished: Run) -> None:
    passes = actions.engine.image_passes
    assert actions.threshold("finished", HERE).value == 0.3
    assert "6 boxes became 3, on 3 of " in actions.apply("finished", 0.5, HERE)
    assert actions.threshold("finished", HERE).value == 0.5
    assert "threshold 0.5" in actions.status("finished", HERE)
    assert [row[2] for row in actions.rows("finished", HERE)] == [1, 1, 1]
    assert "must lie in 0.05..1" in actions.apply("finished", 0.01, HERE)
    assert actions.engine.image_passes == passes
    actions.runs.jobs["finished"] = Job(finished, actions.engine.predictor, sources.read)
    assert "still goes on" in actions.apply("finished", 0.3, HERE)


def test_an_export_leaves_out_photos_that_are_gone(
    actions: BatchActions, finished: Run, photos: Path
) -> None:
    (photos / "coffee.jpg").unlink()
    with pytest.warns(UserWarning, match=r"1 photos are missing in it\. coffee\.jpg: not copied"):
        file, _ = actions.export("finished", 0.3, "YOLO", None, HERE)
    with zipfile.ZipFile(file.value["path"]) as packed:
        names = packed.namelist()
    assert (
        len([name for name in names if name.startswith("labels/") and name.endswith(".txt")]) == 3
    )
    assert len([name for name in names if name.endswith(".jpg")]) == 2


def test_an_export_has_the_boxes_that_the_slider_shows(
    actions: BatchActions, finished: Run
) -> None:
    for threshold, boxes in ((0.3, 6), (0.5, 3), (0.3, 6)):
        file, said = actions.export("finished", threshold, "COCO", None, HERE)
        told = json.loads(Path(file.value["path"]).read_text())
        assert len(told["annotations"]) == boxes
        assert told["info"]["threshold"] == threshold == finished.view.threshold
        assert f"Exported {boxes} boxes of 3 photos at threshold {threshold:g}" in said
    with pytest.raises(gr.Error, match=r"0\.05"):
        actions.export("finished", 0.01, "COCO", None, HERE)


def test_an_export_says_what_is_not_in_it(actions: BatchActions, finished: Run) -> None:
    with finished._db as ledger:
        ledger.execute("UPDATE images SET state = 'pending' WHERE id = 1")
        ledger.execute("UPDATE images SET state = 'failed' WHERE id = 2")
    said = actions.export("finished", 0.3, "COCO", None, HERE)[1]
    assert "of 1 photos" in said
    assert "1 photos are not in it: not looked at yet" in said
    assert "1 photos are not in it: failed" in said


def test_a_threshold_that_changes_nothing_says_so(actions: BatchActions, finished: Run) -> None:
    assert "changes nothing" not in actions.apply("finished", 0.5, HERE)
    finished.apply("cat @0.2, cup @0.3", 0.5)
    assert "Every class has its own @" in actions.apply("finished", 0.6, HERE)
