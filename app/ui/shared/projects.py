"""The list of a Label Studio account's projects, on every tab that asks for one."""

from __future__ import annotations

from typing import TypeAlias

import gradio as gr
import httpx

from app.labelstudio.api.connection import Connection, LabelStudioError

Project: TypeAlias = str | int | None
"""What a picker holds: a number, what was written instead, or nothing."""


def picker(elem_id: str) -> gr.Dropdown:
    """An empty list; a number can be written, too, e.g. of a project further down."""
    return gr.Dropdown(
        choices=[],
        value=None,
        label="Project",
        elem_id=elem_id,
        allow_custom_value=True,
        info="Connect in the Label Studio tab for the list, or write the number.",
    )


def listed(connection: Connection | None, chosen: Project) -> gr.Dropdown:
    """The picker with the projects of this connection; what was chosen stays."""
    if connection is None:
        return gr.Dropdown(choices=[], value=chosen)
    try:
        projects = connection.projects()
    except (LabelStudioError, httpx.HTTPError):  # said where it matters, when one is used
        return gr.Dropdown(value=chosen)
    choices = [(f"{number} · {title}", number) for number, title in projects]
    return gr.Dropdown(choices=choices, value=chosen)


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
