"""Stop buttons: whoever presses one ends their own work, after the step at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.progress import OnProgress
from app.ui.shared import html as render
from app.ui.shared.events import PRIVATE

PROGRESS = gr.Progress()
"""Default of a handler's `progress`, by which gradio knows that it has a bar."""


class Stopped(ValueError):
    """Somebody pressed Stop; the message says how far it came."""


class Stops:
    """Which visitors of a tab want their work ended."""

    def __init__(self) -> None:
        self._asked: set[str | None] = set()

    def end(self, visitor: gr.Request) -> str:
        """End the visitor's work; returns what to say meanwhile."""
        self._asked.add(visitor.session_hash)
        return render.status("idle", "Stopping after the step at hand …")

    def begin(self, visitor: gr.Request) -> None:
        """Forget what was asked of earlier work; from now on it is asked of the work at hand."""
        self._asked.discard(visitor.session_hash)

    def progress_of(self, what: str, progress: gr.Progress, visitor: gr.Request) -> OnProgress:
        """Move the bar; raise `Stopped` in work once the visitor asked.

        Also when the visitor asked while the work waited in the queue.
        """

        def on_progress(done: int, total: int) -> None:
            progress((done, total), desc=what)
            if visitor.session_hash in self._asked:
                raise Stopped(f"Stopped after {done:,} of {total:,} ({what[:1].lower()}{what[1:]})")

        return on_progress


def stoppable(
    stops: Stops,
    click: Callable[..., Any],
    handler: Callable[..., Any],
    *places: Any,
    button: gr.Button | None = None,
    **options: Any,
) -> None:
    """Wire a handler that a Stop button may end.

    Args:
        stops: whose tellers the handler has.
        click: the event that starts the handler, such as another button's `click`.
        handler: what to wire.
        places: its inputs and outputs.
        button: the Stop button, where it is to be seen only while the handler works.
        options: of its event.
    """
    # Not queued: what is asked while the work still waits for its turn must count.
    hidden: dict[str, Any] = {"show_progress": "hidden", "queue": False, **PRIVATE}

    def begin(visitor: gr.Request) -> gr.Button | None:
        stops.begin(visitor)
        return gr.Button(visible=True) if button else None

    work = click(begin, None, button, **hidden).then(handler, *places, **options)
    if button:
        work.then(lambda: gr.Button(visible=False), None, button, **hidden)
