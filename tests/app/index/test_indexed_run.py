"""A run with its index: what is kept while it works, and what `ask` makes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from app import cli
from app.engine import Engine
from app.index.build import index_folder, indexing
from app.index.store import RegionIndex
from app.runs import sources
from app.runs.jobs import process
from app.runs.settings import settings_of
from app.runs.store import Run
from detclipv2.serving import DetectSettings


@pytest.fixture
def run(engine: Engine, photos: Path, tmp_path: Path) -> Run:
    settings = settings_of(engine, "cat\ncup: mug", threshold=0.03, floor=0.02)
    run = Run.create(tmp_path / "runs" / "first", settings, sources.find_images([photos]))
    with indexing(run, engine.predictor) as keep:
        for _ in process(run, engine.predictor, sources.read, keep=keep):
            pass
    return run


def command(*words: object) -> int:
    return cli.main([str(word) for word in words])


def test_every_photo_that_was_looked_at_is_indexed(run: Run) -> None:
    index = RegionIndex(index_folder(run))
    assert index.images.tolist() == [row.id for row in run.images("done", "empty")]
    sizes = [row.size for row in run.images("done", "empty")]
    assert [tuple(size) for size in index.records["size"].tolist()] == sizes
    assert index.damaged() == []


def test_asking_for_the_runs_own_words_gives_its_boxes(
    run: Run, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, into = tmp_path / "asked.json", tmp_path / "runs" / "asked"
    asked = ["--prompts", "cat\ncup: mug", "--threshold", 0.05, "--model", checkpoint]
    assert command("ask", run.folder, *asked, "--out", out, "--into", into) == 0
    run.apply(run.view.prompts, 0.05)
    wanted, found = run.class_counts(), Run(into).class_counts()
    assert sum(wanted.values()) > 5
    for name, count in wanted.items():
        assert found[name] == pytest.approx(count, abs=2 + 0.1 * count)
    written = json.loads(out.read_text())
    assert len(written["annotations"]) == sum(found.values())
    assert "3 photos have boxes" in capsys.readouterr().out
    assert command("ask", run.folder, *asked, "--into", into) == cli.USAGE
    assert "holds a run already" in capsys.readouterr().err


def test_exact_looks_again_and_then_equals_detection(
    run: Run, engine: Engine, checkpoint: Path, tmp_path: Path
) -> None:
    into = tmp_path / "runs" / "exact"
    words = ["--prompts", "dog, red mug", "--threshold", 0.04, "--no-one-name", "--exact"]
    assert command("ask", run.folder, *words, "--into", into, "--model", checkpoint) == 0
    answer = Run(into)
    settings = DetectSettings(threshold=0.04, whole_things=True)
    checked = 0
    for row in answer.images("done"):
        scores = np.array([box.score for box in answer.boxes(row)])
        if (np.abs(scores - 0.04) < 0.05).any():
            fresh = engine.predictor.predict(sources.read(row.ref), ["dog", "red mug"], settings)
            np.testing.assert_allclose(scores, fresh.confidence, atol=1e-6)
            checked += 1
    assert checked


def test_without_an_index_or_with_another_model_it_says_so(
    run: Run, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--prompts", "dog", "--threshold", 0.9]
    assert command("ask", run.folder, *words, "--model", "nano") == cli.USAGE
    assert "index the run again with this model" in capsys.readouterr().err
    shutil.rmtree(index_folder(run))
    assert command("ask", run.folder, *words, "--model", checkpoint) == cli.USAGE
    assert "has no index" in capsys.readouterr().err


def test_detect_indexes_runs_that_stay(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    words = ["detect", photos, "--prompts", "cat", "--model", checkpoint]
    assert command(*words, "--run", tmp_path / "kept") == 1, "one photo is broken"
    assert len(RegionIndex(tmp_path / "kept" / "index")) == 3
    assert command(*words, "--run", tmp_path / "bare", "--no-index") == 1
    assert not (tmp_path / "bare" / "index").exists()


def test_a_resumed_run_goes_on_with_its_index(engine: Engine, photos: Path, tmp_path: Path) -> None:
    settings = settings_of(engine, "cat")
    run = Run.create(tmp_path / "run", settings, sources.find_images([photos]))
    for _ in range(2):
        with indexing(run, engine.predictor) as keep:
            outcomes = process(run, engine.predictor, sources.read, keep=keep)
            next(outcomes)
            next(outcomes, None)
            outcomes.close()
    index = RegionIndex(index_folder(run))
    assert index.images.tolist() == [row.id for row in run.images("done", "empty")]


def test_an_index_that_cannot_be_written_costs_no_box(
    engine: Engine, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run.create(tmp_path / "run", settings_of(engine, "cat"), sources.find_images([photos]))
    index_folder(run).write_text("a file in its place")
    with indexing(run, engine.predictor) as keep:
        states = [o.state for o in process(run, engine.predictor, sources.read, keep=keep)]
    assert "not indexed" in caplog.text
    assert states.count("failed") == 1 and len(states) == 4


def test_like_duplicates_and_discover_on_the_command_line(
    run: Run, engine: Engine, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = next(run.images("done"))
    box = run.boxes(row)[0]
    corners = [str(value) for value in box.xyxy]
    assert command("like", run.folder, "--box", row.file_name, *corners) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("1.00") and row.file_name in first
    assert len(others) == 2
    for wrong, why in (("nowhere.jpg", "has no photo"), (row.file_name, "is no box")):
        numbers = ["9", "9", "1", "1"]
        assert command("like", run.folder, "--box", wrong, *numbers) == cli.USAGE
        assert why in capsys.readouterr().err
    assert command("duplicates", run.folder) == 0
    assert "of 3 photos" in capsys.readouterr().out


def test_a_copied_photo_is_found(engine: Engine, photos: Path, tmp_path: Path) -> None:
    from PIL import Image

    from app.index.duplicates import find_duplicates

    with Image.open(photos / "coffee.jpg") as photo:
        photo.resize((photo.width // 2, photo.height // 2)).save(photos / "small.jpg", quality=60)
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / "turned.jpg")
    settings = settings_of(engine, "cat")
    run = Run.create(tmp_path / "run", settings, sources.find_images([photos]))
    with indexing(run, engine.predictor) as keep:
        for _ in process(run, engine.predictor, sources.read, keep=keep):
            pass
    names = {row.id: row.file_name for row in run.images()}
    # By the hashes alone: random weights tell no photo from another.
    groups = find_duplicates(RegionIndex(index_folder(run)), cosine=1.1)
    assert [{names[image] for image in group.images} for group in groups] == [
        {"coffee.jpg", "small.jpg", "turned.jpg"}
    ]
    assert names[groups[0].images[0]] != "small.jpg"
    assert groups[0].mirrored
