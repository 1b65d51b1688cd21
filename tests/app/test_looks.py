"""Fast and thorough looks: never mixed, measured, and kept with what they made."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest

from app import cli
from app.engine import Engine
from app.look_times import LookTimes
from app.runs import sources
from app.runs.jobs import process
from app.runs.settings import read_settings, settings_of
from app.runs.store import SETTINGS_FILE, Run
from app.ui.detect.actions import Actions, Session
from app.ui.detect.drawings import Drawings
from app.ui.detect.find import DetectControls
from app.ui.shared.looks import describe
from app.ui.shared.permalink import Link
from detclipv2.checkpoint import save_checkpoint
from detclipv2.serving import DetectSettings
from tests.app.ui.visitors import HERE
from tests.places import DEMO

COFFEE = DEMO / "coffee.jpg"
PLAIN = {"one_name": False, "whole_things": False}
THOROUGH = DetectSettings(0.02, max_boxes=300)
FAST = DetectSettings(0.02, max_boxes=300, looks="fast")


def test_a_photo_is_encoded_for_each_kind_of_looks(looking_engine: Engine) -> None:
    engine = looking_engine
    for settings, passes in ((FAST, 1), (THOROUGH, 4)):
        found = engine.detect(COFFEE, "cup", settings)
        assert found.image_ran and engine.image_passes == passes
        fresh = engine.predictor.predict(COFFEE, "cup", settings)
        np.testing.assert_array_equal(found.detections.xyxy, fresh.xyxy)
        np.testing.assert_array_equal(found.detections.confidence, fresh.confidence)
        engine.predictor._encoder.passes = passes
    for settings in (FAST, THOROUGH):
        again = engine.detect(COFFEE, "cup", settings)
        fresh = engine.predictor.predict(COFFEE, "cup", settings)
        assert not again.image_ran
        np.testing.assert_array_equal(again.detections.confidence, fresh.confidence)


def test_an_alignment_never_takes_the_other_looks(looking_engine: Engine) -> None:
    engine = looking_engine
    engine.detect(COFFEE, "cup", FAST)
    aligned = engine.align(COFFEE, ["cup"])
    assert aligned.image_ran, "a thorough first look has the half size in it"
    fresh = engine.predictor.align(COFFEE, ["cup"])
    np.testing.assert_array_equal(aligned.alignment.scores, fresh.scores)
    hurried = Engine(engine.predictor, name="hurried", changes={"looks": "fast"})
    hurried.detect(COFFEE, "cup", FAST)
    assert not hurried.align(COFFEE, ["cup"]).image_ran


def test_facts_name_the_sides_that_were_looked_at(looking_engine: Engine) -> None:
    engine, words = looking_engine, looking_engine.vocabulary("cup")
    assert engine.describe(words, THOROUGH)["looks"] == [64, 32, 128]
    assert engine.describe(words, FAST)["looks"] == [64]
    assert engine.has_looks
    sized = Engine(engine.predictor, name="sized", changes={"size": 96})
    assert not sized.has_looks and sized.facts()["looks"] == [96]


def test_times_are_measured_and_never_made_up(looking_engine: Engine) -> None:
    engine = looking_engine
    assert describe(engine).count("not measured yet") == 2
    engine.measure(COFFEE, "cup")
    fast, thorough = engine.milliseconds_of("fast"), engine.milliseconds_of("thorough")
    assert fast is not None and thorough is not None and 0 < fast < thorough
    assert f"fast {fast:,.0f} ms" in describe(engine)
    assert f"thorough {thorough:,.0f} ms" in describe(engine)
    assert engine.facts()["milliseconds_of_looks"] == {"fast": fast, "thorough": thorough}


def test_the_median_follows_the_last_photos() -> None:
    times = LookTimes()
    times.add(FAST, 9.0)  # the first one pays for preparations
    assert times.milliseconds("fast") is None
    for seconds in (0.1, 0.5, 0.2):
        times.add(FAST, seconds)
    times.add(DetectSettings(looks="fast", tiles=2), 7.0)
    times.add(DetectSettings(looks="fast", size=64), 7.0)
    assert times.milliseconds("fast") == pytest.approx(200)
    assert times.milliseconds("thorough") is None


def test_a_run_keeps_its_looks(looking_engine: Engine, tmp_path: Path) -> None:
    engine, scores = looking_engine, {}
    images = sources.find_images([COFFEE])
    for looks in ("fast", "thorough"):
        settings = settings_of(engine, "cup", threshold=0.02, floor=0.02, looks=looks, **PLAIN)
        run = Run.create(tmp_path / looks, settings, images)
        list(process(run, engine.predictor, sources.read))
        (row,) = run.images()
        scores[looks] = run.detections(row).confidence
        fresh = engine.predictor.predict(COFFEE, "cup", threshold=0.02, looks=looks)
        np.testing.assert_allclose(scores[looks], fresh.confidence, atol=1e-6)
        assert ("+fast" in run.model_version) == (looks == "fast")
    assert not np.array_equal(scores["fast"], scores["thorough"])


def test_a_run_of_before_was_thorough(looking_engine: Engine, tmp_path: Path) -> None:
    settings = settings_of(looking_engine, "cup", looks="fast")
    run = Run.create(tmp_path / "run", settings, sources.find_images([COFFEE]))
    file = run.folder / SETTINGS_FILE
    stored = json.loads(file.read_text())
    assert stored.pop("looks") == "fast"
    file.write_text(json.dumps(stored))
    assert read_settings(file).detection.looks == "thorough"
    file.write_text(json.dumps({**stored, "looks": "often"}))
    with pytest.raises(ValueError, match="looks must be one of"):
        read_settings(file)


def test_a_run_is_resumed_as_it_looked(
    looking_engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "thrice"
    save_checkpoint(looking_engine.predictor.model, model, {"note": "random weights"})
    run = ["--run", str(tmp_path / "run"), "--model", str(model), "--prompts", "cup"]
    assert cli.main(["detect", str(COFFEE), *run, "--looks", "fast"]) == cli.OK
    again = ["detect", "--resume", str(tmp_path / "run")]
    assert cli.main([*again, "--looks", "thorough"]) == cli.USAGE
    assert "--looks thorough: " in capsys.readouterr().err
    assert cli.main([*again, "--looks", "fast"]) == cli.OK
    assert cli.main(again) == cli.OK


def test_a_link_restores_the_looks(looking_engine: Engine, tmp_path: Path) -> None:
    actions = Actions(looking_engine, Drawings(tmp_path / "drawn"))
    chosen = DetectControls.of(FAST)
    shown = actions.detect(str(COFFEE), Session(), "cup", *chosen, progress=None)
    query = parse_qsl(actions.link(shown.session, "cup", *chosen)[1:])
    link = Link.read(dict(query))
    assert link is not None and link.settings["looks"] == "fast"
    followed = actions.follow(link, HERE)
    assert tuple(followed[:5]) == (0.02, 0.6, 300, 1, "fast")
    older = actions.follow(Link("detect", link.photo, "cup", {}), HERE)
    assert older[4] == "thorough"
