"""A panel for a gallery or for the photo that is worked on."""

from __future__ import annotations

import gradio as gr


def panel(name: str, script: str | None = None) -> gr.HTML:
    """An empty one.

    Args:
        name: the element's id.
        script: runs once, when the page comes up; see `cards.OPEN_JS`.
    """
    return gr.HTML(
        "",
        elem_id=name,
        js_on_load=script,
        apply_default_css=False,
        padding=False,
        elem_classes="plain",
    )
