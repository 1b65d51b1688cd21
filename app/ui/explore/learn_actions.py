"""What the Learn part does with a run: its classes are learned, or forgotten."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app.adaptation.learn_run import unlearn_run
from app.ui.explore.indexed_runs import IndexedRuns
from app.ui.explore.review import LEARN_EVERY, ReviewState, learn
from app.ui.explore.review_view import learned_status
from app.ui.shared import html as render
from app.ui.shared.events import SKIP
from app.ui.shared.trouble import TROUBLE, Trouble, explain


@dataclass(frozen=True)
class LearnActions:
    """The handlers."""

    indexed: IndexedRuns

    def learn_if_due(
        self, run: str | None, state: ReviewState, visitor: gr.Request
    ) -> tuple[Any, Any]:
        """Learn after every few reviewed photos; gives the state and what is said."""
        return self.learn(run, state, visitor) if state.since >= LEARN_EVERY else (SKIP, SKIP)

    def learn(self, run: str | None, state: ReviewState, visitor: gr.Request) -> tuple[Any, Any]:
        """Learn now."""
        opened = self.indexed.open_of_model(run, visitor)
        if isinstance(opened, Trouble):
            return SKIP, render.status("error", opened.message)
        start = time.perf_counter()
        done = learn(opened, self.indexed.engine)
        if isinstance(done, Trouble):
            return SKIP, render.status("hint", done.message)
        return replace(state, since=0), learned_status(done, time.perf_counter() - start)

    def unlearn(self, run: str | None, visitor: gr.Request) -> str:
        """Put the words' boxes back."""
        opened = self.indexed.open(run, visitor)
        if isinstance(opened, Trouble):
            return render.status("error", opened.message)
        try:
            undone = unlearn_run(opened.run)
        except TROUBLE as error:
            return render.status("error", explain(error))
        words = "The words' boxes are back; decisions stay" if undone else "Nothing was learned"
        return render.status("ok" if undone else "hint", words)
