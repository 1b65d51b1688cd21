"""The choice of tiles, on every tab that detects."""

from __future__ import annotations

import gradio as gr


def tiles_choice(name: str) -> gr.Radio:
    """The choice of how closely photos are looked at; its value is `DetectSettings.tiles`."""
    return gr.Radio(
        [("none", 1), ("2", 2), ("3", 3), ("4", 4)],
        value=1,
        label="Tiles along the photo",
        elem_id=name,
        info="Looked at beside the whole photo, for small things; 2 along it are 4 looks more.",
    )
