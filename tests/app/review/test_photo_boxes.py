"""A photo's boxes with what was decided of each, and which photo comes first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import supervision as sv

from app.box import Box
from app.review.decision import Decision
from app.review.decisions import Decisions
from app.review.order import review_order
from app.review.photo_boxes import photo_boxes
from app.runs.records import ImageRef
from app.runs.settings import RunSettings
from app.runs.store import Run

CAT = Box("cat", 0.8, (1.0, 2.0, 30.0, 40.5))
CUP = Box("cup", 0.4, (50.0, 2.0, 90.0, 40.0))
DOG = Box("dog", 0.35, (60.0, 60.0, 90.0, 90.0))


def test_boxes_keep_their_places_whatever_is_decided(tmp_path: Path) -> None:
    decisions, shown = Decisions(tmp_path), [CAT, CUP, DOG]

    def now() -> list[tuple[str, str]]:
        return [(one.box.name, one.state) for one in photo_boxes(shown, decisions.review(1))]

    assert now() == [("cat", "undecided"), ("cup", "undecided"), ("dog", "undecided")]
    decisions.decide(1, [Decision.rename(CUP, "dog"), Decision.add("cat", (5, 5, 9, 9))])
    decisions.decide(1, [Decision.reject(CAT)])
    assert now() == [
        ("cat", "rejected"),
        ("dog", "renamed"),
        ("dog", "undecided"),
        ("cat", "added"),
    ]
    decisions.decide(1, [Decision.reject(replace(CUP, name="dog")), Decision.accept(CAT)])
    assert now() == [
        ("cat", "accepted"),
        ("cup", "rejected"),
        ("dog", "undecided"),
        ("cat", "added"),
    ]
    decisions.undo(1)
    assert now()[:2] == [("cat", "rejected"), ("dog", "renamed")]
    decisions.decide(1, [Decision.reject(Box("cat", 1.0, (5, 5, 9, 9)))])
    assert len(now()) == 3, "a box that was drawn and taken back is away"


def test_a_box_that_was_confirmed_is_there_though_it_is_shown_no_more(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path)
    moved = replace(CUP, xyxy=(51.0, 2.0, 90.0, 41.0))
    decisions.decide(
        1, [Decision.accept(CAT), Decision.move(CUP, moved.xyxy), Decision.reject(DOG)]
    )
    found = photo_boxes([], decisions.review(1))
    assert [(one.box, one.state) for one in found] == [(CAT, "accepted"), (moved, "moved")]


def test_a_box_that_got_the_class_of_another_one_there_is_that_one(tmp_path: Path) -> None:
    decisions, shown = Decisions(tmp_path), [CUP, replace(CUP, name="dog", score=0.3)]
    decisions.decide(1, [Decision.rename(CUP, "dog")])
    found = photo_boxes(shown, decisions.review(1))
    assert [one.state for one in found] == ["renamed", "accepted"]
    decisions.decide(1, [Decision.reject(found[1].box)])
    assert [one.state for one in photo_boxes(shown, decisions.review(1))] == ["rejected"] * 2


def test_photos_with_scores_near_the_threshold_come_first(tmp_path: Path) -> None:
    images = [ImageRef(f"{number}.jpg", f"/nowhere/{number}.jpg") for number in range(4)]
    run = Run.create(tmp_path / "run", RunSettings("m", "0" * 64, "cat"), images)
    run.apply("cat", 0.5)
    scores = [[0.9], [0.52, 0.45], [], [0.5]]
    for row, own in zip(run.images(), scores, strict=True):
        boxes = np.array([[k, 0, k + 9, 9] for k in range(len(own))], np.float32).reshape(-1, 4)
        found = sv.Detections(boxes, confidence=np.array(own), class_id=np.zeros(len(own), int))
        run.save(row, found, "", (20, 20), 0.1)
    assert review_order(run) == (2, 4, 1, 3)
