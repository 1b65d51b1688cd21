"""`app.cli detect` when something is in its way: names, disks, photos that are gone, flags."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import cli
from app.engine import Engine
from app.formats.atomic import write_bytes
from app.formats.names import flat_names, picture_names
from app.runs.store import Run
from detclipv2.serving import DetectSettings

PLAIN = ["--no-one-name", "--no-whole-things"]
LOW = ["--prompts", "cat, cup", "--threshold", "0.02", "--floor", "0.02", *PLAIN]
Detect = Callable[..., int]


@pytest.fixture
def detect(shared_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Detect:
    """`detect(path, …, "--flag", …)`: the command with a model that is loaded already."""

    def load(_: str, settings: DetectSettings, *_more: object) -> Engine:
        monkeypatch.setattr(shared_engine, "defaults", settings)
        return shared_engine

    monkeypatch.setattr("app.commands.detect_begin._load", load)
    return lambda *arguments: cli.main(["detect", *map(str, arguments)])


def dataset(out: Path) -> dict[str, Any]:
    value = json.loads((out / "detections.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def pictures(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "pictures").iterdir()}


def full(path: Path, *_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_long_names_are_cut_and_stay_apart(
    detect: Detect, make_image: Callable[..., Path], tmp_path: Path
) -> None:
    longest = [f"{'写真' * 40}{end}.jpg" for end in ("あああ", "いいい")]
    folder = make_image(f"photos/{longest[0]}").parent
    make_image(f"photos/{longest[1]}")
    run = ["--run", tmp_path / "run", "--format", "yolo"]
    assert detect(folder, *LOW, "--out", tmp_path / "out", *run) == cli.OK
    images = dataset(tmp_path / "out")["images"]
    assert [image["file_name"] for image in images] == longest
    assert {Path(image["picture"]).name for image in images} == set(pictures(tmp_path / "out"))
    assert len(list((tmp_path / "run" / "exports" / "yolo" / "images").iterdir())) == 2
    originals = [f"{'x' * 300}{end}" for end in ("a.jpg", "b.jpg", f".{'y' * 300}")]
    for names in (picture_names(originals), flat_names(originals)):
        assert len({Path(name).stem for name in names}) == 3
        assert max(len(name.encode()) for name in names) <= 210


def test_a_picture_that_cannot_be_written_is_named_and_the_rest_is_done(
    detect: Detect,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write(path: Path, content: bytes) -> None:
        (full if path.name == "coffee.jpg" else write_bytes)(path, content)

    monkeypatch.setattr("app.runs.pictures.write_bytes", write)
    (photos / "broken.png").unlink()
    assert detect(photos, *LOW, "--out", tmp_path / "out") == cli.SOME_FAILED
    said = capsys.readouterr().err
    assert "no picture of coffee.jpg: [Errno 28] No space left" in said
    assert "1 files could not be written" in said
    drawn = {i["file_name"]: i.get("picture") for i in dataset(tmp_path / "out")["images"]}
    assert drawn["coffee.jpg"] is None and drawn["sub/coffee.jpg"] == "pictures/coffee-2.jpg"
    assert len(drawn) == 3 and len(pictures(tmp_path / "out")) == 2


def test_places_are_tried_before_the_model_is_loaded(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "app.commands.detect_begin._load", lambda *_: pytest.fail("loaded for nothing")
    )
    file = photos / "notes.txt"
    begin = ["detect", str(photos), *LOW]
    for place in (["--out", str(file / "x")], ["--run", str(file)], ["--run", str(file / "x")]):
        assert cli.main([*begin, *place]) == cli.USAGE
        assert f"{file} is a file; name a folder" in capsys.readouterr().err
    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: full(dir))
    assert cli.main([*begin, "--out", str(tmp_path / "new" / "out")]) == cli.USAGE
    said = capsys.readouterr().err
    assert "cannot be written ([Errno 28] No space left" in said and len(said.splitlines()) == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("good", "code"), [(0, cli.USAGE), (2, cli.SOME_FAILED)])
def test_a_ledger_that_is_full_ends_the_job_in_one_line(
    detect: Detect,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    good: int,
    code: int,
) -> None:
    (photos / "broken.png").unlink()
    saved, save = [], Run.save

    def filling(*arguments: Any) -> Any:
        if len(saved) == good:
            raise sqlite3.OperationalError("database or disk is full")
        saved.append(arguments)
        return save(*arguments)

    monkeypatch.setattr(Run, "save", filling)
    assert detect(photos, *LOW, "--out", tmp_path / "out") == code
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if "disk is full" in line]
    if good:
        assert "stopped after 2 of 3 images" in line and "what is done is written" in line
        assert len(dataset(tmp_path / "out")["images"]) == 2
    else:
        assert "error: the run's ledger" in line


def test_a_name_that_is_not_utf8_is_named_and_passed_over(
    detect: Detect, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.png").unlink()
    odd = os.fsencode(photos) + b"/caf\xe9.jpg"
    os.link(photos / "coffee.jpg", odd)
    out = tmp_path / "out"
    assert detect(photos, os.fsdecode(odd), *LOW, "--out", out) == cli.SOME_FAILED
    assert "caf\\xe9.jpg: its name is not UTF-8; rename it" in capsys.readouterr().err
    assert len(dataset(out)["images"]) == 3


def test_ctrl_c_outside_detect_promises_no_images(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.commands.labelstudio.run_push", pressed)
    assert cli.main(["push", "run", "--project", "7"]) == cli.INTERRUPTED
    said = capsys.readouterr().err
    assert "the same command goes on where this one stopped" in said and "image" not in said


def test_a_resumed_run_takes_another_threshold_and_draws_again(
    detect: Detect, shared_engine: Engine, photos: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "run", tmp_path / "out"
    (photos / "broken.png").unlink()
    assert detect(photos, *LOW, "--run", folder, "--out", out) == cli.OK
    before, boxes, passes = pictures(out), dataset(out)["annotations"], shared_engine.image_passes
    best = max(annotation["score"] for annotation in boxes)
    written = {path: path.stat().st_mtime_ns for path in (out / "pictures").iterdir()}
    assert detect("--resume", folder, "--out", out) == cli.OK
    assert written == {path: path.stat().st_mtime_ns for path in written}, "they show these boxes"
    wanted = ["--threshold", f"{best - 1e-4:.4f}"]
    assert detect("--resume", folder, *wanted, "--out", out) == cli.OK
    left = dataset(out)["annotations"]
    assert 1 <= len(left) < len(boxes)
    assert dataset(out)["info"]["threshold"] == float(wanted[1])
    again = pictures(out)
    assert again.keys() == before.keys() and all(again[name] != before[name] for name in before)
    assert shared_engine.image_passes == passes, "no model runs"
    assert detect("--resume", folder, *LOW[2:4], "--no-pictures", "--out", out) == cli.OK
    assert dataset(out)["annotations"] == boxes
    assert detect("--resume", folder, "--threshold", "0.01") == cli.USAGE, "not stored"
    assert detect("--resume", folder, "--threshold", "1.5") == cli.USAGE


@pytest.mark.parametrize(
    ("flag", "value", "same"),
    [
        ("--max-boxes", "1", "100"),
        ("--nms", "0.1", "0.6"),
        ("--tiles", "2", "1"),
        ("--size", "96", None),
        ("--floor", "0.3", "0.02"),
        ("--project", "7", None),
    ],
)
def test_what_made_the_boxes_cannot_change_in_a_run(
    detect: Detect,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    value: str,
    same: str | None,
) -> None:
    folder = tmp_path / "run"
    assert detect(photos / "sub", *LOW, "--run", folder) == cli.OK
    capsys.readouterr()
    assert detect("--resume", folder, flag, value) == cli.USAGE
    said = capsys.readouterr().err
    assert f"{flag} {value}: {folder} was begun with" in said and len(said.splitlines()) == 1
    if same is not None:
        assert detect("--resume", folder, flag, same) == cli.OK


def test_a_photo_that_is_gone_is_named_and_the_others_are_written(
    detect: Detect, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "run", tmp_path / "out"
    (photos / "broken.png").unlink()
    assert detect(photos, *LOW, "--run", folder) == cli.OK
    (photos / "cat ünïcode.jpg").unlink()
    resume = ["--resume", folder, "--out", out, "--format", "yolo"]
    assert detect(*resume) == cli.SOME_FAILED
    said = capsys.readouterr().err
    assert "no picture of cat ünïcode.jpg" in said and "cat ünïcode.jpg: not copied" in said
    assert "2 files could not be written" in said
    assert len(dataset(out)["images"]) == 3 and len(pictures(out)) == 2
    yolo = folder / "exports" / "yolo"
    assert len(list((yolo / "labels").iterdir())) == 3
    assert len(list((yolo / "images").iterdir())) == 2
