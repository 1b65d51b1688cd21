"""A run that learns: decisions in, new boxes out, and back again."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import cli
from app.adaptation.rescore import rescore
from app.adaptation.state import FILE, LearnedClasses, LearnedError
from app.box import Box
from app.engine import Engine
from app.index.build import index_folder, indexing
from app.index.store import RegionIndex
from app.review.decision import Decision
from app.review.decisions import Decisions
from app.runs import sources
from app.runs.jobs import process
from app.runs.settings import settings_of
from app.runs.store import Run
from detclipv2.inference.suppression import Suppression

PHOTOS = 24
Command = Callable[..., int]


@pytest.fixture
def run(shared_engine: Engine, tmp_path: Path) -> Run:
    """Photos with a red and a blue thing each."""
    draw_photos(tmp_path / "photos", range(PHOTOS))
    settings = settings_of(shared_engine, "red thing\nblue thing", threshold=0.3, floor=0.02)
    run = Run.create(tmp_path / "run", settings, sources.find_images([tmp_path / "photos"]))
    with indexing(run, shared_engine.predictor) as keep:
        list(process(run, shared_engine.predictor, sources.read, keep=keep))
    return run


def draw_photos(folder: Path, numbers: range) -> None:
    """Photos of noise with a red and a blue thing, see `truth`."""
    folder.mkdir()
    for number in numbers:
        pixels = np.random.default_rng(number).integers(100, 156, (64, 96, 3), dtype=np.uint8)
        for name, (x1, y1, x2, y2) in truth(number):
            tint = (220, 20, 20) if name == "red thing" else (20, 20, 220)
            pixels[y1:y2, x1:x2] = pixels[y1:y2, x1:x2] // 2 + np.array(tint, np.uint8) // 2
        Image.fromarray(pixels).save(folder / f"{number:02}.png")


def truth(number: int) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Two things about as large as what the tiny model proposes, on either side."""
    a, b, c, d = (int(v) for v in np.random.default_rng(100 + number).integers(0, 4, 4))
    boxes = [(a, b, a + 46, b + 60), (46 + c, d, 92 + c, d + 60)]
    names = ("red thing", "blue thing") if number % 2 else ("blue thing", "red thing")
    return list(zip(names, boxes, strict=True))


@pytest.fixture
def command(checkpoint: Path) -> Command:
    return lambda *words: cli.main([str(word) for word in words])


def everything(run: Run) -> tuple[list[tuple[str, list[Box], list[Box]]], object, str]:
    again = Run(run.folder)
    rows = [(row.state, again.stored(row), again.boxes(row)) for row in again.images()]
    return rows, again.view, again.model_version


def stored(found: tuple[list[tuple[str, list[Box], list[Box]]], object, str]) -> list[list[Box]]:
    return [boxes for _, boxes, _ in found[0]]


def review(run: Run, photos: range) -> None:
    with Decisions(run.folder) as decisions:
        for row in list(run.images())[photos.start : photos.stop]:
            added = [Decision.add(name, box) for name, box in truth(int(row.file_name[:2]))]
            decisions.decide(row.id, added, reviewed=["red thing", "blue thing"])


def test_a_run_learns_from_reviewed_photos_and_forgets(
    run: Run, command: Command, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, version = everything(run), run.model_version
    learn = ["learn", run.folder, "--model", checkpoint]
    assert command(*learn) == cli.USAGE
    assert "no photo is reviewed yet" in capsys.readouterr().err
    review(run, range(14))
    assert command(*learn) == 0
    said = capsys.readouterr().out
    assert "red thing: " in said and "learned from 14 reviewed photos; 10 others" in said
    after = everything(run)
    assert stored(after)[:14] == stored(before)[:14], "what was reviewed stays"
    learned = LearnedClasses.load(run.folder / FILE)
    assert learned is not None and learned.photos == 14
    assert {report.basis for report in learned.adapted.reports} == {"reviewed boxes"}
    assert stored(after)[14:] != stored(before)[14:]
    first = run.model_version
    assert "+l" in first and first != version, "a push must not take these for the words' boxes"
    review(run, range(14, 16))
    assert command(*learn) == 0, "again, from the words' boxes on"
    assert run.model_version not in (first, version)
    assert command("learn", run.folder, "--undo") == 0
    assert everything(run) == before
    assert run.model_version == version
    assert not (run.folder / FILE).exists()
    with closing(sqlite3.connect(run.folder / "ledger.sqlite")) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    assert not {"boxes_by_words", "photos_by_words"} & names
    capsys.readouterr()
    assert command("learn", run.folder, "--undo") == 0
    assert "nothing was learned" in capsys.readouterr().out


def test_words_that_stay_give_the_runs_own_boxes(
    run: Run, command: Command, checkpoint: Path, shared_engine: Engine
) -> None:
    """No weights: what the index gives is what detection gave, up to rounding."""
    review(run, range(3))
    assert command("learn", run.folder, "--model", checkpoint) == 0
    learned = LearnedClasses.load(run.folder / FILE)
    assert learned is not None
    weights = np.zeros_like(learned.adapted.weights)
    words = replace(learned, adapted=replace(learned.adapted, weights=weights))
    assert command("learn", run.folder, "--undo") == 0
    rules = Suppression(
        run.settings.detection.nms_iou, shared_engine.predictor.model.serving.soft_nms
    )
    agree = total = 0
    for found in rescore(RegionIndex(index_folder(run)), words, 0.02, rules):
        (row,) = [row for row in run.images() if row.id == found.image]
        for box in run.stored(row)[:20]:
            total += 1
            same = np.abs(found.boxes - box.xyxy).max(axis=1) < 0.01
            agree += bool((np.abs(found.scores[same] - box.score) < 0.01).any())
    assert total > 100
    assert agree > 0.95 * total


def test_another_models_or_a_broken_file_is_refused(
    run: Run, command: Command, checkpoint: Path, tmp_path: Path
) -> None:
    review(run, range(3))
    assert command("learn", run.folder, "--model", checkpoint) == 0
    file = run.folder / FILE
    learned = LearnedClasses.load(file)
    assert learned is not None
    index = RegionIndex(index_folder(run))
    with pytest.raises(LearnedError, match="learned from checkpoint"):
        list(rescore(index, replace(learned, checkpoint="0" * 64), 0.1, Suppression(0.6)))
    assert LearnedClasses.load(tmp_path / "none.npz") is None
    whole = file.read_bytes()
    for content in (
        b"",
        b"PK",
        whole[: len(whole) // 2],
        whole.replace(b'"format": 1', b'"format": 7'),
    ):
        file.write_bytes(content)
        with pytest.raises(LearnedError, match="learn again"):
            LearnedClasses.load(file)
    good = {"head": np.frombuffer(b"{}", np.uint8), "embeddings": np.array([{}], object)}
    np.savez(file, **good)  # type: ignore[arg-type]
    with pytest.raises(LearnedError):
        LearnedClasses.load(file)
    learned.save(file)
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name in ("weights", "mean", "thresholds"):
        np.savez(file, **{**arrays, name: arrays[name][:-1]})
        with pytest.raises(LearnedError, match=name):
            LearnedClasses.load(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("head.npy", bytes(300 << 20))
    with pytest.raises(LearnedError, match="larger"):
        LearnedClasses.load(file)


def test_deciding_on_the_command_line(
    run: Run, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.apply(run.view.prompts, 0.02)
    (row, *_) = [row for row in run.images() if len(run.boxes(row)) >= 4]
    shown = run.boxes(row)
    decide = ["decide", run.folder, row.file_name]
    other = {"red thing": "blue thing", "blue thing": "red thing"}[shown[2].name]
    options = ["--accept", "1", "--reject", "2", "--rename", f"3={other}", "--move", "4=1,1,9,9"]
    assert command(*decide, *options, "--add", "red thing=2,3,40,50", "--by", "ann") == 0
    assert "in work" in capsys.readouterr().out
    with Decisions(run.folder) as decisions:
        found = decisions.review(row.id)
        assert set(found.boxes) == {
            shown[0],
            replace(shown[2], name=other),
            replace(shown[3], xyxy=(1, 1, 9, 9)),
            Box("red thing", 1.0, (2, 3, 40, 50)),
        }
        assert found.rejected == (shown[1],)
        assert command(*decide, "--reviewed", "red thing") == 0
        assert decisions.review(row.id).classes == {"red thing"}
        assert command(*decide, "--undo") == 0
        assert decisions.review(row.id).state == "in work"
        assert command(*decide, "--accept-above", "0", "--reject", "1", "--reviewed") == 0
        assert len(decisions.review(row.id).rejected) == 1
        assert decisions.review(row.id).state == "reviewed"
    capsys.readouterr()
    for wrong in (
        ["--accept", "0"],
        ["--accept", "x"],
        ["--reject", "999"],
        ["--rename", "1=dog"],
        ["--move", "1=1,2,3"],
        ["--add", "dog=1,2,3,4"],
        ["--reviewed", "dog"],
    ):
        assert command(*decide, *wrong) == cli.USAGE, wrong
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert command("decide", run.folder, "nowhere.png") == cli.USAGE
    assert command("decide", run.folder) == 0
    assert "1 photos reviewed" in capsys.readouterr().out
    assert command("decide", run.folder, "--undo") == 0
    assert row.file_name in capsys.readouterr().out


def test_reviewed_boxes_come_from_a_coco_file(
    run: Run, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["blue thing", "red thing", "dog"]
    annotations = [
        {"image_id": n, "category_id": names.index(name), "bbox": [x, y, x2 - x, y2 - y]}
        for n in range(3)
        for name, (x, y, x2, y2) in truth(n)
    ]
    content = {
        "categories": [{"id": k, "name": name} for k, name in enumerate(names)],
        "images": [{"id": n, "file_name": f"{n:02}.png"} for n in range(3)]
        + [{"id": 9, "file_name": "elsewhere.png"}],
        "annotations": [*annotations, {"iscrowd": 1}],
    }
    path = tmp_path / "reviewed.json"
    path.write_text(json.dumps(content))
    assert command("decide", run.folder, "--coco", path) == cli.SOME_FAILED
    assert "3 photos reviewed; 1 are not in the run" in capsys.readouterr().out
    with Decisions(run.folder) as decisions:
        reviews = decisions.reviews()
    assert len(reviews) == 3
    for row in list(run.images())[:3]:
        found = {(box.name, box.xyxy) for box in reviews[row.id].boxes}
        assert found == {(name, box) for name, box in truth(int(row.file_name[:2]))}
        assert reviews[row.id].classes == {"blue thing", "red thing"}
    for broken in ("{", "[]", '{"categories": [], "images": [{"id": 1}], "annotations": []}'):
        path.write_text(broken)
        assert command("decide", run.folder, "--coco", path) == cli.USAGE
        assert "no COCO of boxes" in capsys.readouterr().err
