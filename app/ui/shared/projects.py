"""The project and the connection that the controls of a tab name; no gradio here."""

from __future__ import annotations

from typing import TypeAlias

from app.labelstudio.api.connection import Connection, LabelStudioError

Project: TypeAlias = str | int | None
"""What a picker holds: a number, what was written instead, or nothing."""


def number(project: Project) -> int:
    """The chosen project's number.

    Raises:
        LabelStudioError: none is chosen, or what was written is no number.
    """
    if project is None or not str(project).strip():
        raise LabelStudioError("choose a project, or write the number in its address")
    try:
        return int(str(project).split("·")[0])
    except ValueError as error:
        raise LabelStudioError(
            f"{str(project)[:60]!r} is no project's number; choose one from the list"
        ) from error


def connected(connection: Connection | None) -> Connection:
    """The connection of the Label Studio tab.

    Raises:
        LabelStudioError: there is none yet.
    """
    if connection is None:
        raise LabelStudioError("connect to Label Studio first (address and key, in its tab)")
    return connection
