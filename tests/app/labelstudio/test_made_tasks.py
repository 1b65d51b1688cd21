"""Projects and tasks made for a run: once, and without the photos that are gone."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from app.labelstudio.api.addresses import local_address
from app.labelstudio.api.tasks import upload_tasks
from app.runs import sources
from app.runs.files import SourceError
from app.runs.records import ImageRef
from app.runs.store import Run
from app.ui.labelstudio.actions import LabelStudioActions
from app.ui.shared.run_folders import RunFolders
from tests.app.labelstudio.conftest import VISITOR
from tests.app.labelstudio.desk import Desk
from tests.app.ui.visitors import RULES

MakeRun = Callable[..., Run]
URLS = [local_address(f"photos/{name}.jpg") for name in "abc"]


def test_a_project_is_made_once(
    desk: Desk, make_run: MakeRun, shell: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run([ImageRef("a.jpg", URLS[0])])
    command = ("push", run.folder, "--create-project", "Kitchen")
    assert shell(*command, "--dry-run") == 2 and not desk.projects
    assert shell(*command) == 0
    assert "made project 1" in capsys.readouterr().out
    assert shell(*command) == shell(*command, "--dry-run") == 0
    assert capsys.readouterr().out.count("project 1 “Kitchen” was made from this run") == 2
    assert list(desk.projects) == [1]
    assert shell("push", run.folder, "--create-project", "Bathroom") == 0
    assert [one["title"] for one in desk.projects.values()] == ["Kitchen", "Bathroom"]
    del desk.projects[1]
    desk.projects[3] = {}  # numbers are not given twice
    assert shell(*command) == 0
    assert "made project 3" in capsys.readouterr().out
    desk.url = "http://elsewhere"
    assert shell(*command) == 0
    assert "at http://elsewhere/" in capsys.readouterr().out
    (run.folder / "projects.json").write_text("{", encoding="utf-8")
    assert shell(*command) == 2
    assert "remove it, and name the project with --project" in capsys.readouterr().err


def test_uploads_of_every_kind_and_of_photos_that_are_gone(
    desk: Desk,
    make_run: MakeRun,
    shell: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGB", (16, 8), "red")
    for name in ("a.JPG", "b.tif", "c.avif", "gone.jpg", "broken.tif"):
        picture.save(folder / name, exif=exif)
    (folder / "bare").write_bytes((folder / "a.JPG").read_bytes() + b" ")
    run = make_run(sources.find_images([folder, folder / "bare"]))
    (folder / "gone.jpg").unlink()
    (folder / "broken.tif").write_bytes(b"no picture")
    command = ("push", run.folder, "--create-project", "K", "--create-tasks", "upload")
    assert shell(*command) == 1, "some photos failed"
    said = capsys.readouterr()
    assert "gone.jpg is left out" in said.err and "no such file" in said.err
    assert "broken.tif is left out" in said.err
    assert "4 images uploaded" in said.out and "4 created" in said.out
    assert "2 images have no task in the project: broken.tif, gone.jpg" in said.out
    assert set(desk.files) == {"a.JPG", "b.png", "c.png", "bare.png"}
    assert desk.files["a.JPG"] == (folder / "a.JPG").read_bytes()
    for name in ("b.png", "c.png", "bare.png"):
        with Image.open(BytesIO(desk.files[name])) as sent:
            assert (sent.format, sent.size, len(sent.getexif())) == ("PNG", (8, 16), 0), "upright"
    assert shell(*command) == 1
    said = capsys.readouterr()
    assert "0 images uploaded, 4 there already" in said.out and "4 there already" in said.out
    with pytest.raises(SourceError, match=r"broken\.tif cannot be uploaded: .* picture"):
        upload_tasks(desk.connect(), 1, [row.ref for row in run.images()], sources.read)


def test_the_page_makes_a_project_once_and_names_photos_that_are_gone(
    desk: Desk, make_run: MakeRun, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "<b>.jpg"):
        Image.new("RGB", (16, 8), "red").save(folder / name)
    run = make_run(sources.find_images([folder]))
    (folder / "<b>.jpg").unlink()
    actions, server = (
        LabelStudioActions(RunFolders(run.folder.parent, RULES), RULES),
        desk.connect(),
    )
    said = [actions.make_project(server, run.folder.name, "K", VISITOR)[1] for _ in range(2)]
    assert "made, with one label a class" in said[0] and "it is chosen" in said[1]
    assert list(desk.projects) == [1]
    told = actions.make_tasks(server, run.folder.name, 1, "", "Upload the photos", VISITOR)
    assert "1 tasks made, 0 were there already, 1 left out" in told
    assert "&lt;b&gt;.jpg: " in told and "<b>" not in told
