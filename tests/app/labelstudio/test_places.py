"""Where servers and images can lie: under a sub-path, in a bucket."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.engine import Engine
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.image_check import check_images
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.images import images_of_project
from app.labelstudio.api.tasks import create_local_tasks, create_project, upload_tasks
from app.labelstudio.push.plan import plan
from app.labelstudio.push.push import push
from app.runs import sources
from app.runs.files import SourceError
from app.runs.jobs import process
from app.runs.settings import settings_of
from app.runs.sources import HOSTS_VARIABLE
from app.runs.store import Run
from detclipv2.language.vocabulary import Vocabulary
from tests.app.labelstudio.bucket import bucket
from tests.app.labelstudio.conftest import TOKEN, Server, folder_storage
from tests.app.labelstudio.test_push import assert_equal

WORDS = Vocabulary.parse("cat, cup")


def detect(engine: Engine, connection: Connection, project: int, folder: Path) -> Run:
    """A run over the project's own tasks."""
    settings = settings_of(engine, "cat, cup", threshold=0.02, floor=0.02)
    run = Run.create(folder, settings, images_of_project(connection, project))
    for _ in process(run, engine.predictor, TaskImages(connection).read):
        pass
    return run


def test_a_server_under_a_sub_path(
    below: Server, photos_on_server: Path, shared_engine: Engine, tmp_path: Path
) -> None:
    legacy = below.connect()
    connection = below.connect(legacy.write("POST", "/api/token/")["token"])
    assert connection.check().key_kind == "personal access token"
    with pytest.raises(LabelStudioError, match="404"):
        Connection(below.url.removesuffix("/tools/labels"), TOKEN).check()
    project = create_project(connection, "below", WORDS)
    folder_storage(connection, project, photos_on_server, ".*a.jpg")
    refs = sources.find_images([photos_on_server])
    made = create_local_tasks(connection, project, refs, below.files)
    assert (made.created, made.there) == (2, 1), "what sync made under the sub-path is known"
    upload_tasks(connection, project, refs[:1], sources.read)
    tasks = images_of_project(connection, project)
    assert {urlsplit(task.place).path.rpartition("/data/")[0] for task in tasks} == {
        "/tools/labels"
    }, "pages ask for their images below the sub-path"
    checked = check_images(connection, project, TaskImages(connection))
    assert [one.ok for one in checked] == [True] * 4, checked
    origin = below.url.removesuffix("/tools/labels")
    for task in tasks:
        address = task.place if task.place.startswith("http") else origin + task.place
        answer = httpx.get(address, headers={"Authorization": f"Token {TOKEN}"})
        assert answer.status_code == 200, address
    run = detect(shared_engine, connection, project, tmp_path / "run")
    push(plan(run, connection, project), connection)
    assert_equal(run, connection, project)


@pytest.mark.parametrize("presign", [True, False])
def test_images_in_a_bucket_come_through_the_server(
    presign: bool,
    connection: Connection,
    photos_on_server: Path,
    shared_engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bucket(photos_on_server) as endpoint:
        project = create_project(connection, "in a bucket", WORDS)
        storage = connection.write(
            "POST",
            "/api/storages/s3/",
            json={
                "project": project,
                "bucket": photos_on_server.name,
                "use_blob_urls": True,
                "presign": presign,
                "s3_endpoint": endpoint,
                "region_name": "us-east-1",
                "aws_access_key_id": "somebody",
                "aws_secret_access_key": "secret",
            },
        )
        connection.write("POST", f"/api/storages/s3/{storage['id']}/sync")
        tasks = images_of_project(connection, project)
        assert all(task.place.startswith("s3://") for task in tasks) and len(tasks) == 3
        if presign:
            with pytest.raises(SourceError, match=r"is not allowed; name it with --hosts"):
                TaskImages(connection).read(tasks[0])
        monkeypatch.setenv(HOSTS_VARIABLE, urlsplit(endpoint).netloc if presign else "")
        images = TaskImages(connection)
        contents = {images.read(task) for task in tasks}
        assert contents == {path.read_bytes() for path in photos_on_server.iterdir()}
        run = detect(shared_engine, connection, project, tmp_path / "run")
        assert run.counts().failed == 0
        push(plan(run, connection, project), connection)
        assert_equal(run, connection, project)
        (photos_on_server / "a.jpg").unlink()
        (gone,) = (one for one in check_images(connection, project, images) if not one.ok)
        assert "a.jpg" in gone.status and "the server answers" in gone.status
