"""The live backend follows a run that learns from what a real Label Studio's labelers submitted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.adaptation.learn_run import learn_run, words_by
from app.adaptation.state import FILE
from app.commands.live_learning import LearnedFile, check_learned, learner
from app.commands.project_reviews import import_project
from app.engine import Engine
from app.index.build import indexing
from app.labelstudio.api.connection import Connection
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.images import images_of_project
from app.labelstudio.api.tasks import create_local_tasks
from app.labelstudio.backend.service import Backend
from app.labelstudio.push.plan import plan
from app.labelstudio.push.push import push
from app.review.decisions import Decisions
from app.runs import sources
from app.runs.jobs import process
from app.runs.settings import settings_of
from app.runs.store import Run
from tests.app.adaptation.test_learned_run import draw_photos, truth
from tests.app.labelstudio.conftest import Server
from tests.app.labelstudio.submissions import submit

CONFIG = """<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">
<Label value="red thing"/><Label value="blue thing"/></RectangleLabels></View>"""
PHOTOS, REVIEWED = 14, 10


@pytest.fixture
def pushed(
    server: Server,
    connection: Connection,
    make_project: Callable[..., int],
    shared_engine: Engine,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> tuple[Run, int]:
    """An indexed run over a project's photos, pushed to it."""
    folder = server.files / request.node.name
    draw_photos(folder, range(PHOTOS))
    project = make_project([], CONFIG)
    create_local_tasks(connection, project, sources.find_images([folder]), server.files)
    settings = settings_of(
        shared_engine, "red thing\nblue thing", threshold=0.3, one_name=False, floor=0.02
    )
    images = images_of_project(connection, project)
    run = Run.create(tmp_path / "run", settings, images)
    read = TaskImages(connection, document_root=server.files).read
    with indexing(run, shared_engine.predictor) as keep:
        list(process(run, shared_engine.predictor, read, keep=keep))
    push(plan(run, connection, project), connection)
    return run, project


def draw(connection: Connection, run: Run, photos: range) -> None:
    """Submit the true boxes of some photos, drawn from nothing."""
    for row in list(run.images())[photos.start : photos.stop]:
        number = int(Path(row.file_name.split("?")[0].rsplit("/", 1)[-1]).stem)
        regions = [
            {
                "id": f"{number}-{name[:3]}",
                "from_name": "label",
                "to_name": "image",
                "type": "rectanglelabels",
                "original_width": 96,
                "original_height": 64,
                "value": {
                    "x": 100 * x1 / 96,
                    "y": 100 * y1 / 64,
                    "width": 100 * (x2 - x1) / 96,
                    "height": 100 * (y2 - y1) / 64,
                    "rotation": 0,
                    "rectanglelabels": [name],
                },
            }
            for name, (x1, y1, x2, y2) in truth(number)
        ]
        body = {"result": regions, "lead_time": 3.0}
        connection.write("POST", f"/api/tasks/{row.task}/annotations/", json=body)


@pytest.mark.parametrize("action", ["START_TRAINING", "ANNOTATION_CREATED"])
def test_what_labelers_submit_is_learned_and_the_next_boxes_are_learned_ones(
    pushed: tuple[Run, int],
    connection: Connection,
    server: Server,
    shared_engine: Engine,
    action: str,
) -> None:
    run, project = pushed
    backend = Backend(
        lambda: shared_engine.predictor,
        TaskImages(connection, document_root=server.files),
        connection,
        settings=run.settings.detection,
        follow=LearnedFile(run.folder),
        learn=learner(run.folder, connection, server.files),
    )
    (task, *_) = connection.pages({"project": project, "fields": "all"})
    (before,) = backend.predict([task], CONFIG, str(project))
    assert isinstance(before, dict)
    assert backend.setup(str(project), CONFIG)["model_version"] == before["model_version"]
    draw(connection, run, range(REVIEWED))
    event = {"action": action, "project": {"id": project}}
    for _ in range(1 if action == "START_TRAINING" else 5):
        assert not (run.folder / FILE).exists()
        backend.webhook(event)
    deadline = time.monotonic() + 120
    while not (run.folder / FILE).exists():
        assert time.monotonic() < deadline, "nothing is learned"
        time.sleep(0.1)
    (after,) = backend.predict([task], CONFIG, str(project))
    assert isinstance(after, dict)
    assert after["model_version"] != before["model_version"], "Label Studio must ask anew"
    assert backend.setup(str(project), CONFIG)["model_version"] == after["model_version"]
    with Decisions(run.folder) as decisions:
        states = [review.state for review in decisions.reviews().values()]
    assert states == ["reviewed"] * REVIEWED
    # Forgotten, the words count again.
    (run.folder / FILE).unlink()
    (again,) = backend.predict([task], CONFIG, str(project))
    assert again == before


def test_annotations_count_whatever_they_began_as(
    pushed: tuple[Run, int], connection: Connection, server: Server, shared_engine: Engine
) -> None:
    """Also those of boxes from before the run learned, and what labelers changed since."""
    run, project = pushed

    def take_over() -> tuple[int, int]:
        with Decisions(run.folder) as decisions:
            return import_project(run, decisions, connection, project, server.files, "ann")

    rows = list(run.images())
    shown = next(row for row in rows[3:9] if len(run.boxes(row)) > 1)
    draw(connection, run, range(3))
    assert take_over() == (3, 0)
    learn_run(run, words_by(lambda: shared_engine.predictor))
    assert "+l" in run.model_version
    # This one still shows boxes of the version before.
    assert shown.task is not None
    submit(connection, shown.task, lambda regions: regions[:1])
    assert take_over() == (4, 0)
    with Decisions(run.folder) as decisions:
        kept = decisions.review(shown.id)
        assert len(kept.boxes) == 1 and len(kept.rejected) >= 1 and kept.state == "reviewed"
        steps = decisions.decide(rows[9].id, [], reviewed=["red thing"])
        assert take_over() == (4, 0), "the same again"
        assert decisions.decide(rows[9].id, [], reviewed=["red thing"]) == steps + 1
    (task,) = [
        t
        for t in connection.pages({"project": project, "fields": "all"})
        if t["id"] == rows[0].task
    ]
    (annotation,) = task["annotations"]
    change = {"result": annotation["result"][:1]}
    connection.write("PATCH", f"/api/annotations/{annotation['id']}/", json=change)
    take_over()
    with Decisions(run.folder) as decisions:
        assert len(decisions.review(rows[0].id).boxes) == 1, "what was deleted since is gone"
    connection.write(
        "PATCH", f"/api/annotations/{annotation['id']}/", json={"result": annotation["result"]}
    )
    take_over()
    with Decisions(run.folder) as decisions:
        found = decisions.review(rows[0].id).boxes
    np.testing.assert_allclose(
        sorted(box.xyxy for box in found), sorted(xyxy for _, xyxy in truth(0)), atol=0.01
    )


def test_a_file_that_breaks_leaves_what_was_learned(
    pushed: tuple[Run, int],
    connection: Connection,
    server: Server,
    shared_engine: Engine,
    tmp_path: Path,
) -> None:
    run, project = pushed
    predictor = shared_engine.predictor
    follow = LearnedFile(run.folder)
    assert follow(predictor) is predictor
    check_learned(run.folder)
    with pytest.raises(ValueError, match="there is no"):
        check_learned(tmp_path / "none.npz")
    draw(connection, run, range(4))
    learner(run.folder, connection, server.files)(predictor, project)
    learned = follow(predictor)
    assert learned.fingerprint != predictor.fingerprint
    assert follow(predictor) is learned, "read once"
    whole = (run.folder / FILE).read_bytes()
    (run.folder / FILE).write_bytes(whole[:-9])
    assert follow(predictor).fingerprint == learned.fingerprint
    with pytest.raises(ValueError, match="learn again"):
        check_learned(run.folder)
