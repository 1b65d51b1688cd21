"""Tasks of several images and controls, from the project's photos to its boxes and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv

from app.commands.project_reviews import import_project
from app.engine import Engine
from app.labelstudio.api.addresses import local_address
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.image_check import check_images
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.images import images_of_project
from app.labelstudio.api.tasks import create_local_tasks, upload_tasks
from app.labelstudio.learn.pull import pull
from app.labelstudio.push.plan import plan, tasks_of
from app.labelstudio.push.push import push
from app.labelstudio.push.queue import by_threshold, write_queue
from app.review.decisions import Decisions
from app.runs import sources
from app.runs.records import ImageRef
from app.runs.settings import settings_of
from app.runs.store import Run
from tests.app.labelstudio.conftest import Server, folder_storage
from tests.app.labelstudio.submissions import submit

CONFIG = """<View>
  <Image name="front" value="$front"/><Image name="pages" valueList="$pages"/>
  <rectanglelabels name="animals" toName="front"><label value="cat"/></rectanglelabels>
  <RectangleLabels name="things" toName="front,pages"><Label value="cup"/></RectangleLabels>
</View>"""


def processed(engine: Engine, folder: Path, images: list[ImageRef]) -> Run:
    """A run with a cat and a cup on every image, in another place on each."""
    run = Run.create(folder, settings_of(engine, "cat, cup", threshold=0.3), images)
    for row in run.images():
        at = 10.0 * row.id
        found = sv.Detections(
            np.array([[at, at, at + 50, at + 50], [at, at, at + 20, at + 90]]),
            confidence=np.array([0.9, 0.8]),
            class_id=np.array([0, 1]),
        )
        run.save(row, found, f"{row.id}", (320, 240), 0.01)
    return run


def test_every_image_and_control_gets_its_boxes(
    connection: Connection, shared_engine: Engine, tmp_path: Path
) -> None:
    project = connection.write(
        "POST", "/api/projects/", json={"title": "many images", "label_config": CONFIG}
    )["id"]
    data: list[dict[str, Any]] = [
        {
            "front": local_address(f"none/front{i}.jpg"),
            "pages": [local_address(f"none/{i}/{page}.jpg") for page in range(2)],
        }
        for i in range(3)
    ]
    connection.write("POST", f"/api/projects/{project}/import", json=data)
    images = images_of_project(connection, project)
    assert len(images) == 9 and len({image.file_name for image in images}) == 9
    run = processed(shared_engine, tmp_path / "run", images)
    made = plan(run, connection, project)
    assert (len(made.create), made.unmatched, made.labels.missing) == (3, (), ())
    assert made.boxes == {"cat": 3, "cup": 9}
    assert made.left_out == {"cat": 6}, "the pages have no label for it"
    push(made, connection)
    again = plan(run, connection, project)
    assert (len(again.skip), again.requests) == (3, 0), "read back and equal"
    tasks = list(connection.pages({"project": project, "fields": "all"}))
    for task in tasks:
        (prediction,) = task["predictions"]
        shown = {
            (r["from_name"], r["to_name"], r.get("item_index"), r["value"]["rectanglelabels"][0])
            for r in prediction["result"]
        }
        assert shown == {
            ("animals", "front", None, "cat"),
            ("things", "front", None, "cup"),
            ("things", "pages", 0, "cup"),
            ("things", "pages", 1, "cup"),
        }
        assert len({r["id"] for r in prediction["result"]}) == 4
    pairs = tasks_of(run, connection, project)
    assert len(pairs) == 9
    assert write_queue(by_threshold(run, pairs), connection, project, run.model_version) == 3

    # one page's box is turned, another's moved to the other page
    def edit(regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for region in regions:
            if region.get("item_index") == 0:
                region["value"]["rotation"] = 30
            if region.get("item_index") == 1:
                region["item_index"] = 0
        return regions

    submit(connection, tasks[0]["id"], edit)
    (reviewed,) = pull(connection, project)
    verdicts = sorted(box.verdict for box in reviewed.boxes)
    assert verdicts == ["added", "deleted", "kept", "kept", "moved"]
    # The boxes of all its images would be taken for those of one.
    with Decisions(run.folder) as decisions:
        assert import_project(run, decisions, connection, project, None, "ann") == (0, 1)
        assert decisions.reviews() == {}
    ref = ImageRef("x.jpg", str(tmp_path / "x.jpg"))
    with pytest.raises(LabelStudioError, match=r"show front \(\$front\), pages \(\$pages\)"):
        create_local_tasks(connection, project, [], tmp_path)
    with pytest.raises(LabelStudioError, match="cannot be made from single photos"):
        upload_tasks(connection, project, [ref], lambda _: b"")


def test_photos_become_tasks_of_a_list_of_images(
    connection: Connection,
    server: Server,
    photos_on_server: Path,
    shared_engine: Engine,
    tmp_path: Path,
) -> None:
    config = """<View><Image name="p" valueList="$pages"/>
      <RectangleLabels name="r" toName="p"><Label value="cat"/><Label value="cup"/>
      </RectangleLabels></View>"""
    project = connection.write(
        "POST", "/api/projects/", json={"title": "a list", "label_config": config}
    )["id"]
    refs = sources.find_images([photos_on_server])
    assert create_local_tasks(connection, project, refs, server.files).created == 3
    assert upload_tasks(connection, project, refs[:1], sources.read).created == 1
    assert all(one.ok for one in check_images(connection, project, TaskImages(connection)))
    run = processed(shared_engine, tmp_path / "run", refs)
    made = plan(run, connection, project, document_root=server.files)
    assert len(made.create) == 3 and sum(made.boxes.values()) == 6
    push(made, connection)
    assert plan(run, connection, project, document_root=server.files).requests == 0


def sync(connection: Connection, project: int) -> int:
    """Press “Sync storage” on every storage; how many tasks there are then."""
    for one in connection.get("/api/storages/localfiles", params={"project": project}):
        connection.write("POST", f"/api/storages/localfiles/{one['id']}/sync")
    return len(list(connection.pages({"project": project, "include": "id"})))


def test_a_sync_does_not_double_tasks(
    connection: Connection, server: Server, photos_on_server: Path, make_project: Callable[..., int]
) -> None:
    refs = sources.find_images([photos_on_server])
    project = make_project([])
    assert create_local_tasks(connection, project, refs, server.files).created == 3
    assert sync(connection, project) == 3
    assert all(one.ok for one in check_images(connection, project, TaskImages(connection)))
    assert create_local_tasks(connection, project, refs, server.files).there == 3
    # a storage of somebody else, that nobody has synced yet
    project = make_project([])
    folder_storage(connection, project, photos_on_server, ".*(a|turned).jpg", sync=False)
    assert create_local_tasks(connection, project, refs, server.files).created == 3
    assert sync(connection, project) == 3
    # and one that an older version made
    project = make_project([])
    top = photos_on_server.name
    connection.write(
        "POST",
        "/api/storages/localfiles",
        json={
            "project": project,
            "path": str(photos_on_server),
            "use_blob_urls": True,
            "title": f"{top} (detclipv2)",
            "recursive_scan": True,
        },
    )
    assert create_local_tasks(connection, project, refs, server.files).created == 3
    assert sync(connection, project) == 3
