"""Stop buttons: whoever presses one ends their own work, after the step at hand."""

from __future__ import annotations

import gradio as gr

from app.progress import Tell
from app.ui import render

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

    def teller(self, what: str, progress: gr.Progress, visitor: gr.Request) -> Tell:
        """Moves the bar of work that begins now; raises `Stopped` in it once the visitor asked."""
        self._asked.discard(visitor.session_hash)

        def tell(done: int, total: int) -> None:
            progress((done, total), desc=what)
            if visitor.session_hash in self._asked:
                raise Stopped(f"Stopped after {done:,} of {total:,} ({what[:1].lower()}{what[1:]})")

        return tell
