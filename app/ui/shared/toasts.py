"""Messages that pop up, and errors of named endpoints. gradio shows the former as HTML."""

from __future__ import annotations

from html import escape

import gradio as gr


def toast(error: object) -> gr.Error:
    """An error for the page: its words stand there as they are, whatever they quote."""
    return gr.Error(escape(str(error)), print_exception=False)


def warn(text: str) -> None:
    """A warning on the page, likewise."""
    gr.Warning(escape(text))


def refusal(error: object) -> gr.Error:
    """An error for programs that call a named endpoint; no page shows it."""
    return gr.Error(str(error), print_exception=False)
