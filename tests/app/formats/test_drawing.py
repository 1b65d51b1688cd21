"""Drawing: colours belong to words, labels are readable, HTML shows words as words."""

from __future__ import annotations

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from app.engine import Engine
from app.engine_types import ClassReport, Result
from app.formats import drawing as render
from app.ui.shared import html as page
from app.ui.shared.vocabulary_rows import with_thresholds
from detclipv2.language.vocabulary import ConceptClass, Vocabulary, VocabularyError
from detclipv2.serving import DetectSettings
from tests.places import DEMO

LOW = 0.02  # a threshold that the scores of a random tiny model pass


def box(name: str, corners: tuple[int, int, int, int]) -> sv.Detections:
    return sv.Detections(
        xyxy=np.array([corners], dtype=float),
        confidence=np.array([0.83]),
        class_id=np.array([2]),
        data={"class_name": np.array([name])},
    )


def luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


COLOURS = [render.colour_of(index) for index in range(48)]


def test_classes_of_a_list_have_colours_of_their_own() -> None:
    assert tuple(COLOURS[:16]) == render.PALETTE
    assert len(set(COLOURS)) == 48 and render.colour_of(48) == COLOURS[0]


@pytest.mark.parametrize("colour", COLOURS)
def test_label_text_has_contrast(colour: str) -> None:
    pair = sorted((luminance(colour), luminance(render.text_colour_on(colour))))
    assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5


@pytest.mark.parametrize("name", ["cup", "стол", "木のカップ", "a" * 120])
def test_a_box_is_drawn_in_its_classes_colour(name: str) -> None:
    photo = Image.new("RGB", (200, 160), "white")
    drawn = render.draw(photo, box(name, (40, 60, 150, 140)))
    colour = tuple(int(render.colour_of(2)[i : i + 2], 16) for i in (1, 3, 5))
    assert colour in {drawn.getpixel((x, 100)) for x in range(36, 45)}
    assert photo.getextrema() == ((255, 255), (255, 255), (255, 255)), "the photo itself is kept"


def test_no_boxes_give_a_plain_copy() -> None:
    photo = Image.new("RGB", (20, 10), "red")
    drawn = render.draw(photo, sv.Detections.empty())
    assert drawn is not photo
    assert drawn.tobytes() == photo.tobytes()


def test_users_words_are_escaped(shared_engine: Engine) -> None:
    evil = '<script>alert(1)</script> "&'
    words = Vocabulary((ConceptClass("<script>x</script>"), ConceptClass("<em>y", threshold=1.0)))
    assert "<script" not in page.status("error", evil, [evil])
    for threshold in (LOW, 1.0):
        result = shared_engine.detect(DEMO / "coffee.jpg", words, DetectSettings(threshold))
        html = page.summary(result)
        assert "&lt;script&gt;" in html
        assert "<script" not in html
        assert "<em>" not in html and "&lt;em&gt;y" in html


@pytest.mark.parametrize(
    ("best", "threshold"), [(0.309, 0.30), (0.30, 0.30), (0.004, 0.0), (1.0, 1.0), (None, 0.0)]
)
def test_the_advised_threshold_is_a_step_of_the_slider(
    best: float | None, threshold: float
) -> None:
    assert page.shows_at(best) == threshold


def told(shared_engine: Engine, words: str, threshold: float) -> str:
    return page.summary(shared_engine.detect(DEMO / "coffee.jpg", words, DetectSettings(threshold)))


def test_classes_that_the_slider_does_not_move_are_named(shared_engine: Engine) -> None:
    assert "slider" not in told(shared_engine, "cup, spoon", LOW)
    assert "does not move cup @0.02." in told(shared_engine, "cup @0.02, spoon", LOW)
    assert "the slider moves none" in told(shared_engine, "cup @0.02, spoon @0.03", LOW)


def test_a_threshold_of_nothing_is_no_advice() -> None:
    def nothing(best: float) -> str:
        report = ClassReport("cup", None, 0, best)
        empty = sv.Detections.empty()
        return page.nothing_found(
            Result(
                empty, (report,), Vocabulary.of(["cup"]), DetectSettings(), (9, 9), "", 0.1, True
            )
        )

    assert "shown when the threshold is 0.25" in nothing(0.25)
    for best in (0.009, 0.0):
        assert "0.00" not in nothing(best).replace("score 0.00", "") and "others" in nothing(best)


def test_table_thresholds_are_written_behind_the_classes() -> None:
    words = "# my list\ncup: mug @0.5\nspoon\n!table"
    rows = [["cup", "", 3, 0.4], ["spoon", "0,25", 1, 0.3]]
    assert with_thresholds(words, rows) == "# my list\ncup: mug\nspoon @0.25\n!table"
    assert with_thresholds("C# book, spoon", [["spoon", 0.5, 0, 0]]) == '"C# book"\nspoon @0.5'
    for empty in (None, "", float("nan")):
        assert with_thresholds("cup @0.5", [["cup", empty, 0, 0]]) == "cup"
    with pytest.raises(VocabularyError, match="'high' of 'cup' is no number"):
        with_thresholds("cup", [["cup", "high", 0, 0]])
    with pytest.raises(VocabularyError, match=r"0\.\.1"):
        with_thresholds("cup", [["cup", 7, 0, 0]])


def test_on_the_page_the_best_boxes_carry_their_words() -> None:
    photo = Image.new("RGB", (400, 100), "white")
    corners = [[10 + 100 * i, 40, 60 + 100 * i, 90] for i in range(3)]
    found = sv.Detections(
        np.array(corners, float),
        confidence=np.array([0.9, 0.8, 0.7]),
        class_id=np.arange(3),
        data={"class_name": np.array(["a", "b", "c"])},
    )
    every, best = (np.asarray(render.draw(photo, found, most)) for most in (None, 2))
    changed = np.flatnonzero((every != best).any(axis=(0, 2)))
    assert changed.min() > 200, "the worst box, the third, has lost its words"
    label = tuple(int(render.colour_of(1)[i : i + 2], 16) for i in (1, 3, 5))
    assert (best[:35, 100:200] == label).all(axis=2).any(), "the second keeps its own colour"
