"""What stays between classes, after the thresholds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import supervision as sv

from app.box import Box
from app.runs.records import ImageRef
from app.runs.settings import RunSettings
from app.runs.store import Run
from app.selection import tidy_boxes
from detclipv2.serving import DetectSettings

BOXES = [
    Box("cat", 0.9, (0, 0, 10, 10)),
    Box("dog", 0.8, (0, 0, 10, 11)),
    Box("cat", 0.7, (1, 1, 5, 5)),
    Box("dog", 0.6, (40, 40, 60, 60)),
]


def test_one_name_a_place_and_whole_things() -> None:
    assert tidy_boxes(BOXES, one_name=False, whole_things=False) == [0, 1, 2, 3]
    assert tidy_boxes(BOXES, one_name=True, whole_things=False) == [0, 2, 3]
    assert tidy_boxes(BOXES, one_name=False, whole_things=True) == [0, 1, 3]
    assert tidy_boxes(BOXES, one_name=True, whole_things=True) == [0, 3]
    assert tidy_boxes([], one_name=True, whole_things=True) == []


def test_in_a_run_thresholds_come_first(tmp_path: Path) -> None:
    """A class below its threshold takes no place from others, and gets it back when it rises."""
    asked = DetectSettings(threshold=0.5, one_name=True, whole_things=True)
    settings = RunSettings("tiny", "0" * 64, "cat\ndog", asked)
    run = Run.create(tmp_path / "run", settings, [ImageRef("a.jpg", "a.jpg")])
    (row,) = run.images()
    found = sv.Detections(
        np.array([box.xyxy for box in BOXES], np.float32),
        confidence=np.array([box.score for box in BOXES], np.float32),
        class_id=np.array([0, 1, 0, 1]),
    )
    run.save(row, found, "", (64, 64), 0.1)
    assert [box.name for box in run.boxes(row)] == ["cat", "dog"]
    assert len(run.stored(row)) == 4
    run.apply("cat @0.95\ndog", 0.5)
    assert [box.name for box in run.boxes(row)] == ["dog", "dog"]
    assert run.class_counts() == {"cat": 0, "dog": 2}
    run.apply("cat\ndog", 0.65)
    assert [box.name for box in run.boxes(row)] == ["cat"]
