"""Run folders as they are found: damaged, foreign, moved, older, and nobody else's business."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app import cli
from app.engine import Engine
from app.runs import sources
from app.runs.jobs import process
from app.runs.records import RunError
from app.runs.settings import settings_of
from app.runs.store import Run
from app.ui.batch.actions import BatchActions
from app.ui.shared.run_folders import RunFolders
from tests.app.ui.visitors import HERE, RULES


@pytest.fixture
def run(engine: Engine, photos: Path, tmp_path: Path) -> Run:
    settings = settings_of(engine, "cat\ncup: mug", threshold=0.03, floor=0.02)
    run = Run.create(tmp_path / "runs" / "good", settings, sources.find_images([photos]))
    for _ in process(run, engine.predictor, sources.read):
        pass
    return run


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "run.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    edit(stored)
    path.write_text(json.dumps(stored), encoding="utf-8")


def test_a_ledger_that_is_gone_is_missed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.close()
    for left in run.folder.glob("ledger.sqlite*"):
        left.unlink()
    assert cli.main(["detect", "--resume", str(run.folder)]) == cli.USAGE
    said = capsys.readouterr().err
    assert "ledger.sqlite is gone" in said and "put it back" in said
    assert not list(run.folder.glob("ledger.sqlite*"))


@pytest.mark.parametrize("content", [b"", b"SQLite format 3", b"x" * 5000])
def test_another_file_is_no_ledger(run: Run, content: bytes) -> None:
    run.close()
    path = run.folder / "ledger.sqlite"
    path.write_bytes(content)
    with pytest.raises(RunError, match="not the run's ledger"):
        Run(run.folder)
    assert path.read_bytes() == content


def test_a_new_run_replaces_no_file_of_others(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as db:
        db.execute("CREATE TABLE money(amount REAL)")
    before = (folder / "ledger.sqlite").read_bytes()
    with pytest.raises(RunError, match="not ours to replace"):
        Run.create(folder, run.settings, [row.ref for row in run.images()])
    assert (folder / "ledger.sqlite").read_bytes() == before
    (folder / "ledger.sqlite").unlink()
    (folder / "ledger.sqlite").symlink_to(tmp_path / "target")
    Run.create(folder, run.settings, [row.ref for row in run.images()]).close()
    assert not (tmp_path / "target").exists()


def test_a_run_of_an_earlier_version_is_read_and_marked(run: Run) -> None:
    run.close()
    with closing(sqlite3.connect(run.folder / "ledger.sqlite")) as db:
        db.execute("PRAGMA application_id=0")
        db.execute("PRAGMA user_version=0")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    change(run.folder, lambda stored: stored.pop("weights"))
    again = Run(run.folder)
    assert again.counts() and again.settings.weights == ""
    again.close()
    with closing(sqlite3.connect(run.folder / "ledger.sqlite")) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (0x44435232,)
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "extra": (lambda s: s.update(colour="red"), "'colour' is not known"),
    "missing": (lambda s: s.pop("checkpoint"), "'checkpoint' is missing"),
    "text": (lambda s: s.update(threshold="0.3"), "threshold is '0.3', not float"),
    "true": (lambda s: s.update(max_boxes=True), "max_boxes is True, not int"),
    "list": (lambda s: s.update(prompts=["cat"]), r"prompts is \['cat'\], not str"),
    "range": (lambda s: s.update(floor=7), "floor must lie in 0..1"),
    "words": (lambda s: s.update(prompts="cat: a: b"), "prompts: "),
    "others": (lambda s: s.update(prompts="cat\ndog"), "not those the run began with"),
    "format": (lambda s: s.update(format=99), "another version"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_settings_are_checked_at_the_door(run: Run, name: str) -> None:
    edit, message = BROKEN[name]
    run.close()
    change(run.folder, edit)
    with pytest.raises(RunError, match=message):
        Run(run.folder)
    assert cli.main(["detect", "--resume", str(run.folder)]) == cli.USAGE


def damage(root: Path, good: Path) -> None:
    """A folder for each way in which one can be bad."""
    for name, (edit, _) in BROKEN.items():
        shutil.copytree(good, root / f"bad-{name}")
        change(root / f"bad-{name}", edit)
    shutil.copytree(good, root / "bad-gone")
    (root / "bad-gone" / "ledger.sqlite").unlink()
    shutil.copytree(good, root / "bad-empty")
    (root / "bad-empty" / "ledger.sqlite").write_bytes(b"")
    shutil.copytree(good, root / "bad-view")
    with closing(sqlite3.connect(root / "bad-view" / "ledger.sqlite")) as db, db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('view', '{\"a\": 1}')")
    shutil.copytree(good, root / "bad-state")
    with closing(sqlite3.connect(root / "bad-state" / "ledger.sqlite")) as db, db:
        db.execute("UPDATE images SET state = 'lost'")
    for name, text in (("list", "[1]"), ("deep", "[" * 100_000), ("half", '{"format": 1')):
        (root / f"bad-json-{name}").mkdir()
        (root / f"bad-json-{name}" / "run.json").write_text(text)
    (root / "bad-link").mkdir()
    (root / "bad-link" / "run.json").symlink_to(root / "nowhere")
    (root / "bad-folder" / "run.json").mkdir(parents=True)


def test_one_bad_folder_takes_the_list_from_nobody(
    run: Run, engine: Engine, tmp_path: Path
) -> None:
    run.close()
    root = tmp_path / "runs"
    damage(root, run.folder)
    runs = RunFolders(root, RULES)
    actions = BatchActions(engine, runs, RULES, tmp_path / "downloads")
    choices = dict(map(reversed, runs.choices(HERE)))  # type: ignore[arg-type]
    assert choices.pop("good") == "good"
    assert len(choices) == len(list(root.glob("bad-*")))
    for name, label in choices.items():
        assert label == f"{name} (cannot be read)"
        said = actions.status(name, HERE)
        assert "status error" in said and name in said
        assert actions.rows(name, HERE) == []
        actions.refresh(name, HERE)
        actions.threshold(name, HERE)
    assert "status ok" in actions.status("good", HERE)


def test_nobody_else_reads_a_run(run: Run, engine: Engine, tmp_path: Path) -> None:
    assert run.folder.stat().st_mode & 0o077 == 0
    for name in ("run.json", "ledger.sqlite"):
        assert (run.folder / name).stat().st_mode & 0o077 == 0, name
    with RunFolders(tmp_path / "page", RULES).new("x") as folder:
        assert folder.stat().st_mode & 0o077 == 0
    older = tmp_path / "older"
    older.mkdir(mode=0o755)
    Run.create(older, run.settings, [row.ref for row in run.images()]).close()
    assert older.stat().st_mode & 0o777 == 0o755, "a folder that was there keeps its mode"


def test_a_run_of_a_checkpoint_folder_goes_on_from_anywhere(
    checkpoint: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    shutil.copytree(checkpoint, here / "model")
    monkeypatch.chdir(here)
    begin = ["detect", os.path.relpath(photos), "--prompts", "cat", "--model", "model"]
    assert cli.main([*begin, "--run", "run"]) == cli.SOME_FAILED
    monkeypatch.chdir(there)
    run = here / "run"
    again = ["detect", "--resume", str(run), "--retry-failed"]
    assert cli.main(again) == cli.SOME_FAILED, "one photo is broken"
    (here / "model").rename(there / "moved")
    capsys.readouterr()
    assert cli.main(again) == cli.USAGE
    said = capsys.readouterr().err
    assert str(here / "model") in said and "say with --model where it is now" in said
    assert cli.main([*again, "--model", "moved"]) == cli.SOME_FAILED
