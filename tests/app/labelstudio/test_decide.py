"""Reviews of a real Label Studio become decisions of the run."""

from __future__ import annotations

import pytest

from app.cli import main
from app.labelstudio.api.connection import Connection
from app.labelstudio.push.plan import plan
from app.labelstudio.push.push import push
from app.review.decisions import Decisions
from tests.app.labelstudio.conftest import TOKEN, Server
from tests.app.labelstudio.submissions import ManyRun, submit


def test_what_labelers_made_of_the_boxes_is_decided(
    many_run: ManyRun,
    connection: Connection,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    run, project = many_run(3)
    push(plan(run, connection, project), connection)
    rows = [row for row in run.images("done") if row.task is not None]

    def edit(regions: list[dict]) -> list[dict]:
        first, second, _gone = regions
        other = {"cat": "cup", "cup": "cat"}
        second["value"]["rectanglelabels"] = [other[second["value"]["rectanglelabels"][0]]]
        value = {"x": 90, "y": 90, "width": 5, "height": 5, "rotation": 0}
        return [first, second, {**first, "id": "d", "value": {**first["value"], **value}}]

    assert rows[0].task is not None and rows[1].task is not None
    submit(connection, rows[0].task, lambda regions: regions)
    submit(connection, rows[1].task, edit)
    command = ["decide", str(run.folder), "--project", str(project)]
    assert main(command) == 0, capsys.readouterr().err
    with Decisions(run.folder) as decisions:
        kept, changed = decisions.review(rows[0].id), decisions.review(rows[1].id)
        assert decisions.review(rows[2].id).state == "new"
    assert kept.state == changed.state == "reviewed"
    assert [box.name for box in kept.boxes] == [box.name for box in run.boxes(rows[0])]
    assert len(changed.boxes) == 3 and len(changed.rejected) == 1
    assert main(command) == 0, "the same again changes nothing"
    with Decisions(run.folder) as decisions:
        assert len(decisions.review(rows[1].id).boxes) == 3
