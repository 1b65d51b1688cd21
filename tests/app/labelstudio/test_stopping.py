"""What takes long on a big project tells how far it is, and ends when its visitor asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app.engine import Engine
from app.labelstudio.api.connection import Connection
from app.labelstudio.push.plan import plan
from app.labelstudio.push.push import push
from app.runs.store import Run
from app.ui.batch.actions import BatchActions
from app.ui.calibrate.actions import CalibrateActions
from app.ui.labelstudio.actions import LabelStudioActions
from app.ui.shared.run_folders import RunFolders
from app.ui.shared.stopping import Stops
from tests.app.labelstudio.conftest import VISITOR
from tests.app.ui.visitors import RULES

ManyRun = Callable[..., tuple[Run, int]]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.labelstudio.api.connection.PAGE", 10)


class Bar:
    """Stands where gradio's progress bar does: notes what it was told, and presses Stop at `at`."""

    def __init__(self, stops: Stops, at: int | None = None) -> None:
        self.told: list[tuple[tuple[int, int], str]] = []
        self._stops, self._at = stops, at

    def __call__(self, done: tuple[int, int], desc: str) -> None:
        self.told.append((done, desc))
        if done[0] == self._at:
            self._stops.end(VISITOR)


def test_dry_run_check_ranking_and_pull_tell_page_by_page_and_stop(
    many_run: ManyRun, connection: Connection
) -> None:
    run, project = many_run(25)
    runs = RunFolders(run.folder.parent, RULES)
    tab, calibration = LabelStudioActions(runs, RULES), CalibrateActions(runs)
    push(plan(run, connection, project), connection)
    name = run.folder.name
    pages = [(10, 25), (20, 25), (25, 25)]

    def handlers(bar: Any) -> dict[str, Callable[[], Any]]:
        return {
            "Reading tasks": lambda: tab.dry_run(
                connection, name, project, "", False, VISITOR, bar
            )[1],
            "Checking": lambda: tab.check(connection, project, "", VISITOR, bar)[0],
            "Writing the order": lambda: tab.queue(
                connection, name, project, "scores near the threshold", VISITOR, bar
            ),
            "Reading labels": lambda: calibration.calibrate(connection, project, 0.8, VISITOR, bar)[
                1
            ],
        }

    for what in handlers(None):
        stops = calibration.stops if what == "Reading labels" else tab.stops
        bar = Bar(stops)
        said = handlers(bar)[what]()
        assert "Stopped" not in said and what in [desc for _, desc in bar.told]
        assert [done for done, _ in bar.told][:3] == pages
        pressed = Bar(stops, at=20)
        said = handlers(pressed)[what]()
        assert "Stopped after 20 of 25" in said
        stops.begin(VISITOR)
        assert [done for done, _ in pressed.told] == pages[:2]


def test_estimate_and_export_stop(
    many_run: ManyRun, connection: Connection, shared_engine: Engine, tmp_path: Path
) -> None:
    run, project = many_run(25)
    actions = BatchActions(
        shared_engine, RunFolders(run.folder.parent, RULES), RULES, tmp_path / "x"
    )
    bar: Any = Bar(actions.stops, at=10)
    said = actions.estimate(
        None, "", 1, project, True, "", "cat", 1, "fast", connection, VISITOR, bar
    )
    assert "Stopped after 10 of 25" in said
    bar = Bar(actions.export_stops)
    actions.export(run.folder.name, 0.3, "COCO", connection, VISITOR, bar)
    assert [done for done, _ in bar.told] == [(i, 25) for i in range(1, 26)]
    actions.export_stops.begin(VISITOR)
    bar = Bar(actions.export_stops, at=7)
    with pytest.raises(gr.Error, match="Stopped after 7 of 25"):
        actions.export(run.folder.name, 0.3, "COCO", connection, VISITOR, bar)


def test_a_stop_counts_from_the_click_on_also_while_the_work_waits() -> None:
    stops, progress = Stops(), gr.Progress()
    stops.end(VISITOR)  # pressed when nothing went on
    stops.begin(VISITOR)
    stops.progress_of("Reading", progress, VISITOR)(3, 3)
    stops.end(VISITOR)  # pressed between two parts, or before the first
    with pytest.raises(ValueError, match="Stopped after 1 of 9"):
        stops.progress_of("Writing", progress, VISITOR)(1, 9)
    stops.progress_of("Writing", progress, gr.Request(session_hash="another"))(1, 9)
