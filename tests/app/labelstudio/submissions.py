"""What labelers submit."""

from __future__ import annotations

import json
from collections.abc import Callable

from app.labelstudio.api.connection import Connection
from app.runs.store import Run

ManyRun = Callable[..., tuple[Run, int]]


def submit(connection: Connection, task: int, change: Callable[[list[dict]], list[dict]]) -> None:
    """What the page does when a labeler submits a prediction after changing it."""
    whole = connection.get(f"/api/tasks/{task}/")
    made = whole["predictions"][-1]
    body = {
        "result": change(json.loads(json.dumps(made["result"]))),
        "parent_prediction": made["id"],
        "lead_time": 12.5,
    }
    connection.write("POST", f"/api/tasks/{task}/annotations/", json=body)
