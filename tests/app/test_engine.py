"""The engine runs the image tower once a photo, whatever is asked about it afterwards."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.engine import Engine
from app.ui.shared.html import shows_at
from detclipv2.detectors.errors import DetectorError
from detclipv2.inference.images import ImageError
from detclipv2.inference.predictor import Predictor
from detclipv2.language.vocabulary import Vocabulary, VocabularyError
from detclipv2.model import DetCLIPv2
from detclipv2.serving import DetectSettings
from tests.places import DEMO

LOW = 0.02  # a threshold that the scores of a random tiny model pass

COFFEE = DEMO / "coffee.jpg"


def test_thresholds_and_words_follow_without_another_image_pass(engine: Engine) -> None:
    first = engine.detect(COFFEE, "cup, spoon", DetectSettings(LOW))
    assert first.image_ran
    assert engine.image_passes == 1
    for prompts, settings in (
        ("cup, spoon", DetectSettings(0.2)),
        ("cup @0.9, spoon", DetectSettings(LOW)),
        ("cup, spoon", DetectSettings(LOW, nms_iou=0.3, max_boxes=3)),
        ("saucer, !table", DetectSettings(LOW)),
    ):
        assert not engine.detect(COFFEE, prompts, settings).image_ran
    assert engine.image_passes == 1


def test_a_closer_look_is_kept_beside_the_first(engine: Engine) -> None:
    far, near = DetectSettings(LOW, max_boxes=300), DetectSettings(LOW, max_boxes=300, tiles=2)
    first = engine.detect(COFFEE, "cup", far)
    closer = engine.detect(COFFEE, "cup", near)
    assert closer.image_ran
    fresh = engine.predictor.predict(COFFEE, "cup", threshold=LOW, max_boxes=300, tiles=2)
    np.testing.assert_array_equal(closer.detections.xyxy, fresh.xyxy)
    for settings, known in ((far, first), (near, closer)):
        again = engine.detect(COFFEE, "cup", settings)
        assert not again.image_ran
        np.testing.assert_array_equal(again.detections.xyxy, known.detections.xyxy)
    assert len(closer.detections) > len(first.detections)


def test_a_model_that_looks_twice_says_so_and_aligns_by_one_look(engine: Engine) -> None:
    model = engine.predictor.model
    serving = replace(model.serving, second=2 * model.serving.size)
    twice = DetCLIPv2(model.config, serving=serving)
    twice.load_state_dict(model.state_dict())
    looking = Engine(Predictor(twice, device="cpu"), name="twice")
    assert looking.pixels == f"{serving.size} + {serving.second} px"
    assert looking.align(COFFEE, ["cup"]).image_ran
    assert looking.image_passes == 1
    vocabulary, settings = Vocabulary.of(["cup"]), DetectSettings(LOW)
    found = looking.detect(COFFEE, vocabulary, settings)
    assert looking.image_passes == 3
    fresh = looking.predictor.predict(COFFEE, vocabulary, threshold=LOW)
    np.testing.assert_array_equal(found.detections.xyxy, fresh.xyxy)
    passes = looking.image_passes
    assert not looking.align(COFFEE, ["cup"]).image_ran
    assert not looking.detect(COFFEE, vocabulary, settings).image_ran
    assert looking.image_passes == passes
    for told in (looking.facts(), looking.describe(vocabulary, settings)):
        assert (told["size"], told["looks"]) == (serving.size, [serving.size, serving.second])
    once = Engine(looking.predictor, name="once", changes={"size": serving.size})
    assert once.pixels == f"{serving.size} px"
    assert once.facts()["looks"] == [serving.size]


def test_moved_thresholds_run_no_model_at_all(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = engine.detect(COFFEE, "cup, spoon", DetectSettings(LOW))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the model ran")

    for part in ("encode_image", "encode_text", "similarity"):
        monkeypatch.setattr(DetCLIPv2, part, refuse)
    after = engine.detect(COFFEE, "cup, spoon @0.15", DetectSettings(0.1))
    assert 0 < len(after.detections) < len(before.detections)


def test_filtering_what_is_kept_equals_asking_anew(engine: Engine, checkpoint: Path) -> None:
    engine.detect(COFFEE, "cup, spoon", DetectSettings(0.5))
    kept = engine.detect(
        COFFEE, "cup, spoon @0.05, !table", DetectSettings(LOW, 0.5, 20)
    ).detections
    fresh = Engine.load(str(checkpoint)).predictor.predict(
        COFFEE, "cup, spoon @0.05, !table", threshold=LOW, nms_iou=0.5, max_boxes=20
    )
    assert len(kept) > 3
    np.testing.assert_array_equal(kept.xyxy, fresh.xyxy)
    np.testing.assert_array_equal(kept.confidence, fresh.confidence)
    np.testing.assert_array_equal(kept.class_id, fresh.class_id)


def test_many_classes_crowd_no_class_out(engine: Engine) -> None:
    words = Vocabulary.of([f"thing number {i}" for i in range(60)])
    result = engine.detect(COFFEE, words, DetectSettings(LOW, max_boxes=300))
    fresh = engine.predictor.predict(COFFEE, words, threshold=LOW, max_boxes=300)
    np.testing.assert_array_equal(result.detections.xyxy, fresh.xyxy)
    assert all(c.best is not None for c in result.classes)
    alone = engine.detect(COFFEE, Vocabulary.of(["thing number 7"]), DetectSettings(LOW))
    assert result.classes[7].best == pytest.approx(alone.classes[0].best, abs=1e-6)


def test_the_named_threshold_shows_the_best_box(shared_engine: Engine) -> None:
    nothing = shared_engine.detect(COFFEE, "cup, spoon", DetectSettings(1.0))
    assert len(nothing.detections) == 0
    for report in nothing.classes:
        assert report.best is not None
        at = shows_at(report.best)
        shown = shared_engine.detect(COFFEE, "cup, spoon", DetectSettings(at)).classes
        assert next(c.boxes for c in shown if c.name == report.name) >= 1
        above = shared_engine.detect(COFFEE, "cup, spoon", DetectSettings(at + 0.01)).classes
        assert next(c.boxes for c in above if c.name == report.name) == 0


def test_photos_are_known_by_content_not_by_name(engine: Engine, tmp_path: Path) -> None:
    same = tmp_path / "other name.jpg"
    shutil.copy(COFFEE, same)
    engine.detect(COFFEE, "cup", DetectSettings(LOW))
    engine.detect(same, "cup", DetectSettings(LOW))
    assert engine.image_passes == 1
    shutil.copy(DEMO / "rocket.jpg", same)
    assert engine.detect(same, "cup", DetectSettings(LOW)).size == (640, 427)
    assert engine.image_passes == 2


def test_old_photos_are_forgotten(
    checkpoint: Path, make_image: Callable[..., Path], engine: Engine
) -> None:
    small = Engine(engine.predictor, name="tiny", photos=2)
    photos = [make_image(f"{i}.png", colour=(40 * i, 0, 0)) for i in range(3)]
    for photo in photos:
        small.detect(photo, "cup", DetectSettings(LOW))
    passes = small.image_passes
    assert not small.detect(photos[2], "cup", DetectSettings(LOW)).image_ran
    assert small.detect(photos[0], "cup", DetectSettings(LOW)).image_ran
    assert small.image_passes == passes + 1


def test_a_class_report_counts_what_is_shown(shared_engine: Engine) -> None:
    result = shared_engine.detect(COFFEE, "cup, spoon @0.1, !table", DetectSettings(LOW))
    assert [c.name for c in result.classes] == ["cup", "spoon"]
    assert [c.threshold for c in result.classes] == [None, 0.1]
    assert result.detections.class_id is not None
    counts = np.bincount(result.detections.class_id, minlength=2)
    assert [c.boxes for c in result.classes] == counts.tolist()
    assert result.detections.confidence is not None
    best = result.detections.confidence[result.detections.class_id == 0].max()
    assert result.classes[0].best == pytest.approx(float(best))


def test_the_preview_scales_with_its_boxes(
    shared_engine: Engine, make_image: Callable[..., Path]
) -> None:
    photo = make_image("wide.png", (2560, 640))
    preview, size = shared_engine.preview(photo)
    assert size == (2560, 640)
    assert preview.size == (1280, 320)
    result = shared_engine.detect(photo, "cup", DetectSettings(LOW))
    np.testing.assert_allclose(result.scaled_to(preview.size).xyxy * 2, result.detections.xyxy)


def test_requests_from_many_threads_agree(engine: Engine) -> None:
    found: list[int] = []

    def ask() -> None:
        found.append(len(engine.detect(COFFEE, "cup, spoon", DetectSettings(LOW)).detections))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert engine.image_passes == 1


def test_errors_name_the_value_and_the_fix(shared_engine: Engine, tmp_path: Path) -> None:
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    with pytest.raises(ImageError, match=r"^torn\.jpg"):
        shared_engine.detect(torn, "cup", DetectSettings())
    with pytest.raises(ImageError, match="gone"):
        shared_engine.detect(tmp_path / "gone.jpg", "cup", DetectSettings())
    with pytest.raises(VocabularyError):
        shared_engine.detect(COFFEE, "cup @2", DetectSettings())
    with pytest.raises(ValueError, match=r"threshold .* got 1\.5"):
        DetectSettings(1.5)
    with pytest.raises(ValueError, match="nms_iou"):
        DetectSettings(nms_iou=-1)
    with pytest.raises(ValueError, match="boxes"):
        DetectSettings(max_boxes=0)
    with pytest.raises(ValueError, match=r"tiles .* got 9"):
        DetectSettings(tiles=9)
    with pytest.raises(ValueError, match="got 100; try 96"):
        DetectSettings(size=100)
    with pytest.raises(DetectorError, match="no checkpoint 'nowhere'"):
        Engine.load("nowhere")


def test_progress_is_told_also_to_something_that_counts_as_false(engine: Engine) -> None:
    class Told(list[tuple[float, str]]):
        def __call__(self, share: float, desc: str) -> None:
            self.append((share, desc))

    told = Told()
    engine.detect(COFFEE, "cup", DetectSettings(LOW), progress=told)
    assert [desc for _, desc in told][:2] == ["Reading the photo", "Looking at the photo"]
    assert [share for share, _ in told] == sorted(share for share, _ in told)


def test_the_speed_is_measured(engine: Engine) -> None:
    assert engine.facts()["milliseconds_per_photo"] is None
    assert engine.measure(COFFEE, "cup") > 0
    assert engine.facts()["milliseconds_per_photo"] == pytest.approx(engine.milliseconds, abs=0.1)
    assert engine.image_passes == 2


def test_few_photos_do_not_wait_for_another_runtime(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DETCLIPV2_RUNTIME", raising=False)
    runtimes = [
        Engine.load(str(checkpoint), photos=photos).predictor.runtime for photos in (1, 1000, None)
    ]
    assert runtimes == ["torch", "openvino", "openvino"]
    monkeypatch.setenv("DETCLIPV2_RUNTIME", "openvino")
    assert Engine.load(str(checkpoint), photos=1).predictor.runtime == "openvino"
