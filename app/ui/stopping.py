"""Stop buttons: whoever presses one ends their own work, after the step at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.progress import Tell
from app.ui import render
from app.ui.events import PRIVATE

PROGRESS = gr.Progress()
"""Default of a handler's `progress`, by which gradio knows that it has a bar."""


class Stopped(ValueError):
    """Somebody pressed Stop; the message says how far it came."""


class Stops:
    """Which visitors of a tab want their work ended."""

    def __init__(self) -> None:
        self._asked: set[str | None] = set()

    def ask(self, visitor: gr.Request) -> str:
        """End the visitor's work; returns what to say meanwhile."""
        self._asked.add(visitor.session_hash)
        return render.status("idle", "Stopping after the step at hand …")

    def teller(
        self, what: str, progress: gr.Progress, visitor: gr.Request, *, goes_on: bool = False
    ) -> Tell:
        """Moves the bar of work that begins now; raises `Stopped` in it once the visitor asked.

        Work that `goes_on` from an earlier part also heeds what was asked before.
        """
        if not goes_on:
            self._asked.discard(visitor.session_hash)

        def tell(done: int, total: int) -> None:
            progress((done, total), desc=what)
            if visitor.session_hash in self._asked:
                raise Stopped(f"Stopped after {done:,} of {total:,} ({what[:1].lower()}{what[1:]})")

        return tell


def beside(
    stop: gr.Button, click: Callable[..., Any], handler: Callable[..., Any], *places: Any,
    **options: Any,
) -> None:  # fmt: skip
    """Wire a handler whose Stop button is seen only while it works.

    Args:
        stop: the button, not visible.
        click: the event that starts the handler, such as another button's `click`.
        handler: whatever `Stops.teller` may end.
        places: its inputs and outputs.
        options: of its event.
    """
    hidden: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
    click(lambda: gr.Button(visible=True), None, stop, **hidden).then(
        handler, *places, **options
    ).then(lambda: gr.Button(visible=False), None, stop, **hidden)
