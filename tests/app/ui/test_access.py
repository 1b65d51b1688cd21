"""What visitors may name: allowed folders, no hosts, no key of ours."""

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

from app.browse.job import FOLDER_VARIABLE, run_of
from app.browse.records import About
from app.engine import Engine
from app.labelstudio.api.connection import Connection
from app.runs import sources
from app.runs.jobs import Job
from app.runs.records import ImageRef, RunError
from app.runs.settings import settings_of
from app.runs.store import Run
from app.ui.batch.actions import BatchActions
from app.ui.browse.actions import BrowseActions
from app.ui.build import build_app
from app.ui.calibrate.actions import CalibrateActions
from app.ui.compare.actions import CompareActions
from app.ui.compare.find import Detectors
from app.ui.labelstudio.actions import LabelStudioActions
from app.ui.shared.access import TOKEN_HEADER, Access, AccessError
from app.ui.shared.permalink import Link
from app.ui.shared.run_folders import RUNS_VARIABLE, UPLOADS, RunFolders
from app.ui.train.actions import TrainActions
from detclipv2.datasets.captions import Captioned
from tests.app.ui.visitors import ELSEWHERE, HERE, LOOKS, RULES, TOKEN, visitor


@pytest.mark.parametrize(
    ("host", "token", "operator"),
    [
        ("127.0.0.1", TOKEN, True),
        ("127.8.9.1", TOKEN, True),
        ("::1", TOKEN, True),
        ("127.0.0.1", "", False),
        ("127.0.0.1", TOKEN[:-1], False),
        ("192.168.0.2", TOKEN, False),
        ("fe80::1", TOKEN, False),
        ("unknown", TOKEN, False),
    ],
)
def test_the_operator_has_the_token_and_sits_here(host: str, token: str, operator: bool) -> None:
    assert RULES.is_operator(visitor(host, token)) is operator
    assert not Access().is_operator(visitor(host, token)), "nobody is, where there is no token"
    assert bool(RULES.notice(visitor(host, token))) is not operator


def test_visitors_behind_one_proxy_are_not_one_visitor() -> None:
    assert RULES.origin(HERE) == ""
    assert RULES.origin(ELSEWHERE) == "203.0.113.7"
    tunnelled = {RULES.origin(visitor("127.0.0.1", session=page)) for page in ("a", "b")}
    assert len(tunnelled) == 2 and "" not in tunnelled


def test_folders_that_were_allowed_and_nothing_around_them(photos: Path, tmp_path: Path) -> None:
    access = Access(((photos / "sub").resolve(),), TOKEN)
    access.check_paths([str(photos), "/etc"], HERE)
    inside = [str(photos / "sub"), str(photos / "sub" / "*.jpg"), "https://host/a.jpg"]
    access.check_paths(inside, ELSEWHERE)
    around = ("", "/*/coffee.jpg", "/sub/../coffee.jpg", "/sub/*/../../coffee.jpg", "/subway")
    for outside in (*(f"{photos}{end}" for end in around), "~", "*.jpg"):
        with pytest.raises(AccessError, match=r"may not read .* --allow-folder"):
            access.check_paths([outside], ELSEWHERE)
    access.check_images(sources.find_images([photos / "sub"]), ELSEWHERE)
    (photos / "sub" / "link.jpg").symlink_to(photos / "coffee.jpg")
    found = sources.find_images([photos / "sub"])
    access.check_images(found, HERE)
    with pytest.raises(AccessError, match=r"coffee\.jpg"):
        access.check_images(found, ELSEWHERE)


@pytest.mark.parametrize("text", ["a" * 5000, "/" + "b/" * 3000, "~nobody-of-that-name/a", "a\0b"])
def test_texts_that_no_path_can_be_are_refused_in_words(
    text: str, shared_engine: Engine, tmp_path: Path
) -> None:
    for who in (HERE, ELSEWHERE):
        with pytest.raises(AccessError, match="is no path"):
            RULES.check_paths([text], who)
        for said in (
            notice(BrowseActions(shared_engine, RULES).start(text, who)),
            notice(TrainActions(RULES).find(text, who)),
            notice(
                next(
                    CompareActions(Detectors(shared_engine), RULES).run(
                        None, text, "cup", "", "", "", "", "", *LOOKS, 0.3, who
                    )
                )
            ),
            notice(
                next(
                    CompareActions(Detectors(shared_engine), RULES).run(
                        "a.jpg", "", "cup", "", "", "", text, "", *LOOKS, 0.3, who
                    )
                )
            ),
        ):
            assert "is no path" in said


def test_hosts_and_keys_are_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    access = RULES
    monkeypatch.setenv("DETCLIPV2_IMAGE_HOSTS", "photos.example")
    assert access.hosts("inside.example", HERE).names == {"inside.example"}
    assert access.hosts("", ELSEWHERE).names == {"photos.example"}
    assert access.hosts("photos.example", ELSEWHERE).names == {"photos.example"}
    with pytest.raises(AccessError, match=r"can allow inside\.example"):
        access.hosts("photos.example, inside.example", ELSEWHERE)
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://labels.example/")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "1" * 40)
    assert access.connect("", "", HERE).url == "http://labels.example"
    with pytest.raises(AccessError, match="your own key"):
        access.connect("", "", ELSEWHERE)
    with pytest.raises(AccessError, match="was started with"):
        access.connect("http://inside.example", "2" * 40, ELSEWHERE)
    assert access.connect("http://labels.example", "2" * 40, ELSEWHERE).url.endswith("example")


def notice(answer: object) -> str:
    """What a handler of the page says, its updates of components left out."""
    return " ".join(part for part in answer if isinstance(part, str))  # type: ignore[attr-defined]


def test_compare_reads_folders_and_models_for_who_may_name_them(
    shared_engine: Engine, checkpoint: Path, photos: Path
) -> None:
    closed = CompareActions(Detectors(shared_engine), RULES)
    photo = str(photos / "coffee.jpg")

    def compare(by: CompareActions, who: gr.Request, folder: str, model: str = "") -> list[str]:
        asked = (photo, folder, "cup", "", "", "", "", model, *LOOKS, 0.3, who)
        return [notice(answer) for answer in by.run(*asked)]

    assert "of 4 photos" in compare(closed, HERE, str(photos))[1]
    assert "may not read" in compare(closed, ELSEWHERE, str(photos))[0]
    assert "may not read" in compare(closed, ELSEWHERE, str(photos / "nowhere"))[0]
    allowed = CompareActions(Detectors(shared_engine), Access((photos.resolve(),), TOKEN))
    assert "of 4 photos" in compare(allowed, ELSEWHERE, str(photos))[1]
    (photos / "out.jpg").symlink_to(checkpoint / "config.json")
    assert "may not read" in compare(allowed, ELSEWHERE, str(photos))[0]
    assert "may not read" in compare(closed, ELSEWHERE, "", str(checkpoint))[0]
    assert "may not read" in compare(closed, ELSEWHERE, "", "../" + checkpoint.name)[0]
    for who, model in ((ELSEWHERE, shared_engine.name), (ELSEWHERE, "nano"), (HERE, "nano")):
        assert "may not read" not in compare(closed, who, "", model)[0]


def test_browse_shows_data_sets_to_who_may_name_them(
    shared_engine: Engine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "browse"))
    run = run_of(photos, shared_engine.fingerprint)
    around = Captioned("b", tmp_path / "b.jpg", "a cat")
    entered = [Captioned("a", photos / "coffee.jpg", "a cup"), around]
    run.begin(entered, About(str(photos), "tiny", "0", {}))
    with run._open() as db:
        db.execute("UPDATE photos SET state = 'done'")
    folder = str(run.folder)
    closed = BrowseActions(shared_engine, RULES)
    allowed = BrowseActions(shared_engine, Access((photos.resolve(),), TOKEN))
    assert "may not read" in notice(closed.start(str(photos), ELSEWHERE))
    assert closed.earlier(ELSEWHERE).choices == []
    assert len(closed.earlier(HERE).choices) == len(allowed.earlier(ELSEWHERE).choices) == 1
    assert notice(closed.choose(folder, ELSEWHERE)) == ""
    assert folder in notice(closed.choose(folder, HERE))
    assert folder in notice(allowed.choose(folder, ELSEWHERE))
    link = Link("browse", settings={"run": run.folder.name})
    assert "not aligned on this machine" in notice(closed.follow(link, ELSEWHERE))
    assert "a cup" in notice(closed.follow(link, HERE))
    # captions that name a photo outside the folder do not show it
    shown = (folder, "", 6.0, False, 0.0, "worst", 1)
    assert "may not read" in notice(allowed.show(*shown, ELSEWHERE))
    assert "a cat" in notice(allowed.show(*shown, HERE))


def test_train_shows_runs_to_who_may_name_them(training_run: Path) -> None:
    root, run = str(training_run.parent), str(training_run)
    closed, allowed = (
        TrainActions(RULES),
        TrainActions(Access((training_run.parent.resolve(),), TOKEN)),
    )
    link = Link("train", settings={"run": run, "snapshot": "latest"})
    for actions, who, refused in (
        (closed, HERE, False),
        (closed, ELSEWHERE, True),
        (allowed, ELSEWHERE, False),
    ):
        for said in (
            notice(actions.find(root, who)),
            notice(actions.show(run, None, who)),
            actions.alignments(run, "latest", who),
            notice(actions.follow(link, who)),
        ):
            assert ("may not read" in said) is refused
    assert "may not read" in notice(closed.find("", ELSEWHERE)), "the default folder as well"


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
    page.goto(served)  # as from a bookmark, or by a link to a photo
    page.wait_for_selector("#detect")
    expect(page.locator("#guest-status")).to_be_hidden()
    token = served_link.partition("#token=")[2]
    client = Client(served, headers={TOKEN_HEADER: token}, verbose=False)
    photo = handle_file(photos / "coffee.jpg")
    notice = client.predict(photo, "cup", "cat", model_a=str(checkpoint), api_name="/compare")
    assert "counts" in notice
