"""Tasks that we make: from folders and uploads, none twice; what the command line says of them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from app.cli import main
from app.engine import Engine
from app.labelstudio.api.addresses import read_address
from app.labelstudio.api.config_map import config_for, read_config
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.image_check import check_images
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.images import images_of_project
from app.labelstudio.api.tasks import create_local_tasks, create_project, upload_tasks
from app.runs import sources
from app.runs.jobs import process
from app.runs.records import ImageRef
from app.runs.settings import settings_of
from app.runs.store import Run
from detclipv2.language.vocabulary import Vocabulary
from tests.app.labelstudio.conftest import TOKEN, Server, folder_storage
from tests.app.labelstudio.submissions import ManyRun, submit


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("/data/local-files/?d=a%20b/c%23%C3%BC.jpg", "local file:a b/c#ü.jpg"),
        ("/data/local-files/?d=a b/c#ü.jpg", "local file:a b/c#ü.jpg"),
        ("https://host/sub/path/data/local-files/?d=a%20b/c%23ü.jpg", "local file:a b/c#ü.jpg"),
        ("/data/local-files/?d=a%20b\\c%23ü.jpg", "local file:a b/c#ü.jpg"),
        ("http://host/data/upload/3/12345678-x%20y.png", "upload:3/12345678-x y.png"),
        ("s3://bucket/a b.jpg", "cloud:s3://bucket/a b.jpg"),
        ("/sub/tasks/7/resolve/?fileuri=czM6Ly9idWNrZXQvYSBiLmpwZw==", "cloud:s3://bucket/a b.jpg"),
        ("https://elsewhere/a.jpg", "address:https://elsewhere/a.jpg"),
    ],
)
def test_one_key_for_every_spelling(url: str, key: str) -> None:
    assert read_address(url).key == key


def test_tasks_from_a_folder_do_not_double_what_sync_made(
    connection: Connection, server: Server, photos_on_server: Path
) -> None:
    project = create_project(connection, "from a folder", Vocabulary.parse("cat, cup"))
    folder_storage(connection, project, photos_on_server, ".*(a|turned).jpg")
    refs = sources.find_images([photos_on_server])
    made = create_local_tasks(connection, project, refs, server.files)
    assert (made.created, made.there) == (1, 2)
    again = create_local_tasks(connection, project, refs, server.files)
    assert (again.created, again.there) == (0, 3)
    checked = check_images(connection, project, TaskImages(connection), 5)
    assert [one.ok for one in checked] == [True] * 3, checked
    assert any("240 x 320" in one.status for one in checked), "upright"
    (photos_on_server / "a.jpg").unlink()
    checked = check_images(connection, project, TaskImages(connection), 5)
    assert "the file is gone" in next(one.status for one in checked if not one.ok)
    with pytest.raises(LabelStudioError, match="below the document root"):
        create_local_tasks(connection, project, [ImageRef("x", "/nowhere/x.jpg")], server.files)


def test_uploads_detect_push_and_nothing_twice(
    connection: Connection,
    server: Server,
    photos_on_server: Path,
    tmp_path: Path,
    shared_engine: Engine,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    settings = settings_of(shared_engine, "cat, cup", threshold=0.02, floor=0.02)
    run = Run.create(tmp_path / "run", settings, sources.find_images([photos_on_server]))
    for _ in process(run, shared_engine.predictor, sources.read):
        pass
    project = create_project(connection, "uploads", run.view.vocabulary)
    command = ["push", str(run.folder), "--project", str(project), "--create-tasks", "upload"]
    assert main([*command, "--dry-run"]) == 0
    assert "nothing was written" in capsys.readouterr().out
    for created in (3, 0):
        assert main(command) == 0
        assert f"{created} created" in capsys.readouterr().out
    assert main(["queue", str(run.folder), "--project", str(project)]) == 0
    assert "3 tasks ranked" in capsys.readouterr().out, "also of a run that began as a folder"
    refs = images_of_project(connection, project)
    assert len(refs) == 3
    assert upload_tasks(connection, project, [r.ref for r in run.images()], sources.read).there == 3
    images = TaskImages(connection)
    contents = {images.read(ref) for ref in refs}
    assert contents == {path.read_bytes() for path in photos_on_server.iterdir()}
    # and back: a run over the project's own tasks, only those without labels
    task = refs[0].task
    assert task is not None
    submit(connection, task, lambda regions: regions)
    out = tmp_path / "from-project"
    words = ["--prompts", "cat", "--model", str(checkpoint), "--threshold", "0.02"]
    where = ["--project", str(project), "--only-unlabelled", "--run", str(out)]
    assert main(["detect", *where, *words]) == 0
    assert Run(out).counts().total == 2
    key = (out / "run.json").read_bytes() + (out / "ledger.sqlite").read_bytes()
    assert TOKEN.encode() not in key


def test_configurations_are_written_as_they_are_read() -> None:
    vocabulary = Vocabulary.parse('"<b>", cat & dog\ntür: door\ncup: mug')
    found = read_config(config_for(vocabulary), vocabulary)
    assert {m.how for m in found.matches} == {"exact"}
    config = (
        '<View><Image name="i" value="$img"/><RectangleLabels name="a" toName="i">'
        '<Label value="x"/></RectangleLabels><RectangleLabels name="b" toName="i">'
        '<Label value="Traffic_Light"/><Label value="door"/><Label value="Vehicle" '
        'predicted_values="jeep, cab"/><Label value="Person" alias="p"/></RectangleLabels></View>'
    )
    words = Vocabulary.parse("traffic light\nTür: door\njeep = a car for any ground\nperson\nghost")
    found = read_config(config, words)
    ((image, places),) = found.images
    assert {target.from_name for target, _ in places.values()} == {"b"} and image.key == "img"
    assert [(m.label, m.how) for m in found.matches] == [
        ("Traffic_Light", "case"),
        ("door", "alias"),
        ("Vehicle", "predicted_values"),
        ("p", "alias"),
        (None, "unmatched"),
    ]
    assert '<Label value="ghost"/>' in found.completed


def test_a_push_from_the_command_line_says_what_is_wrong(
    many_run: ManyRun,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, _ = many_run(1)
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    assert main(["push", str(run.folder), "--project", "1"]) == 2
    said = capsys.readouterr().err
    assert "does not accept this legacy token" in said and "0" * 40 not in said
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    assert main(["push", str(run.folder)]) == 2
    assert "--project" in capsys.readouterr().err
    assert httpx.get(f"{server.url}/health").status_code == 200
