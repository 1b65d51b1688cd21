"""Two sides on the same photos: what changed, and how often the image tower ran."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from app.comparison import Change, Comparison, Side, changes, compare, total
from app.engine import Engine
from app.ui.compare.actions import CompareActions
from app.ui.compare.find import Detectors
from app.ui.compare.picture import picture, place_labels
from app.ui.compare.table import NO_ROW, Compared
from detclipv2.detectors.errors import DetectorError
from detclipv2.detectors.open import open_detector
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.model import DetCLIPv2
from detclipv2.serving import DetectSettings
from tests.app.ui.visitors import HERE, LOOKS, RULES
from tests.places import DEMO

LOW = DetectSettings(threshold=0.02)


def boxes(*rows: tuple[list[float], str, float]) -> sv.Detections:
    return sv.Detections(
        xyxy=np.array([r[0] for r in rows], float).reshape(-1, 4),
        confidence=np.array([r[2] for r in rows], float),
        class_id=np.zeros(len(rows), int),
        data={"class_name": np.array([r[1] for r in rows], dtype=object)},
    )


@pytest.fixture(scope="module")
def predictor(tiny_model: DetCLIPv2, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(tiny_model, device="cpu", cache_dir=tmp_path_factory.mktemp("cache"))


def test_every_kind_of_change_is_found() -> None:
    before = boxes(
        ([0, 0, 10, 10], "cat", 0.9),
        ([20, 0, 30, 10], "dog", 0.8),
        ([40, 0, 50, 10], "mug", 0.7),
        ([60, 0, 70, 10], "car", 0.6),
    )
    after = boxes(
        ([0, 0, 10, 9], "Cat", 0.91),
        ([20, 0, 30, 10], "dog", 0.5),
        ([41, 0, 50, 10], "cup", 0.7),
        ([80, 0, 90, 10], "bus", 0.6),
    )
    found = {c.kind: c for c in changes(before, after)}
    assert found["same"].after == ("Cat", 0.91)
    assert found["moved"].move == pytest.approx(-0.3)
    assert (found["relabelled"].before, found["relabelled"].after) == (("mug", 0.7), ("cup", 0.7))
    assert found["lost"].before == ("car", 0.6) and found["lost"].after is None
    assert found["gained"].after == ("bus", 0.6) and found["gained"].before is None
    assert len(changes(before, after)) == 5


def test_a_box_keeps_its_class_where_another_box_overlaps_more() -> None:
    before = boxes(([0, 0, 10, 10], "cat", 0.9))
    after = boxes(([0, 0, 10, 10], "fur", 0.5), ([0, 0, 10, 9], "cat", 0.88))
    assert [c.kind for c in changes(before, after)] == ["gained", "same"]


def test_nothing_against_something() -> None:
    one = boxes(([0, 0, 10, 10], "cat", 0.9))
    assert [c.kind for c in changes(boxes(), one)] == ["gained"]
    assert [c.kind for c in changes(one, boxes())] == ["lost"]
    assert changes(boxes(), boxes()) == []


def test_one_look_a_photo_however_many_vocabularies(predictor: Predictor, photos: Path) -> None:
    paths = [photos / "coffee.jpg", photos / "broken.png", photos / "cat ünïcode.jpg"]
    before = predictor.image_passes
    results = list(
        compare(
            paths,
            Side(predictor, Vocabulary.parse("cup, cat"), settings=LOW),
            Side(predictor, Vocabulary.parse("cup, dog"), settings=LOW),
        )
    )
    assert predictor.image_passes == before + 2
    assert "broken.png" in results[1].error and str(photos) not in results[1].error
    counts = total(results)
    assert counts["same"] > 0 and counts["moved"] == 0
    gone = {c.before[0] for r in results for c in r.changes if c.kind == "lost" and c.before}
    assert gone <= {"cat"}


def test_another_template_moves_scores(predictor: Predictor, photos: Path) -> None:
    words = Vocabulary.parse("cup, cat")
    own = Side(predictor, words, settings=LOW)
    same = Side(predictor, words, predictor.model.config.text.template, LOW)
    other = Side(predictor, words, "a blurry drawing of {} at night", LOW)
    (result,) = compare([photos / "coffee.jpg"], own, same)
    assert {c.kind for c in result.changes} == {"same"}
    assert all(c.move == 0 for c in result.changes)
    (result,) = compare([photos / "coffee.jpg"], own, other)
    assert any(c.move != 0 for c in result.changes)
    with pytest.raises(DetectorError, match=r"has no \{\} for the words"):
        Side(predictor, words, "a photo")


def test_another_checkpoint_is_opened_by_its_folder(
    predictor: Predictor, checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    other = open_detector(str(checkpoint))
    words = Vocabulary.parse("cup")
    (result,) = compare(
        [photos / "coffee.jpg"],
        Side(predictor, words, settings=LOW),
        Side(other, words, settings=LOW),
    )
    assert predictor is not other
    assert {c.kind for c in result.changes} == {"same"}  # the same weights, saved and read
    with pytest.raises(DetectorError, match="no checkpoint"):
        open_detector(str(tmp_path / "nowhere"))


def test_the_picture_escapes_names_of_files_and_classes(tmp_path: Path) -> None:
    path = tmp_path / "<b>a&b.png"
    Image.new("RGB", (40, 30)).save(path)
    evil = '"><script>alert(1)</script>'
    drawn = picture(Comparison(path, (Change("gained", (1, 1, 9, 9), None, (evil, 0.5)),)))
    assert "<script" not in drawn and "<b>" not in drawn
    assert "&lt;script&gt;" in drawn and "&lt;b&gt;a&amp;b.png" in drawn


def test_labels_never_cover_each_other_and_stay_on_the_photo() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        corners = generator.uniform(0, 90, (15, 2))
        boxes = [
            (x, y, x + w, y + h)
            for (x, y), (w, h) in zip(corners, generator.uniform(1, 60, (15, 2)), strict=True)
        ]
        places = place_labels(boxes, [(30, 6)] * 15, (100, 100))
        assert places[0] is not None, "the first has the whole photo to itself"
        kept = np.array([place for place in places if place])
        assert (kept >= -1e-9).all() and (kept <= 100 + 1e-9).all()
        assert not np.triu(sv.box_iou_batch(kept, kept), 1).any()
    # two boxes of one thing: above the one, below the other
    (above, below) = place_labels([(10, 30, 60, 50)] * 2, [(40, 6)] * 2, (100, 100))
    assert (above == (10, 24, 50, 30) and below == (20, 24, 60, 30)) or below == (10, 50, 50, 56)
    assert place_labels([(0, 0, 9, 9)], [(200, 6)], (100, 100)) == [None], "longer than the photo"


def test_a_row_is_found_by_what_the_page_shows_of_it(tmp_path: Path) -> None:
    def change(name: str, score: float) -> Change:
        return Change("gained", (0, 0, 9, 9), None, (name, score))

    same = Change("same", (0, 0, 9, 9), ("cup", 0.5), ("cup", 0.5))
    results = (
        Comparison(tmp_path / "a.jpg", (same, change("cat", 0.25))),
        Comparison(tmp_path / "sub" / "a.jpg", (change("cat", 0.25), change("dog", 1.0))),
    )
    compared = Compared(results, 2, tmp_path)
    assert [row[0] for row in compared.rows] == ["a.jpg", "sub/a.jpg", "sub/a.jpg"]
    as_sent = ["sub/a.jpg", "gained", "", "", "dog", 1, None]  # JSON knows no 1.0
    assert compared.find(as_sent) == 2
    assert compared.find([*as_sent[:4], "cow", 1, None]) == NO_ROW
    assert Compared(results, 2, tmp_path, 2).shown() == (results[1], results[1].changes[1])
    assert compared.shown() == Compared(results, 2, tmp_path, 99).shown() == (results[0], None)


def test_the_picture_marks_the_change_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (400, 300)).save(path)
    one, other = (Change("lost", (x, 50, x + 90, 90), ("cup", 0.5), None) for x in (10, 200))
    plain, marked = (picture(Comparison(path, (one, other)), m) for m in (None, other))
    assert plain.count('opacity=".6"') == 0 and marked.count('<g class="lost" opacity=".6"') == 1
    assert marked.index('x="10"') < marked.index('x="200"'), "on top"


def test_a_threshold_that_changes_nothing_says_so(shared_engine: Engine) -> None:
    actions, said = CompareActions(Detectors(shared_engine), RULES), "Every class has its own @"

    def told(words_a: str, words_b: str) -> str:
        asked = (str(DEMO / "coffee.jpg"), "", words_a, words_b, "", "", "", "", *LOOKS, 0.3, HERE)
        return str(list(actions.run(*asked, lambda *_, **__: None)))

    assert said in told("cup @0.2", "mug @0.3")
    assert said in told("cup @0.2", "")
    assert said not in told("cup @0.2", "mug @0.3, spoon")
