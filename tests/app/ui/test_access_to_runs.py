"""Whose run a visitor sees, and what the page tells visitors."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import supervision as sv
from gradio_client import Client, handle_file
from playwright.sync_api import BrowserContext, Page, expect

from app.engine import Engine
from app.labelstudio.api.connection import Connection
from app.runs import sources
from app.runs.jobs import Job
from app.runs.records import ImageRef, RunError
from app.runs.settings import settings_of
from app.runs.store import Run
from app.ui.batch.actions import BatchActions
from app.ui.build import build_app
from app.ui.calibrate.actions import CalibrateActions
from app.ui.labelstudio.actions import LabelStudioActions
from app.ui.shared.access import TOKEN_HEADER, Access
from app.ui.shared.permalink import Link
from app.ui.shared.run_folders import RUNS_VARIABLE, UPLOADS, RunFolders
from tests.app.ui.visitors import ELSEWHERE, HERE, LOOKS, RULES, TOKEN, visitor


@pytest.fixture
def runs(shared_engine: Engine, photos: Path, tmp_path: Path) -> RunFolders:
    """Runs of private photos, of a folder that is open to visitors, of tasks, of a visitor."""
    root = tmp_path / "runs"
    uploaded = root / "uploads" / UPLOADS / "coffee.jpg"
    uploaded.parent.mkdir(parents=True)
    shutil.copy(photos / "coffee.jpg", uploaded)
    settings = settings_of(shared_engine, "cat, cup")
    elsewhere = [ImageRef("a", "https://host/a"), ImageRef("b", "/data/upload/7/b.jpg", None, 3)]
    private = ImageRef("private.jpg", str(photos / "coffee.jpg"))
    for name, images in {
        "mine": sources.find_images([photos]),
        "mixed": [*elsewhere, private],
        "open": sources.find_images([photos / "sub"]),
        "uploads": sources.find_images([uploaded]),
        "tasks": elsewhere,
    }.items():
        by = "203.0.113.7" if name == "uploads" else ""
        run = Run.create(root / name, replace(settings, begun_by=by), images)
        for row in run.images():
            run.save(row, sv.Detections.empty(), "", (8, 8), 0.1)
        run.close()
    return RunFolders(root, Access(((photos / "sub").resolve(),), TOKEN))


def test_runs_are_for_who_may_name_their_photos(runs: RunFolders, photos: Path) -> None:
    assert set(runs.names(HERE)) == {"mine", "mixed", "open", "uploads", "tasks"}
    assert set(runs.names(ELSEWHERE)) == {"open", "uploads"}
    assert set(runs.names(visitor("203.0.113.8"))) == {"open"}
    assert set(RunFolders(runs.root, RULES).names(ELSEWHERE)) == {"uploads"}
    assert runs.listed("mine", ELSEWHERE).value in {"open", "uploads"}
    for name in ("mine", "mixed", "tasks", "nothing"):
        with pytest.raises(
            RunError, match=f"'{name}' is no run that visitors may open.*--allow-folder"
        ):
            runs.open(name, ELSEWHERE)


def test_who_uploads_from_elsewhere_sees_their_run(
    shared_engine: Engine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = RunFolders(tmp_path / "runs", RULES)
    batch = BatchActions(shared_engine, folders, RULES, tmp_path / "zips")
    monkeypatch.setattr(BatchActions, "_work", lambda _, run, read: run.close())
    for who, name in ((ELSEWHERE, "theirs"), (HERE, "ours")):
        batch.start(
            [str(photos / "coffee.jpg")],
            "",
            1,
            None,
            False,
            "",
            "cup",
            1,
            LOOKS[0],
            0.3,
            name,
            None,
            who,
        )
    assert batch.runs.names(ELSEWHERE) == ["theirs"]
    assert set(batch.runs.names(HERE)) == {"theirs", "ours"}


def test_no_tab_hands_out_a_run_of_others(
    runs: RunFolders, shared_engine: Engine, tmp_path: Path
) -> None:
    batch = BatchActions(shared_engine, runs, runs.access, tmp_path / "exports")
    labels, calibration = LabelStudioActions(runs, runs.access), CalibrateActions(runs)
    server = Connection("http://127.0.0.1:9", "0" * 40)
    proposals: Any = SimpleNamespace(tasks=(), precision=0.8)
    handlers: list[Callable[[str, gr.Request], Any]] = [
        lambda name, who: batch.status(name, who),
        lambda name, who: batch.tick(name, who)[0],
        lambda name, who: batch.resume(name, "", True, None, who),
        lambda name, who: batch.apply(name, 0.9, who),
        lambda name, who: labels.make_project(server, name, "", who)[1],
        lambda name, who: labels.make_tasks(server, name, 7, "", "Upload the photos", who),
        lambda name, who: labels.dry_run(server, name, 7, "", False, who)[1],
        lambda name, who: labels.queue(server, name, 7, "scores near the threshold", who),
        lambda name, who: calibration.apply(proposals, name, server, 7, who),
    ]
    refused = "is no run that visitors may open"
    for number, handler in enumerate(handlers):
        for name, who in (("mine", ELSEWHERE), ("mine", HERE), ("open", ELSEWHERE)):
            assert (refused in handler(name, who)) is (name == "mine" and who is ELSEWHERE), number
    assert batch.rows("mine", ELSEWHERE) == [] and len(batch.rows("mine", HERE)) == 4
    assert dict(batch.refresh("mine", ELSEWHERE)[0].choices).keys() == {"open", "uploads"}
    with pytest.raises(gr.Error, match=refused):
        batch.export("mine", 0.3, "YOLO", None, ELSEWHERE)
    batch.export("open", 0.3, "YOLO", None, ELSEWHERE)


def test_a_job_of_others_goes_on(runs: RunFolders, shared_engine: Engine, tmp_path: Path) -> None:
    batch = BatchActions(shared_engine, runs, runs.access, tmp_path / "exports")
    with Run(runs.root / "mine")._db as ledger:
        ledger.execute("UPDATE images SET state = 'pending'")
    gate = threading.Semaphore(0)
    job = Job(
        runs.open("mine", HERE), shared_engine.predictor, lambda _: str(gate.acquire()).encode()
    )
    runs.jobs["mine"] = job
    job.start()
    batch.pause("mine", ELSEWHERE)
    assert job.progress().phase == "running"
    assert "mine: paused" in batch.pause("mine", HERE)
    batch.resume("mine", "", False, None, ELSEWHERE)
    batch.cancel("mine", ELSEWHERE)
    assert job.progress().phase == "paused"
    gate.release(9)
    assert "mine: cancelled" in batch.cancel("mine", HERE)


def test_the_page_is_built_without_names_of_runs(
    runs: RunFolders, shared_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUNS_VARIABLE, str(runs.root))
    (runs.root / "mine").rename(runs.root / "private run")
    assert "private run" in RunFolders(access=RULES).names(HERE)
    assert "private run" not in json.dumps(build_app(shared_engine).config, default=str)


@pytest.mark.browser
def test_the_page_tells_visitors(
    browser: BrowserContext, served: str, photos: Path, training_run: Path
) -> None:
    assert browser.browser is not None
    visiting = browser.browser.new_context()  # nothing is kept there of the operator's page
    page = visiting.new_page()
    page.goto(served + Link("train", settings={"run": str(training_run)}).query())
    expect(page.locator("#guest-status")).to_contain_text("You are a visitor here")
    expect(page.locator("#train-status .error")).to_contain_text("may not read")
    page.get_by_role("tab", name="Compare").click()
    page.fill("#compare-folder input, #compare-folder textarea", str(photos))
    page.fill("#compare-words-a textarea", "cup")
    page.click("#compare")
    expect(page.locator("#compare-status .error")).to_contain_text("may not read")
    page.get_by_role("tab", name="Browse").click()
    page.fill("#browse-source input, #browse-source textarea", str(photos))
    page.click("#browse-start")
    expect(page.locator("#browse-status .error")).to_contain_text("may not read")
    visiting.close()
    client = Client(served, verbose=False)
    photo = handle_file(photos / "coffee.jpg")
    with pytest.raises(Exception, match="may not read"):
        client.predict(photo, "cup", "cat", model_a=str(photos), api_name="/compare")


@pytest.mark.browser
def test_the_operators_page_keeps_its_token(
    page: Page, served: str, served_link: str, photos: Path, checkpoint: Path
) -> None:
    assert page.url == served, "the token is gone from the address bar"
    for _ in range(3):  # left while an answer comes
        with page.expect_response("**/queue/data?*"):
            page.reload(wait_until="commit")
    page.goto(served)  # as from a bookmark, or by a link to a photo
    page.wait_for_selector("#detect")
    expect(page.locator("#guest-status")).to_be_hidden()
    token = served_link.partition("#token=")[2]
    client = Client(served, headers={TOKEN_HEADER: token}, verbose=False)
    photo = handle_file(photos / "coffee.jpg")
    notice = client.predict(photo, "cup", "cat", model_a=str(checkpoint), api_name="/compare")
    assert "counts" in notice
