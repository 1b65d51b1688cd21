"""What a project has at present: its tasks and the predictions they carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.labelstudio.api import shapes
from app.labelstudio.api.payload import fingerprint


@dataclass(frozen=True)
class ServerPrediction:
    """A prediction the server has."""

    id: int
    model_version: str
    shows: str


@dataclass(frozen=True)
class Task:
    """What the server knows of a task.

    Attributes:
        id: its number.
        annotated: whether a labeler has submitted it. Then thresholds are learned from its
            predictions: once one is deleted, the server forgets which annotation began as it.
        predictions: the oldest first: of doubles it stays.
        data: where its image lies, and what else it was made with.
    """

    id: int
    annotated: bool
    predictions: tuple[ServerPrediction, ...]
    data: Mapping[str, Any]

    def of_version(self, version: str) -> list[ServerPrediction]:
        """Its predictions of one version."""
        return [one for one in self.predictions if one.model_version == version]


def read_task(task: shapes.Task) -> Task:
    """A task as `Connection.pages` gives it; what the request left out is empty."""
    predictions = (
        ServerPrediction(
            made["id"], made.get("model_version") or "", fingerprint(made.get("result", ()))
        )
        for made in task.get("predictions", ())
    )
    return Task(
        task["id"],
        bool(task.get("total_annotations")),
        tuple(sorted(predictions, key=lambda one: one.id)),
        task.get("data", {}),
    )
