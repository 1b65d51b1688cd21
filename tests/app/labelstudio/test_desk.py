"""Push, pull and calibrate where servers, projects or photos are not as one would like them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest

from app.labelstudio.api.addresses import local_address
from app.labelstudio.api.connection import LabelStudioError
from app.labelstudio.api.image_check import check_images
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.api.images import images_of_project
from app.labelstudio.learn.pull import pull
from app.labelstudio.push.plan import plan
from app.labelstudio.push.push import push
from app.runs.model_version import is_of_detclipv2
from app.runs.records import ImageRef
from app.runs.store import Run
from app.ui.calibrate.tab import build as build_calibrate
from app.ui.labelstudio.actions import LabelStudioActions
from app.ui.labelstudio.tab import build
from app.ui.shared.run_folders import RunFolders
from tests.app.labelstudio.desk import CONFIG, Desk
from tests.app.ui.visitors import RULES

MakeRun = Callable[..., Run]
URLS = [local_address(f"photos/{name}.jpg") for name in "abc"]


def test_what_labelers_worked_from_stays_also_under_the_same_version(
    desk: Desk, make_run: MakeRun
) -> None:
    connection = desk.connect()
    project = desk.project(*URLS)
    images = images_of_project(connection, project)
    run = make_run(images, threshold=0.3)
    push(plan(run, connection, project), connection)
    desk.submit(1)
    worked_from = desk.tasks[1]["predictions"][0]
    other = make_run(images, "other", weaker=0.2)
    assert other.model_version == run.model_version
    made = plan(other, connection, project)
    assert [item.task for item in made.replace] == [2, 3] and not made.create
    assert (made.learned, made.deletions, sum(made.boxes.values())) == (1, 2, 2)
    assert "1 older predictions stay: their tasks are labelled" in "\n".join(made.lines())
    push(made, connection)
    assert desk.tasks[1]["predictions"] == [worked_from]
    assert [reviewed.task for reviewed in pull(connection, project)] == [1]
    again = plan(other, connection, project)
    assert (again.requests, again.learned) == (0, 1)


def test_doubles_on_labelled_tasks_stay(desk: Desk, make_run: MakeRun) -> None:
    connection = desk.connect()
    project = desk.project(*URLS)
    run = make_run(images_of_project(connection, project))
    push(plan(run, connection, project), connection)
    for number in (1, 2):
        desk.predict(number, desk.tasks[number]["predictions"][0])
    desk.submit(1)
    made = plan(run, connection, project)
    assert (len(made.doubled), made.learned, len(made.skip)) == (1, 1, 3)
    push(made, connection)
    assert [len(desk.tasks[number]["predictions"]) for number in (1, 2, 3)] == [2, 1, 1]


def test_a_task_that_is_labelled_after_the_dry_run_keeps_its_lesson(
    desk: Desk, make_run: MakeRun
) -> None:
    connection = desk.connect()
    project = desk.project(*URLS)
    images = images_of_project(connection, project)
    push(plan(make_run(images, threshold=0.3), connection, project), connection)
    made = plan(make_run(images, "other", weaker=0.2), connection, project)
    assert len(made.replace) == 3
    desk.submit(1)
    push(made, connection)
    assert [reviewed.task for reviewed in pull(connection, project)] == [1]
    assert [len(desk.tasks[number]["predictions"]) for number in (1, 2, 3)] == [2, 1, 1]


def test_what_leaves_stays_if_it_was_labelled_after_the_dry_run(
    desk: Desk, make_run: MakeRun
) -> None:
    project = desk.project(URLS[0], URLS[1])
    older = {"model_version": "detclipv2-old@1", "result": [], "score": 0.5}
    idents = [desk.predict(task, {**older, "task": task}) for task in (1, 2)]
    run = make_run([ImageRef(f"{name}.jpg", url) for name, url in zip("ab", URLS, strict=False)])
    made = plan(run, desk.connect(), project, old="replace")
    assert sorted(made.older) == idents
    desk.submit(1)
    push(made, desk.connect())
    left = [one["id"] for task in desk.tasks.values() for one in task["predictions"]]
    assert idents[0] in left and idents[1] not in left


def test_a_dry_run_is_of_its_server(desk: Desk, make_run: MakeRun, tmp_path: Path) -> None:
    production = Desk("http://production")
    for server in (desk, production):
        server.project(URLS[0])
        server.predict(1, {"model_version": "detclipv2-old", "result": []})
    run = make_run(images_of_project(desk.connect(), 1))
    made = plan(run, desk.connect(), 1, old="replace")
    assert made.older
    with pytest.raises(LabelStudioError, match=r"of http://desk, and this is http://production"):
        push(made, production.connect())
    more = plan(make_run([ImageRef("a.jpg", URLS[0])], "more", prompts="dog"), desk.connect(), 1)
    said = LabelStudioActions(RunFolders(tmp_path, RULES), RULES).add_labels(
        production.connect(), more
    )
    assert "and this is http://production" in said
    assert production.log == []


def test_connecting_anew_forgets_the_dry_run(tmp_path: Path) -> None:
    with gr.Blocks() as page, gr.Tab("Label Studio") as tab:
        build(RunFolders(tmp_path, RULES), RULES, gr.State(None), tab)
    ids = {block.elem_id: number for number, block in page.blocks.items()}
    push_button = page.blocks[ids["ls-push"]]
    for trigger in ((ids["ls-connect"], "click"), (ids["ls-key"], "submit")):
        (reset,) = (
            one
            for one in page.fns.values()
            if trigger in one.targets and push_button in one.outputs
        )
        dry_run, button = reset.fn()
        assert dry_run is None and button.interactive is False
        assert isinstance(reset.outputs[0], gr.State)


@pytest.mark.parametrize("cap", [100, 250, 7])
def test_servers_may_give_fewer_tasks_than_they_are_asked_for(desk: Desk, cap: int) -> None:
    project = desk.project(*(local_address(f"none/{i}.jpg") for i in range(250)))
    desk.cap = cap
    told: list[tuple[int, int]] = []
    tasks = desk.connect().pages({"project": project}, lambda *done: told.append(done))
    assert [task["id"] for task in tasks] == list(range(1, 251))
    assert told[0] == (cap, 250) and told[-1] == (250, 250)


def test_a_page_without_tasks_is_the_last(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = desk.connect()
    monkeypatch.setattr(connection, "get", lambda *_, **__: {"total": 3, "tasks": []})
    assert list(connection.pages({})) == []


def test_the_dry_run_says_how_many_tasks_a_name_found(desk: Desk, make_run: MakeRun) -> None:
    project = desk.project(local_address("monday/a.jpg"))
    desk.task(project, {"image": "/data/upload/1/12345678-b.jpg", "sha256": "of another photo"})
    names = ("a.jpg", "b.jpg")
    run = make_run([ImageRef(name, f"/photos/{name}") for name in names])
    made = plan(run, desk.connect(), project)
    assert [item.task for item in made.create] == [1] and made.unmatched == ("b.jpg",)
    assert "1 tasks were found by the image's name only" in "\n".join(made.lines())
    own = make_run(images_of_project(desk.connect(), project), "own")
    assert not any("name only" in line for line in plan(own, desk.connect(), project).lines())


OTHERS = CONFIG.replace('"cat"', '"dog"').replace('"cup"', '"bird"')


def test_nothing_is_pushed_where_no_label_takes_it(
    desk: Desk, make_run: MakeRun, shell: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    project = desk.project(*URLS, config=OTHERS)
    run = make_run(images_of_project(desk.connect(), project))
    command = ("push", run.folder, "--project", project)
    assert shell(*command, "--dry-run") == 1
    assert "no label takes what was found" in capsys.readouterr().out
    assert shell(*command) == 2
    assert "--add-labels" in capsys.readouterr().err and desk.log == []
    assert shell(*command, "--allow-empty") == 1
    assert desk.projects[project]["model_version"] == "", "labelers see what they saw before"
    assert all(not task["predictions"][0]["result"] for task in desk.tasks.values())
    made = plan(run, desk.connect(), project)
    assert made.without_labels and not made.switches and (len(made.skip), made.requests) == (3, 0)
    assert shell(*command, "--add-labels") == 0
    assert desk.projects[project]["label_config"].count('value="cat"') == 1
    assert desk.projects[project]["model_version"] == run.model_version
    assert all(task["predictions"][0]["result"] for task in desk.tasks.values())
    # what was found has no label, though another class has one
    half = desk.project(*URLS, config=CONFIG.replace('"cat"', '"dog"'))
    run = make_run(images_of_project(desk.connect(), half), "half")
    assert shell("push", run.folder, "--project", half) == 2
    assert "would be empty" in capsys.readouterr().err


def test_classes_that_are_left_out_are_no_success(
    desk: Desk, make_run: MakeRun, shell: Callable[..., int]
) -> None:
    project = desk.project(*URLS)
    run = make_run(images_of_project(desk.connect(), project), prompts="cat, zebra")
    assert shell("push", run.folder, "--project", project) == 1
    assert shell("push", run.folder, "--project", project, "--add-labels") == 0
    assert shell("push", run.folder, "--project", project) == 0


def test_other_thresholds_are_another_version(desk: Desk, make_run: MakeRun) -> None:
    """Two thresholds once overwrote each other, without --replace."""
    project = desk.project(*URLS)
    images = images_of_project(desk.connect(), project)
    ways = ({}, {"threshold": 0.5}, {"nms_iou": 0.5}, {"max_boxes": 1}, {"threshold": 0.25})
    runs = [make_run(images, f"run{i}", **way) for i, way in enumerate(ways)]
    for run in runs:
        made = plan(run, desk.connect(), project)
        assert (len(made.create), len(made.replace)) == (3, 0)
        push(made, desk.connect())
    versions = [run.model_version for run in runs]
    plain = versions[0]
    assert versions == [plain, f"{plain}@0.5", f"{plain}+n0.5", f"{plain}+m1", f"{plain}@0.25"]
    assert [len(task["predictions"]) for task in desk.tasks.values()] == [5] * 3
    runs[0].apply("cat, cup", 0.6)
    assert runs[0].model_version == f"{plain}@0.6", "the one that counts at present"
    assert all(is_of_detclipv2(one, "0123456789abcdef") for one in versions)


def test_tasks_without_an_image_are_counted_and_named(
    desk: Desk, make_run: MakeRun, caplog: pytest.LogCaptureFixture
) -> None:
    project = desk.project(*URLS)
    for data in ({"text": "no image"}, {"image": ""}, {"image": None}, {"image": ["a", "b"]}):
        desk.task(project, data)
    connection = desk.connect()
    images = images_of_project(connection, project)
    said = "4 tasks have no image in $image and are left out: 4, 5, 6, 7"
    assert len(images) == 3 and said in caplog.text
    assert said in "\n".join(plan(make_run(images), connection, project).lines())
    found = check_images(connection, project, TaskImages(connection))
    assert [one.task for one in found if said in one.status] == [4]


def test_a_turned_box_is_not_kept(desk: Desk, make_run: MakeRun) -> None:
    project = desk.project(*URLS)
    run = make_run(images_of_project(desk.connect(), project), weaker=0.1)
    push(plan(run, desk.connect(), project), desk.connect())
    for task, rotation in ((1, 0.2), (2, 3), (3, 359.8)):
        desk.submit(task)
        annotation = json.loads(json.dumps(desk.tasks[task]["annotations"][0]))
        annotation["result"][0]["value"]["rotation"] = rotation
        desk.tasks[task]["annotations"][0] = annotation
    verdicts = [box.verdict for one in pull(desk.connect(), project) for box in one.boxes]
    assert verdicts == ["kept", "moved", "kept"]


def test_no_visitor_waits_for_another_ones_label_studio(tmp_path: Path) -> None:
    """One dry run of 5,000 tasks once blocked everybody's."""
    with gr.Blocks() as page:
        connection, runs = gr.State(None), RunFolders(tmp_path, RULES)
        with gr.Tab("Label Studio") as tab:
            build(runs, RULES, connection, tab)
        with gr.Tab("Calibrate") as other:
            build_calibrate(runs, connection, other)
    asking = [
        one
        for one in page.fns.values()
        if one.queue is not False and (connection in one.inputs or connection in one.outputs)
    ]
    assert len(asking) == 12
    for one in asking:
        assert one.concurrency_limit == 8, one.name
        assert one.concurrency_id not in {two.concurrency_id for two in asking if two is not one}


def test_labels_are_not_added_to_a_configuration_that_changed(
    desk: Desk, make_run: MakeRun, tmp_path: Path
) -> None:
    project = desk.project(*URLS, config=OTHERS)
    made = plan(make_run(images_of_project(desk.connect(), project)), desk.connect(), project)
    desk.projects[project]["label_config"] = CONFIG.replace("cat", "what somebody added")
    actions = LabelStudioActions(RunFolders(tmp_path, RULES), RULES)
    assert "was changed since the dry run" in actions.add_labels(desk.connect(), made)
    assert "what somebody added" in desk.projects[project]["label_config"]
