"""The list of a Label Studio account's projects, on every tab that asks for one."""

from __future__ import annotations

import gradio as gr
import httpx

from app.labelstudio.api.connection import Connection, LabelStudioError
from app.ui.shared.projects import Project


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
    except (LabelStudioError, httpx.HTTPError):  # reported where it matters, when one is used
        return gr.Dropdown(value=chosen)
    choices = [(f"{number} · {title}", number) for number, title in projects]
    return gr.Dropdown(choices=choices, value=chosen)
