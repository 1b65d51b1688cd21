"""Which projects were made from a run, so that the same command twice makes one."""

from __future__ import annotations

import json
from pathlib import Path

from app.formats.atomic import write_json
from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.tasks import create_project
from app.runs.store import Run

_FILE = "projects.json"
"""In the run's folder: server → title → number."""


def project_of_run(run: Run, connection: Connection, title: str) -> int | None:
    """The project that was made from this run under this title; None when there is none (left).

    Raises:
        LabelStudioError: the server cannot be asked.
        ValueError: what the run remembers is damaged.
    """
    number = _read(run.folder / _FILE).get(connection.url, {}).get(title)
    if number is None:
        return None
    try:
        connection.get(f"/api/projects/{number}/", what=f"project {number}")
    except LabelStudioError as error:
        if error.status == 404:  # deleted since
            return None
        raise
    return number


def create_run_project(run: Run, connection: Connection, title: str) -> int:
    """A new project with one label for each of the run's classes, which the run remembers."""
    made = _read(run.folder / _FILE)
    number = create_project(connection, title, run.view.vocabulary)
    made.setdefault(connection.url, {})[title] = number
    write_json(run.folder / _FILE, made)
    return number


def _read(file: Path) -> dict[str, dict[str, int]]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {str(server): dict(titles) for server, titles in found.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} is damaged ({error}); remove it, and name the project with --project"
        ) from error
