"""From labelers back: verdicts, thresholds, queue."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gradio as gr
import pytest

from app.cli import main
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.learn.calibrate import Judged, curve, curves, propose, with_thresholds
from app.labelstudio.learn.pull import effort, pull
from app.labelstudio.push.plan import plan, tasks_of
from app.labelstudio.push.push import push
from app.labelstudio.push.queue import by_comparison, by_labelers, by_threshold, write_queue
from app.runs.store import Run
from app.ui.calibrate.actions import CalibrateActions
from app.ui.shared.run_folders import RunFolders
from detclipv2.labeling.wilson import wilson
from detclipv2.language.vocabulary import Vocabulary
from tests.app.labelstudio.conftest import CONFIG, TOKEN, VISITOR, Server
from tests.app.labelstudio.submissions import ManyRun, submit
from tests.app.ui.visitors import RULES


def test_verdicts_and_minutes(many_run: ManyRun, connection: Connection) -> None:
    run, project = many_run(4)
    push(plan(run, connection, project), connection)
    tasks = [row.task for row in run.images("done")]

    def edit(regions: list[dict]) -> list[dict]:
        first, second, _gone = regions
        first["value"]["width"] *= 0.8
        other = {"cat": "cup", "cup": "cat"}
        second["value"]["rectanglelabels"] = [other[second["value"]["rectanglelabels"][0]]]
        value = {"x": 90, "y": 90, "width": 5, "height": 5, "rotation": 0}
        drawn = {**first, "id": "drawn", "value": {**value, "rectanglelabels": ["cat"]}}
        return [first, second, drawn]

    submit(connection, tasks[0], lambda regions: regions)
    submit(connection, tasks[1], edit)
    reviewed = {task.task: task for task in pull(connection, project)}
    assert [box.verdict for box in reviewed[tasks[0]].boxes] == ["kept"] * 3
    verdicts = sorted(box.verdict for box in reviewed[tasks[1]].boxes)
    assert verdicts == ["added", "deleted", "moved", "renamed"]
    assert {t.model_version for t in reviewed.values()} == {run.model_version}
    assert list(pull(connection, project, model_version="another")) == []
    found = effort(list(reviewed.values()))
    assert (found.kept, found.moved, found.renamed, found.deleted, found.added) == (3, 1, 1, 1, 1)
    assert found.minutes_without == pytest.approx(6 * 7 / 60)
    assert found.minutes_with == pytest.approx((6 * 0.8 + 2 * 4 + 1.5 + 7) / 60)
    assert "estimate" in found.sentence()
    assert by_labelers(reviewed.values())[0].task == tasks[1]


def test_wilson_against_known_values() -> None:
    # Newcombe (1998), Table I: 81/263 and 0/20
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_threshold_is_proposed_only_when_it_is_sure() -> None:
    good = [Judged(0.5 + i / 1000, True) for i in range(100)]
    bad = [Judged(0.3 + i / 1000, False) for i in range(50)]
    found = curve("cat", [*good, *bad], missed=25)
    proposal = propose(found, 0.9)
    assert proposal.threshold is not None and 0.3 < proposal.threshold <= 0.5
    assert found.points[0].threshold == pytest.approx(0.3)
    assert found.points[0].precision == pytest.approx(100 / 150)
    assert found.points[0].recall == pytest.approx(100 / 125)
    kept = [one for one in [*good, *bad] if one.score >= proposal.threshold]
    assert wilson(sum(one.right for one in kept), len(kept))[0] >= 0.9
    assert "too few to say" in propose(curve("cat", good[:10], 0)).reason
    assert "no threshold reaches" in propose(curve("cat", bad, 0)).reason
    changed = with_thresholds(Vocabulary.parse("cat @0.2\ndog\n!shadow"), [proposal])
    assert changed.thresholds == {0: proposal.threshold}
    assert changed.negatives == ("shadow",)


def test_calibrate_end_to_end(
    many_run: ManyRun,
    connection: Connection,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, project = many_run(60, boxes=4)
    labels = CONFIG.replace('"cat"', '"CAT"').replace('"cup"', '"Cup"')
    connection.write("PATCH", f"/api/projects/{project}/", json={"label_config": labels})
    push(plan(run, connection, project), connection)
    for row in run.images("done"):
        assert row.task is not None
        submit(connection, row.task, lambda regions: [r for r in regions if r["score"] > 0.55])
    found = curves(pull(connection, project))
    assert set(found) == {"CAT", "Cup"} and all(one.enough for one in found.values())
    for one in found.values():
        threshold = propose(one, 0.9).threshold
        assert threshold is not None and 0.45 < threshold < 0.62
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    boxes = sum(run.class_counts().values())
    command = ["calibrate", "--project", str(project), "--precision", "0.9"]
    assert main([*command, "--apply", str(run.folder)]) == 0
    assert "CAT: threshold 0." in capsys.readouterr().out
    again = Run(run.folder)
    assert set(again.view.vocabulary.thresholds) == {0, 1}, "classes follow their labels"
    assert sum(again.class_counts().values()) < boxes
    run.apply("cat, cup")
    page = CalibrateActions(RunFolders(run.folder.parent, RULES))
    bar = gr.Progress()
    proposals, said, _, plots = page.calibrate(
        connection, f"{project} · test project", 0.9, VISITOR, bar
    )
    assert "48 submitted tasks" in said and plots.count("<svg") == 2
    said = page.apply(proposals, run.folder.name, connection, project, VISITOR)
    assert f"{boxes} boxes became" in said and "cat @0." in said and "cup @0." in said
    assert main(["pull", "--project", str(project)]) == 0
    assert "saved about" in capsys.readouterr().out


def test_the_queue_is_what_the_server_sorts_by(
    many_run: ManyRun,
    connection: Connection,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, project = many_run(12)
    push(plan(run, connection, project), connection)
    pairs = tasks_of(run, connection, project)
    ranked = by_threshold(run, pairs, margin=0.3)
    assert write_queue(ranked, connection, project, run.model_version) == 12
    tasks = connection.pages(
        {
            "project": project,
            "include": "id",
            "query": json.dumps({"ordering": ["tasks:predictions_score"]}),
        }
    )
    order = [task["id"] for task in tasks]
    urgent = [one.task for one in ranked if one.urgency > 0]
    assert urgent and order[: len(urgent)] == urgent
    assert all(one.urgency == 0 for one in by_comparison(run, run, pairs))
    other = tmp_path / "other"
    shutil.copytree(run.folder, other)
    Run(other).apply("cat @0.9, cup @0.9")
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    command = ["queue", str(run.folder), "--project", str(project)]
    assert main([*command, "--by", "comparison", "--other", str(other)]) == 0
    assert "12 tasks ranked" in capsys.readouterr().out
    assert main([*command, "--by", "comparison"]) == 2
    differing = by_comparison(run, Run(other), pairs)
    assert differing[0].urgency > differing[-1].urgency == 0
    with pytest.raises(LabelStudioError, match="push the run first"):
        write_queue(ranked, connection, project, "another")
