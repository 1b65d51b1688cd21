"""The run folder: what is written stays, thresholds move without the model, kills lose nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.box import Box
from app.cli import main
from app.engine import Engine
from app.runs import sources
from app.runs.diff import compare_boxes, compare_runs
from app.runs.jobs import Job, estimate, process
from app.runs.records import Counts, ImageRef, RunError
from app.runs.settings import settings_of
from app.runs.store import Run
from detclipv2.language.vocabulary import Vocabulary
from tests.app.runs.logged_run import run_and_log
from tests.processes import start

PLAIN = {"one_name": False, "whole_things": False}
PROMPTS = "cat\ncup: mug @0.06\n!shadow"


@pytest.fixture
def run(engine: Engine, photos: Path, tmp_path: Path) -> Run:
    settings = settings_of(engine, PROMPTS, threshold=0.08, floor=0.02, **PLAIN)
    return Run.create(tmp_path / "run", settings, sources.find_images([photos]))


def work(run: Run, engine: Engine) -> None:
    for _ in process(run, engine.predictor, sources.read):
        pass


def test_every_image_has_a_row_and_boxes_are_the_predictors(run: Run, engine: Engine) -> None:
    work(run, engine)
    counts = run.counts()
    assert (counts.total, counts.failed, counts.pending) == (4, 1, 0)
    (failed,) = run.images("failed")
    assert failed.file_name == "broken.png" and "broken.png" in (failed.reason or "")
    for row in run.images("done", "empty"):
        expected = engine.predictor.predict(row.place, PROMPTS, threshold=0.08)
        found = run.detections(row)
        assert expected.confidence is not None and found.confidence is not None
        np.testing.assert_allclose(found.xyxy, expected.xyxy, atol=1e-3)
        np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-6)
        assert found.data["class_name"].tolist() == expected.data["class_name"].tolist()


def test_a_run_of_many_classes_shows_what_the_predictor_shows(
    engine: Engine, photos: Path, tmp_path: Path
) -> None:
    words = ", ".join(f"thing number {i}" for i in range(60))
    settings = settings_of(engine, words, threshold=0.01, floor=0.01, max_boxes=300, **PLAIN)
    run = Run.create(tmp_path / "many", settings, sources.find_images([photos / "coffee.jpg"]))
    list(process(run, engine.predictor, sources.read))
    (row,) = run.images()
    fresh = engine.predictor.predict(photos / "coffee.jpg", words, threshold=0.01, max_boxes=300)
    shown = run.detections(row)
    assert len(fresh) == len(shown) == 300, "more than a thousand candidates reach the suppression"
    np.testing.assert_allclose(shown.confidence, fresh.confidence, atol=1e-6)


def test_thresholds_change_without_the_model(run: Run, engine: Engine) -> None:
    work(run, engine)
    passes = engine.image_passes
    version = run.model_version
    words = "cat @0.3\ncup: mug @0.03\n!shadow"
    run.apply(words, 0.05)
    assert run.model_version != version, "other thresholds are another version"
    again = Run(run.folder)
    for row in again.images("done", "empty"):
        own = {"cat": 0.3, "cup": 0.03}
        expected = [box for box in again.stored(row) if box.score >= own[box.name]]
        assert again.boxes(row) == expected[:100]
        assert row.state == ("done" if expected else "empty")
    run.apply("cat @1\ncup: mug @1\n!shadow")
    assert run.counts() == Counts(empty=3, failed=1)
    assert engine.image_passes == passes
    with pytest.raises(RunError, match="must lie in 0"):
        run.apply("cat @0.01\ncup: mug\n!shadow")
    with pytest.raises(RunError, match="other words"):
        run.apply("dog")


@pytest.mark.parametrize(
    ("looked", "suffix"),
    [
        ({"tiles": 2}, "+t2"),
        ({"size": 640}, "+s640"),
        ({"size": 640, "tiles": 3}, "+s640+t3"),
        ({"looks": "fast"}, "+fast"),
    ],
)
def test_another_look_is_another_version(
    run: Run, engine: Engine, photos: Path, tmp_path: Path, looked: dict[str, int], suffix: str
) -> None:
    begun = run.settings
    settings = replace(begun, detection=replace(begun.detection, **looked))
    close = Run.create(tmp_path / "close", settings, sources.find_images([photos]))
    plain, at, threshold = run.model_version.rpartition("@")
    assert close.model_version == f"{plain}{suffix}{at}{threshold}"
    with pytest.raises(ValueError, match=r"tiles .* got 0"):
        replace(begun.detection, tiles=0)


def test_a_run_is_never_overwritten_and_has_one_worker(
    run: Run, engine: Engine, photos: Path
) -> None:
    with pytest.raises(RunError, match="holds a run already"):
        Run.create(run.folder, run.settings, [ImageRef("a", "a")])
    with run.working(), pytest.raises(RunError, match="another process"):
        work(Run(run.folder), engine)


def test_another_checkpoint_is_refused(run: Run, engine: Engine) -> None:
    engine.predictor.__dict__["region_fingerprints"] = ("0" * 64,) * 2
    with pytest.raises(RunError, match="was begun with checkpoint"):
        work(run, engine)


def test_a_job_pauses_goes_on_and_can_be_cancelled_and_resumed(run: Run, engine: Engine) -> None:
    gate, seen = threading.Semaphore(0), []

    def read(image: ImageRef) -> bytes:
        gate.acquire()
        seen.append(image.file_name)
        return sources.read(image)

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    job = Job(run, engine.predictor, read)
    job.start()
    gate.release()
    wait(lambda: job.progress().counts.processed == 1)
    job.pause()
    gate.release(1)  # the image it may already be waiting for
    time.sleep(0.3)
    paused = job.progress()
    assert paused.phase == "paused" and paused.counts.pending >= 2
    job.resume()
    gate.release()
    wait(lambda: job.progress().counts.processed == 3)
    assert job.progress().seconds_left is not None
    job.cancel()
    gate.release()
    assert job.wait(20) and job.progress().over
    second = Job(run, engine.predictor, sources.read)
    second.start()
    assert second.wait(20)
    assert second.progress().phase == "finished"
    assert second.progress().counts.pending == 0


def test_an_estimate_is_measured(engine: Engine, photos: Path) -> None:
    images = sources.find_images([photos / "sub"]) * 100
    seconds = estimate(images, engine.predictor, sources.read, Vocabulary.parse("cat"))
    start = time.perf_counter()
    for _ in range(3):
        engine.predictor.predict(images[0].place, "cat")
    measured = (time.perf_counter() - start) / 3 * 100
    assert measured / 5 < seconds < measured * 5


def test_killed_at_any_moment_it_ends_as_if_never_killed(
    make_image: Callable[..., Path], tmp_path: Path, checkpoint: Path
) -> None:
    names = [f"{number:03}.png" for number in range(40)]
    for number, name in enumerate(names):
        make_image(f"many/{name}", (64 + number, 48), (200, 6 * number, 30))
    log, kills = tmp_path / "log", 0
    for seen in (1, 9, 22, 1000):
        child = start(
            run_and_log, tmp_path / "run", tmp_path / "many", checkpoint, log, log=tmp_path / "said"
        )
        assert child.pid is not None
        while child.is_alive():
            lines = log.read_text().splitlines() if log.exists() else []
            if len(lines) >= seen:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.003)
        child.join()
    assert child.exitcode == 0, (tmp_path / "said").read_text()
    assert kills == 3
    looked = log.read_text().splitlines()
    assert set(looked) == set(names)
    assert len(looked) <= len(names) + kills, "a kill repeats at most one image"
    whole = tmp_path / "whole"
    settings = ["--prompts", "cat, cup", "--threshold", "0.02", "--floor", "0.02"]
    places = ["--model", str(checkpoint), "--run", str(whole)]
    assert main(["detect", str(tmp_path / "many"), *settings, *places]) == 0
    tables = []
    for folder in (whole, tmp_path / "run"):
        with sqlite3.connect(folder / "ledger.sqlite") as db:
            tables.append(
                (
                    db.execute("SELECT file_name, state, sha256, width FROM images").fetchall(),
                    db.execute("SELECT * FROM boxes ORDER BY image, rank").fetchall(),
                )
            )
    assert tables[0] == tables[1] and tables[0][1]


def test_a_difference_names_what_changed(run: Run, engine: Engine) -> None:
    cat, cup = Box("cat", 0.5, (0, 0, 10, 10)), Box("cup", 0.5, (0, 0, 10, 10))
    moved, far = Box("cat", 0.7, (1, 0, 11, 10)), Box("cat", 0.9, (50, 50, 60, 60))
    difference = compare_boxes("x", [cat, far], [moved])
    assert difference.kept == ((cat, moved),) and difference.lost == (far,)
    assert compare_boxes("x", [cat], [cup, moved]).gained == (cup,), "the same name goes first"
    assert compare_boxes("x", [cat], [cup]).renamed == ((cat, cup),)
    work(run, engine)
    assert [d.changes for d in compare_runs(run, run)] == [0, 0, 0]
