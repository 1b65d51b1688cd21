"""Push against the real server: what is sent arrives once, whatever is in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest

from app.labelstudio.api.config_xml import ConfigError
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.payload import to_boxes
from app.labelstudio.learn.pull import pull
from app.labelstudio.push.plan import plan, tasks_of
from app.labelstudio.push.push import push
from app.labelstudio.push.queue import by_threshold, write_queue
from app.runs.store import Run
from app.ui.labelstudio.actions import LabelStudioActions
from app.ui.shared.run_folders import RunFolders
from tests.app.labelstudio.conftest import APART, CONFIG
from tests.app.labelstudio.submissions import submit
from tests.app.ui.visitors import RULES

ManyRun = Callable[..., tuple[Run, int]]


def predictions(connection: Connection, project: int) -> list[dict]:
    tasks = connection.pages({"project": project, "fields": "all", "include": "id,predictions"})
    return [{**made, "task": task["id"]} for task in tasks for made in task["predictions"]]


def assert_equal(run: Run, connection: Connection, project: int) -> None:
    """The server shows exactly the run's boxes, one prediction a task, to 0.01 px."""
    made = {one["task"]: one for one in predictions(connection, project)}
    assert len(made) == len(predictions(connection, project)), "never a double"
    rows = list(run.images("done", "empty"))
    assert len(made) == len(rows), "never a loss"
    for row in rows:
        assert row.task is not None
        one = made[row.task]
        assert one["model_version"] == run.model_version
        found = sorted((box.name, *box.xyxy) for _, box in to_boxes(one["result"], row.size))
        wanted = sorted((box.name, *box.xyxy) for box in run.boxes(row))
        assert [name for name, *_ in found] == [name for name, *_ in wanted]
        for a, b in zip(found, wanted, strict=True):
            assert a[1:] == pytest.approx(b[1:], abs=0.01)
        assert all(isinstance(region["id"], str) for region in one["result"])


def test_push_twice_then_with_other_thresholds(many_run: ManyRun, connection: Connection) -> None:
    run, project = many_run(30)
    first = plan(run, connection, project)
    assert (len(first.create), len(first.skip), len(first.replace)) == (30, 0, 0)
    assert sum(first.boxes.values()) == sum(run.class_counts().values())
    report = push(first, connection)
    assert report.created == 30 and report.rate > 0
    assert_equal(run, connection, project)
    found = connection.get(f"/api/projects/{project}/")
    assert found["model_version"] == run.model_version, "labelers see it"
    again = plan(run, connection, project)
    assert (len(again.create), len(again.skip), again.deletions) == (0, 30, 0)
    assert again.requests == 0
    push(again, connection)
    assert_equal(run, connection, project)
    before = run.model_version
    run.apply("cat @0.6, cup @0.7")
    assert run.model_version != before
    kept = plan(run, connection, project, old="keep")
    assert kept.deletions == 0 and len(kept.create) == 30 and len(kept.older) == 30
    replacing = plan(run, connection, project, old="replace")
    assert replacing.deletions == 30
    push(replacing, connection)
    assert_equal(run, connection, project)


def test_the_same_version_with_other_boxes_is_replaced(
    many_run: ManyRun, connection: Connection
) -> None:
    run, project = many_run(10)
    push(plan(run, connection, project), connection)
    for one in predictions(connection, project):  # somebody takes a box away
        if one["result"]:
            change = {"result": one["result"][:-1]}
            connection.write("PATCH", f"/api/predictions/{one['id']}/", json=change)
    changed = plan(run, connection, project)
    assert len(changed.replace) > 0 and not changed.create
    push(changed, connection)
    assert_equal(run, connection, project)


def test_what_labelers_worked_from_stays(many_run: ManyRun, connection: Connection) -> None:
    run, project = many_run(4)
    push(plan(run, connection, project), connection)
    task = next(row.task for row in run.images("done"))
    assert task is not None
    submit(connection, task, lambda regions: regions)
    run.apply("cat @0.6, cup @0.7")
    made = plan(run, connection, project, old="replace")
    assert (len(made.older), made.learned) == (3, 1)
    assert "1 older predictions stay" in "\n".join(made.lines())
    push(made, connection)
    assert [reviewed.task for reviewed in pull(connection, project)] == [task]


def test_the_order_that_the_queue_wrote_is_left_alone(
    many_run: ManyRun, connection: Connection
) -> None:
    run, project = many_run(6)
    push(plan(run, connection, project), connection)
    write_queue(
        by_threshold(run, tasks_of(run, connection, project), margin=0.3),
        connection,
        project,
        run.model_version,
    )
    again = plan(run, connection, project)
    assert (len(again.skip), again.requests) == (6, 0)


def test_a_double_that_somebody_left_is_healed(many_run: ManyRun, connection: Connection) -> None:
    run, project = many_run(5)
    made = plan(run, connection, project)
    push(made, connection)
    payloads = [item.payload for item in made.create]
    connection.write("POST", f"/api/projects/{project}/import/predictions", json=payloads)
    assert len(predictions(connection, project)) == 10
    healing = plan(run, connection, project)
    assert len(healing.doubled) == 5
    push(healing, connection)
    assert_equal(run, connection, project)


def test_a_label_that_is_missing_is_shown_with_what_to_add(
    many_run: ManyRun, connection: Connection
) -> None:
    run, project = many_run(5)
    config = '<View><Image name="i" value="$image"/><RectangleLabels name="r" toName="i"><Label '
    config += 'value="CAT"/></RectangleLabels></View>'
    connection.write("PATCH", f"/api/projects/{project}/", json={"label_config": config})
    made = plan(run, connection, project)
    assert made.left_out["cup"] > 0
    assert '<Label value="cup"/>' in "\n".join(made.lines())
    assert {m.name: m.how for m in made.labels.matches} == {"cat": "case", "cup": "unmatched"}
    connection.write(
        "PATCH", f"/api/projects/{project}/", json={"label_config": made.labels.completed}
    )
    with pytest.raises(LabelStudioError, match="was changed since the dry run"):
        push(made, connection)
    whole = plan(run, connection, project)
    assert not whole.left_out
    push(whole, connection)
    regions = [r for one in predictions(connection, project) for r in one["result"]]
    assert {r["value"]["rectanglelabels"][0] for r in regions} == {"CAT", "cup"}
    assert {(r["from_name"], r["to_name"]) for r in regions} == {("r", "i")}


def test_no_rectangles_no_push(
    many_run: ManyRun, connection: Connection, make_project: Callable[..., int]
) -> None:
    run, _ = many_run(1)
    text = '<View><Text name="t" value="$text"/><Choices name="c" toName="t"><Choice value="a"/>'
    project = make_project([], text + "</Choices></View>")
    with pytest.raises(ConfigError, match="no <RectangleLabels> on an <Image>"):
        plan(run, connection, project)


def test_a_push_without_tasks_leaves_what_labelers_see(
    many_run: ManyRun, connection: Connection, make_project: Callable[..., int]
) -> None:
    run, _ = many_run(3)
    made = plan(run, connection, make_project([]))
    assert (len(made.unmatched), made.requests) == (3, 0)
    assert "make tasks for them first" in "\n".join(made.lines())
    push(made, connection)
    assert not connection.get(f"/api/projects/{made.project}/")["model_version"]


def test_labels_and_rectangles_apart(many_run: ManyRun, connection: Connection) -> None:
    run, project = many_run(5)
    connection.write("PATCH", f"/api/projects/{project}/", json={"label_config": APART})
    made = plan(run, connection, project)
    ((_, places),) = made.labels.images
    assert {target.shape for target, _ in places.values()} == {"shape"} and not made.left_out
    assert sum(made.boxes.values()) == sum(run.class_counts().values())
    push(made, connection)
    assert_equal(run, connection, project)
    result = predictions(connection, project)[0]["result"]
    assert [region["type"] for region in result[:2]] == ["rectangle", "labels"]
    assert len(plan(run, connection, project).skip) == 5
    task = next(row.task for row in run.images("done"))
    assert task is not None
    submit(connection, task, lambda regions: regions)
    (reviewed,) = pull(connection, project)
    assert {box.verdict for box in reviewed.boxes} == {"kept"}


@pytest.mark.parametrize(
    ("control", "takes"), [("BrushLabels", "masks"), ("PolygonLabels", "polygons")]
)
def test_shapes_that_are_no_boxes_are_told(
    control: str, takes: str, many_run: ManyRun, connection: Connection
) -> None:
    run, project = many_run(1)
    config = CONFIG.replace("RectangleLabels", control).replace('"image"', '"photo"')
    connection.write("PATCH", f"/api/projects/{project}/", json={"label_config": config})
    with pytest.raises(ConfigError) as told:
        plan(run, connection, project)
    said = str(told.value)
    assert f"<{control}> 'label' takes {takes}" in said
    addition = said[said.index("<RectangleLabels name") :]
    assert 'toName="photo"' in addition and 'name="boxes"' in addition
    connection.write(
        "PATCH",
        f"/api/projects/{project}/",
        json={"label_config": config.replace("</View>", addition + "</View>")},
    )
    push(plan(run, connection, project), connection)
    assert_equal(run, connection, project)


def test_a_task_that_is_gone(many_run: ManyRun, connection: Connection) -> None:
    run, project = many_run(4)
    made = plan(run, connection, project)
    connection.write("DELETE", f"/api/tasks/{made.create[1].task}/")
    with pytest.raises(LabelStudioError, match=r"400|do not arrive"):
        push(made, connection)
    again = plan(run, connection, project)
    assert len(again.unmatched) == 1
    push(again, connection)
    assert len(predictions(connection, project)) == 3


def test_tasks_of_storage_uploads_and_hosts_are_found(
    connection: Connection,
    make_project: Callable[..., int],
    photos_on_server: Path,
    shared_engine: object,
    server: object,
    tmp_path: Path,
) -> None:
    from app.engine import Engine
    from app.labelstudio.api.addresses import local_address
    from app.runs import sources
    from app.runs.jobs import process
    from app.runs.settings import settings_of

    assert isinstance(shared_engine, Engine)
    root = photos_on_server.parent
    name = photos_on_server.name
    project = make_project(
        [
            local_address(f"{name}/a.jpg"),
            f"http://elsewhere/sub/data/local-files/?d={name}/b ü#1%2B%2520.jpg",
            f"/data/local-files/?d={name}\\turned.jpg",
        ]
    )
    settings = settings_of(shared_engine, "cat, cup", threshold=0.02)
    run = Run.create(tmp_path / "run", settings, sources.find_images([photos_on_server]))
    for _ in process(run, shared_engine.predictor, sources.read):
        pass
    for made in (
        plan(run, connection, project, document_root=root),
        plan(run, connection, project),
    ):
        assert made.unmatched == () and len(made.create) == 3
    push(made, connection)
    turned = next(row for row in run.images() if row.file_name == "turned.jpg")
    assert turned.size == (240, 320), "upright"
    one = next(
        p for p in predictions(connection, project) if p["result"][0]["original_width"] == 240
    )
    found = sorted(box.xyxy for _, box in to_boxes(one["result"], turned.size))
    wanted = sorted(box.xyxy for box in run.boxes(turned))
    assert len(found) > 0 and len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a == pytest.approx(b, abs=0.01)


def test_stop_ends_a_push_that_the_next_one_finishes(
    many_run: ManyRun, connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("app.labelstudio.push.planned.MAX_COUNT", 10)
    run, project = many_run(35)
    actions = LabelStudioActions(RunFolders(tmp_path, RULES), RULES)
    visitor, other = gr.Request(session_hash="mine"), gr.Request(session_hash="of another")

    def pressed(done: tuple[int, int], desc: str) -> None:
        (actions.stops.end(other), done[0] == 20 and actions.stops.end(visitor))

    actions.stops.end(visitor)  # pressed when nothing goes on: the next push does not end by it
    actions.stops.begin(visitor)
    said = actions.push(connection, plan(run, connection, project), visitor, pressed)[1]  # type: ignore[arg-type]
    assert "Stopped after 20 of 35" in said and "it goes on where this one stopped" in said
    made = plan(run, connection, project)
    assert (len(made.skip), len(made.create)) == (20, 15)
    actions.stops.begin(visitor)
    said = actions.push(connection, made, visitor, lambda *_, **__: None)[1]  # type: ignore[arg-type]
    assert "15 created" in said and "20 there already" in said
