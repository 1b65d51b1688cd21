"""The choice between one look at a photo and all looks, on every tab that detects."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.engine import Engine
from app.ui.shared.events import PRIVATE
from detclipv2.serving import Looks


def looks_choice(engine: Engine, name: str) -> gr.Radio:
    """The choice; its value is `DetectSettings.looks`.

    It is hidden where there is nothing to choose. Its milliseconds are those measured when the page
    comes up.
    """
    choice = gr.Radio(
        [("Thorough", "thorough"), ("Fast", "fast")],
        value=engine.defaults.looks,
        label="Looks at a photo",
        info=describe(engine),
        elem_id=name,
        visible=engine.has_looks,
    )
    if engine.has_looks:
        refresh: dict[str, Any] = {"show_progress": "hidden", "queue": False, **PRIVATE}
        gr.on(None, lambda: gr.Radio(info=describe(engine)), None, choice, **refresh)
    return choice


def describe(engine: Engine) -> str:
    """How often each looks, and how long that takes on this machine."""
    count = len(engine.sides("thorough"))
    times = {1: "once", 2: "twice"}.get(count, f"{count} times")
    return (
        f"Thorough looks {times} at a photo and finds more; fast looks once. On this machine: "
        f"thorough {_measured(engine, 'thorough')}, fast {_measured(engine, 'fast')}."
    )


def _measured(engine: Engine, looks: Looks) -> str:
    milliseconds = engine.milliseconds_of(looks)
    return "not measured yet" if milliseconds is None else f"{milliseconds:,.0f} ms"
